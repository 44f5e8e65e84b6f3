// A whole server, its clients and its kernel in one thread, from one seed.

import Glibc
import IOUring
import Logging
import Seeded
import SimulatedKernel
import Support

@testable import Loop
@testable import Server

/// One run. The same seed makes the same run: all that happens is a step, and which one comes next is a number of the
/// seed's.
final class Simulation {
    let seed: UInt64
    var numbers: SeededGenerator
    /// For what is only imagined: what happens does not depend on it.
    private var imagined: SeededGenerator
    /// Decides which clients are initiators. Seeds without initiators run as they did before there were any.
    private var sessions: SeededGenerator
    /// Decides which units and reservations there are, and when the server is killed because of them.
    private var units: SeededGenerator
    /// Decides which layers are below the drives, and what becomes of them.
    var layers: SeededGenerator
    /// Chosen so that the seeds that are known to find something have none of these: they run as they did before.
    private static let layersOfSeed: UInt64 = 0x4C45_0153
    let profile: Profile
    let trace: Trace
    let kernel: SimulatedKernel
    let folder: String
    var images: [SimulatedImage] = []
    var server: SimulatedServer?
    var clients: [SimulatedClient] = []
    /// The server has been told to stop, or is dead.
    private(set) var isStopping = false
    /// What has become of the units of the shared target.
    var changes: [InventoryChange] = []
    /// An operator has ended connections.
    var hasDropped = false
    /// Initiator ports that have left before their login was answered: the server may come to it behind a newer one.
    var unansweredLogins: Set<UInt64> = []
    /// If this life ends suddenly, it ends now.
    private var isOver = false
    private var events = 0
    private var clientCount = 0
    private var lives = 0
    private(set) var steps = 0

    /// - Parameter folder: where the server's socket is.
    init(seed: UInt64, folder: String, trace: Trace) throws {
        self.seed = seed
        self.folder = folder
        self.trace = trace
        numbers = SeededGenerator(seed: seed)
        imagined = SeededGenerator(seed: ~seed)
        sessions = SeededGenerator(seed: seed ^ 0x15C5_1000)
        var profile = Profile(&numbers)
        profile.chooseFaults(&imagined)
        profile.chooseInitiators(&sessions)
        units = SeededGenerator(seed: seed ^ 0x5341_0000)
        profile.chooseUnits(&units)
        var keepers = SeededGenerator(seed: seed ^ 0x4C41_0000)
        profile.chooseKeepers(&keepers)
        layers = SeededGenerator(seed: seed ^ Self.layersOfSeed)
        profile.chooseLayers(&layers)
        self.profile = profile
        kernel = try SimulatedKernel(seed: numbers.next())
        kernel.behaviour = profile.behaviour
        let clock = kernel.clock
        kernel.tell = { trace.note(clock.now(), $0) }
        kernel.describe = { user in
            "\(Token(userData: user).operation) \(user >> 16 & 0xFFFF).\(user & 0xFFFF)"
        }
        for number in 0..<profile.images {
            images.append(
                try SimulatedImage(
                    "disk\(number)", sizeBytes: profile.imageBytes, cellBytes: profile.cellBytes,
                    writesThrough: profile.writesThrough,
                    changes: profile.keepsChanges
                        ? SimulatedChanges(
                            "\(seed)-disk\(number)",
                            base: SimulatedImage.base(sizeBytes: profile.imageBytes, cellBytes: profile.cellBytes),
                            in: folder) : nil))
            images[number].isLimited = profile.maximumConnections != nil
            if !profile.logicalUnits.isEmpty { images[number].logicalUnit = profile.logicalUnits[number] }
            if profile.reservations > 0 { images[number].reservations = ReservationModel() }
            images[number].isOverlaid = profile.areOverlays
            if profile.takesSnapshots { try images[number].fillBase() }
            images[number].isCached = profile.cacheBytes > 0
            images[number].mayKeepLess = (profile.cacheBytes > 0 || profile.keepsChanges) && profile.mayFail
        }
    }

    // MARK: What clients ask

    var now: UInt64 { kernel.now }
    var mayFail: Bool { profile.mayFail || kernel.filesAreDead }
    var mayEndConnections: Bool {
        // Where the clock jumps, a client that has come back may be taken for one that had fallen silent.
        isStopping || hasDropped || profile.behaviour.resets > 0 || profile.areRemote && profile.jumps > 0
    }

    /// The number of something that a client does or sees.
    func event() -> Int {
        events += 1
        return events
    }

    func chance(_ millionths: Int) -> Bool {
        millionths > 0 && Int.random(in: 0..<1_000_000, using: &numbers) < millionths
    }

    func note(_ text: String) { trace.note(now, text) }

    /// The next command of a client: a READ, a WRITE, or one of the others.
    func command(isReader: Bool, others: [UInt16]) -> UInt16 {
        let roll = Int.random(in: 0..<100, using: &numbers)
        if isReader { return roll < 80 ? CommandNumber.read : CommandNumber.flush }
        if roll < profile.reads { return CommandNumber.read }
        if roll < profile.reads + profile.writes { return CommandNumber.write }
        return others[Int.random(in: 0..<others.count, using: &numbers)]
    }

    /// The cells of a request.
    func range(in cells: Int) -> Range<Int> {
        let limit = min(profile.largestCells, cells)
        let count =
            chance(500_000)
            ? Int.random(in: 1...min(8, limit), using: &numbers) : Int.random(in: 1...limit, using: &numbers)
        // Many in the same place.
        let span = chance(500_000) ? min(cells, max(32, count)) : cells
        let start = Int.random(in: 0...span - count, using: &numbers)
        return start..<start + count
    }

    /// A change of what is reserved was answered: whoever answers too early has to be killed now to be found out.
    func noteAnsweredChange() {
        if Int.random(in: 0..<1_000_000, using: &units) < profile.killsAtChanges { isOver = true }
    }

    // MARK: Lives

    /// Runs until the last life has ended.
    func run() throws {
        for ending in profile.endings {
            try begin()
            for _ in 0..<profile.steps {
                if isOver, ending == .kill || ending == .powerFailure { break }
                try step(begins: true)
            }
            switch ending {
            case .quiet: try endQuietly()
            case .stop: try endByStopping()
            case .kill: try endSuddenly(losesPower: false)
            case .powerFailure: try endSuddenly(losesPower: true)
            }
        }
    }

    private func begin() throws {
        lives += 1
        note("life \(lives) begins")
        isStopping = false
        hasDropped = false
        unansweredLogins = []
        isOver = false
        for image in images { (image.snapshots, image.levels, image.levelWork) = ([], [], nil) }
        kernel.filesAreDead = false
        let trace = trace
        let clock = kernel.clock
        let logger = Logger(label: "simulation") { _ in TraceHandler(trace: trace, now: { clock.now() }) }
        changes = []
        let server = try SimulatedServer(
            profile, images, kernel: kernel, path: "\(folder)/\(seed)-\(lives)", reservations: openReservations(),
            logger: logger)
        self.server = server
        // A new file for changes is stable from here on.
        kernel.disks = images.map { $0.stableDisk() }
        for image in images { try checkReservations(of: image, server) }
    }

    /// Everybody is answered and leaves, then the server stops.
    private func endQuietly() throws {
        note("nobody asks any more")
        for client in clients { client.stalledUntil = min(client.stalledUntil, now) }
        readInLargePieces()
        try run(seconds: 120, "clients wait for answers") {
            self.clients.allSatisfy { $0.phase == .closed || $0.waits.isEmpty && $0.outbox.isEmpty }
        }
        let lost = loseInitiators()
        for client in clients where !lost.contains(client.number) { client.close() }
        // A session that is silent ends after a NOP-In: twice 30 seconds, and a tick or two.
        try run(seconds: lost.isEmpty ? 60 : 65, "connections do not end") { self.server?.hasConnections == false }
        for client in clients { client.close() }
        try server?.checkIdle()
        try stop()
        try checkImages()
    }

    /// Megabytes in pieces of a few bytes would take more steps than anybody waits for.
    private func readInLargePieces() {
        for client in clients { client.pieceBytes = 1 << 18 }
    }

    private func endByStopping() throws {
        try stop()
        for client in clients { client.close() }
        try checkImages()
    }

    private func checkImages(isKilled: Bool = false) throws {
        for image in images {
            try image.checkContent(at: event(), isKilled: isKilled)
            try image.checkRecording(seed: seed)
        }
    }

    private func endSuddenly(losesPower: Bool) throws {
        note(losesPower ? "the power fails" : "the process is killed")
        kernel.filesAreDead = true
        let left = losesPower ? kernel.disks.map { $0.afterPowerFailure(&numbers) } : []
        if let server { try cutOffKeepings(server) }
        for client in clients { client.close() }
        try stop()
        if !losesPower { try checkImages(isKilled: true) }
        for (number, image) in images.enumerated() {
            // The file of a recording is none of those that lose anything.
            if losesPower {
                try image.checkRecording(seed: seed)
                try image.lose(left[number])
            }
            try image.beginAgain()
        }
    }

    private func stop() throws {
        guard let server else { return }
        note("the server stops")
        isStopping = true
        for image in images { image.isEnding = true }
        server.shared.loops.postToAll(.stop)
        try run(seconds: 30, "loops do not end") { server.areAllOver }
        try server.close()
        self.server = nil
        clients.removeAll { $0.phase == .closed }
    }

    /// Takes steps until something is so.
    private func run(seconds: UInt64, _ what: String, until isDone: () -> Bool) throws {
        let limit = now + seconds * 1_000_000_000
        let lastStep = steps + 300_000
        while !isDone() {
            guard now < limit, steps < lastStep else { throw Violation("\(what) for more than \(seconds) s") }
            if steps == lastStep - 200_000 { readInLargePieces() }
            try step(begins: false)
        }
    }

    /// A FLUSH has succeeded: if the power failed now, what would be left?
    func imaginePowerFailure(of image: SimulatedImage) throws {
        let chance = image.model.byteCount > 1 << 20 ? 20 : 2
        guard !kernel.filesAreDead, !image.isOverlaid, Int.random(in: 1...chance, using: &imagined) == 1,
            let number = images.firstIndex(where: { $0 === image })
        else { return }
        try image.check(afterPowerFailureOf: kernel.disks[number].afterPowerFailure(&imagined))
    }

    // MARK: Steps

    private enum Step {
        case turn(Int)
        case operation(Int)
        case work(Int, Int)
        case keep(Int)
        case receive(SimulatedClient)
        case send(SimulatedClient)
        case ask(SimulatedClient)
    }

    /// Does one thing that can be done.
    private func step(begins: Bool) throws {
        guard let server else { return }
        steps += 1
        kernel.advance(by: UInt64.random(in: 100...3000, using: &numbers))
        if begins { try change(server) }
        if begins, chance(profile.jumps) {
            kernel.advance(by: UInt64.random(in: 1_000_000...1_200_000_000, using: &numbers))
        }
        let loops = (0..<server.loopCount).filter(server.isAwake).map(Step.turn)
        let operations = kernel.performable().map(Step.operation)
        let keepings = server.keepings.performable(now) { .random(in: profile.keepingDelay, using: &numbers) }
        let workers = server.busyWorkers().map { Step.work($0.loop, $0.worker) } + keepings.map(Step.keep)
        let people = clientSteps(begins: begins)
        let kinds = [
            (loops, profile.loopWeight), (operations, profile.kernelWeight), (workers, profile.workerWeight),
            (people, profile.clientWeight),
        ].filter { !$0.0.isEmpty }
        let sum = kinds.reduce(0) { $0 + $1.1 }
        guard sum > 0 else { return try waitForSomething(server) }
        var roll = Int.random(in: 0..<sum, using: &numbers)
        for (steps, weight) in kinds {
            if roll < weight { return try perform(steps[Int.random(in: 0..<steps.count, using: &numbers)], server) }
            roll -= weight
        }
    }

    private func perform(_ step: Step, _ server: SimulatedServer) throws {
        switch step {
        case .turn(let loop):
            note("loop \(loop) turns")
            try server.turn(loop)
        case .operation(let place): kernel.perform(place)
        case .work(let loop, let worker):
            let time =
                chance(profile.slowWorkers) ? UInt64(30_000_000) : .random(in: profile.workerDelay, using: &numbers)
            note("worker \(worker) of loop \(loop) \(server.work(loop, worker, lasting: time)) a job")
        case .keep(let place): keep(place, server)
        case .receive(let client): try client.receive()
        case .send(let client): client.send()
        case .ask(let client): client.ask()
        }
    }

    private func clientSteps(begins: Bool) -> [Step] {
        var steps: [Step] = []
        var polls: [pollfd] = []
        var polled: [SimulatedClient] = []
        for client in clients where client.phase != .closed {
            if begins, client.canAsk { steps.append(.ask(client)) }
            guard client.events != 0 else { continue }
            polls.append(pollfd(fd: client.descriptor, events: Int16(client.events), revents: 0))
            polled.append(client)
        }
        guard !polls.isEmpty else { return steps }
        poll(&polls, UInt(polls.count), 0)
        for (number, client) in polled.enumerated() {
            let events = Int32(polls[number].revents)
            if events & (POLLIN | POLLHUP | POLLERR) != 0 { steps.append(.receive(client)) }
            if events & POLLOUT != 0 { steps.append(.send(client)) }
        }
        return steps
    }

    /// Nothing can be done now: the clock goes on to when something can.
    private func waitForSomething(_ server: SimulatedServer) throws {
        let stalls = clients.filter { $0.isStalled }.map(\.stalledUntil)
        let moments =
            [kernel.nextMoment(isTimer: false), server.nextMoment, server.keepings.nextMoment].compactMap(\.self)
            + stalls
        if let moment = moments.min() {
            return kernel.advance(to: min(moment, kernel.nextMoment(isTimer: true) ?? .max))
        }
        try checkQuiet()
        guard let moment = kernel.nextMoment(isTimer: true) else {
            throw Violation("nothing can happen any more, not even by waiting")
        }
        kernel.advance(to: moment)
    }

    /// Only timers are left: a client that waits now would wait for ever without them. Fences do wait for the clock,
    /// for two seconds at most.
    private func checkQuiet() throws {
        let limit: UInt64 = 5_000_000_000
        for client in clients where client.phase == .transmission && client.outbox.isEmpty {
            for wait in client.waits where now - max(wait.since, client.stalledUntil) > limit {
                throw Violation(
                    "client \(client.number) has waited for the answer to \(wait.what) for "
                        + "\((now - wait.since) / 1_000_000) ms, and nothing is under way")
            }
        }
    }

    // MARK: Clients that come and go

    private func change(_ server: SimulatedServer) throws {
        if steps % 64 == 0 { clients.removeAll { $0.phase == .closed } }
        let living = clients.filter { $0.phase != .closed }
        if living.count < profile.clients, chance(50_000) || living.isEmpty { connect(server) }
        guard !living.isEmpty else { return }
        let client = living[Int.random(in: 0..<living.count, using: &numbers)]
        if chance(profile.vanishings) {
            vanish(client, server)
        } else if chance(profile.finishes) {
            client.finish()
        } else if chance(profile.stalls) {
            client.stalledUntil = now + UInt64.random(in: 1_000_000...30_000_000_000, using: &numbers)
            note("client \(client.number) stalls")
        } else if chance(profile.operations) {
            try operate(server)
        }
        settle()
        if profile.operations > 0 { try noteOperations(server) }
        let open = clients.joined(\.outstanding).map(\.began).min()
        for image in images { image.model.oldestOpen = open ?? .max }
    }

    private func connect(_ server: SimulatedServer) {
        let image = images[Int.random(in: 0..<images.count, using: &numbers)]
        guard !image.isEnding else { return }
        add(comer(server, image))
    }

    private func add(_ comer: SimulatedClient?) {
        guard let client = comer else { return }
        clientCount += 1
        clients.append(client)
        note("client \(client.number) comes, for \(client.image.name)")
    }
}

extension Simulation {
    /// The next client: of NBD, or an initiator.
    private func comer(_ server: SimulatedServer, _ image: SimulatedImage) -> SimulatedClient? {
        guard profile.initiators > 0, Int.random(in: 0..<100, using: &sessions) < profile.initiators else {
            return SimulatedClient(clientCount, self, image, path: server.path)
        }
        return SimulatedInitiator(clientCount, self, image, path: server.sessionPath)
    }

    /// A client is gone. An initiator may come again at once, and its old connection is there for the server.
    private func vanish(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard let old = client as? SimulatedInitiator, old.mayBeReplaced, !old.image.isEnding,
            Int.random(in: 0..<3, using: &sessions) > 0
        else { return client.close() }
        old.loseConnection()
        let new = SimulatedInitiator(clientCount, self, old.image, path: server.sessionPath)
        new?.replaces(old)
        add(new)
    }
}

extension Simulation {
    /// Some initiators lose their connections, and nobody begins their sessions anew: the server finds out by itself.
    ///
    /// - Returns: their numbers.
    private func loseInitiators() -> Set<Int> {
        let lost = clients.compactMap { $0 as? SimulatedInitiator }.filter {
            $0.mayBeReplaced && Bool.random(using: &sessions)
        }
        for initiator in lost { initiator.loseConnection() }
        return Set(lost.map(\.number))
    }
}

extension Array where Element == SimulatedClient {
    /// What all of them have.
    fileprivate func joined<Value>(_ path: KeyPath<SimulatedClient, [Value]>) -> [Value] {
        flatMap { $0[keyPath: path] }
    }
}
