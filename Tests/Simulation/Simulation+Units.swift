// Logical units of one target that come and go, and reservations that outlive the server.

import Backends
import Glibc

@testable import Loop
@testable import Server

/// The units of the shared target have become others.
struct InventoryChange {
    let image: SimulatedImage
    let isAddition: Bool
    /// When it began, and when the loop had done it for certain; nil: it may not have.
    let event: Int
    var settled: Int?
    fileprivate let probe: Gathered<ConnectionStatus>
}

extension Simulation {
    /// A unit has come, or was taken away from all sessions.
    func noteChange(of image: SimulatedImage, isAddition: Bool, _ server: SimulatedServer, home: Int) throws {
        guard image.logicalUnit != nil else { return }
        // Loops do what they are asked for in its order.
        let probe = try Gathered<ConnectionStatus>(loops: 1)
        changes.append(InventoryChange(image: image, isAddition: isAddition, event: event(), probe: probe))
        server.shared.loops.mailboxes[home].post(.listConnections(probe))
    }

    /// What may come of requests that are under way.
    func widenVerdicts(of image: SimulatedImage) {
        guard let model = image.reservations else { return }
        for client in clients { client.widenVerdicts(image, model) }
    }

    /// The number of a new initiator port. Where there are reservations, ports come back.
    func portNumber(_ number: Int) -> UInt64 {
        guard profile.reservations > 0 else { return UInt64(number) }
        let used = clients.filter { $0.phase != .closed }.compactMap(\.port)
        let free = (1...6).filter { number in !used.contains { $0 & 0xFFFF == UInt64(number) } }
        return free.isEmpty ? UInt64(number + 100) : UInt64(free[Int.random(in: 0..<free.count, using: &numbers)])
    }

    /// What may be reserved of an image is something else now.
    func noteReservations(of image: SimulatedImage) throws {
        widenVerdicts(of: image)
        guard let server, image.reservations?.stale.isEmpty == false else { return }
        let probe = try Gathered<ConnectionStatus>(loops: server.loopCount)
        image.probe = probe
        server.shared.loops.postToAll(.listConnections(probe))
    }

    /// Notes what loops have done by now.
    func settle() {
        for place in changes.indices where changes[place].settled == nil {
            if changes[place].probe.wait(seconds: 0) != nil { changes[place].settled = event() }
        }
        for image in images {
            guard let probe = image.probe, probe.wait(seconds: 0) != nil else { continue }
            image.probe = nil
            image.reservations?.stale = []
        }
    }

    // MARK: Reservations that are kept

    private var reservationFolder: String { "\(folder)/\(seed)-reservations" }

    func openReservations() throws -> ReservationFolder? {
        guard profile.reservations > 0 else { return nil }
        mkdir(reservationFolder, 0o700)
        return try ReservationFolder(reservationFolder)
    }

    /// An export is served: what was reserved before holds, and no initiator has come yet.
    func checkReservations(of image: SimulatedImage, _ server: SimulatedServer) throws {
        guard let model = image.reservations else { return }
        let entry = try server.shared.exports.entry(named: image.name)
        guard entry.definition.reservations != nil else {
            throw Violation("the reservations of \(image.name) cannot be read")
        }
        let strangers = entry.drive.strangers
        let isRight = model.possible.contains {
            $0.keepsOut(nil, writes: false) != strangers.mayRead && $0.keepsOut(nil, writes: true) != strangers.mayWrite
        }
        note("reserved of \(image.name): \(model.text)")
        guard isRight else {
            throw Violation(
                "\(image.name) is served as if others might read: \(strangers.mayRead), and write: "
                    + "\(strangers.mayWrite), with \(model.text)")
        }
    }

    /// A file of reservations is written now.
    func keep(_ place: Int, _ server: SimulatedServer) {
        let job = server.keepings.take(place)
        guard !kernel.filesAreDead, !chance(profile.failedKeepings) else {
            note("reservations are not kept")
            return job.done(EIO)
        }
        note("reservations are kept")
        job.done(job.write())
    }

    /// The process is gone, in the middle of its writes.
    func cutOffKeepings(_ server: SimulatedServer) throws {
        guard profile.reservations > 0 else { return }
        let paths = images.map { "\(reservationFolder)/\(ReservationFolder.fileName(of: $0.name))" }
        try server.keepings.cutOff(paths) { Int.random(in: 0..<$0, using: &numbers) }
    }
}

extension SimulatedClient {
    /// The initiator port that it is; nil: a client of NBD.
    var port: UInt64? { party == 0 ? nil : party }

    /// What may come of requests under way.
    fileprivate func widenVerdicts(_ image: SimulatedImage, _ model: ReservationModel) {
        for place in outstanding.indices where outstanding[place].image === image {
            let verdicts = model.verdicts(port, writes: outstanding[place].changes)
            if verdicts.passes { outstanding[place].mayPass = true }
            if verdicts.isKeptOut { outstanding[place].mayBeKeptOut = true }
        }
    }

    /// What a reservation has made of a request is what it may make of it.
    ///
    /// - Returns: whether it was kept out.
    func judgeReservation(_ request: Outstanding, isKeptOut: Bool, isDone: Bool) throws -> Bool {
        guard let model = request.image.reservations else { return false }
        if isKeptOut, !request.mayBeKeptOut {
            throw Violation("client \(number): a conflict of command \(request.type), with \(model.text)")
        }
        if isDone, !request.mayPass {
            throw Violation("client \(number): command \(request.type) was done, with \(model.text)")
        }
        return isKeptOut
    }
}
