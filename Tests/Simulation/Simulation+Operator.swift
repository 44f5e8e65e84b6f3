// What an operator does to a simulated server.

import SimulatedKernel

@testable import Loop
@testable import Server

extension Simulation {
    func operate(_ server: SimulatedServer) throws {
        let image = images[Int.random(in: 0..<images.count, using: &numbers)]
        guard !profile.takesSnapshots || !Bool.random(using: &layers) else { return try keepOrRevert(image, server) }
        switch Int.random(in: 0..<4, using: &numbers) {
        case 0: try grow(image, server)
        case 1: try drop(server)
        default: try remove(image, server)
        }
    }

    /// What `ServerControl.grow` does, but for waiting.
    private func grow(_ image: SimulatedImage, _ server: SimulatedServer) throws {
        guard !image.isEnding, !image.isBaseOnly, !profile.isRecorded, image.growth == nil,
            image.model.byteCount < 2 * profile.imageBytes
        else { return }
        let size = image.model.byteCount + 4096 * Int.random(in: 1...8, using: &numbers)
        note("\(image.name) grows to \(size)")
        let entry = try server.shared.exports.entry(named: image.name)
        _ = try entry.definition.backend.grow(toBytes: UInt64(size))
        image.model.grow(toBytes: size)
        let sectors = UInt64(size / 512)
        image.growth = sectors
        let mailbox = server.shared.loops.mailboxes[entry.homeLoop]
        mailbox.post(.change(entry, .size(sectors: sectors), try Gathered(loops: 1)))
    }

    /// Goes on with what loops have done for the operator.
    func noteOperations(_ server: SimulatedServer) throws {
        for image in images {
            guard let sectors = image.growth, !image.isEnding else { continue }
            let entry = try server.shared.exports.entry(named: image.name)
            guard entry.drive.sectorCount >= sectors else { continue }
            try server.shared.exports.refresh(entry)
            image.growth = nil
            note("\(image.name) has grown")
        }
        try noteLevels(server)
        try noteRemovals(server)
    }

    private func drop(_ server: SimulatedServer) throws {
        let last = server.shared.loops.lastConnection.load(ordering: .relaxed)
        guard last > 0 else { return }
        let number = UInt64.random(in: 1...last, using: &numbers)
        note("connection \(number) is dropped")
        hasDropped = true
        server.shared.loops.postToAll(.drop(number, try Gathered(loops: server.loopCount)))
    }

    private func remove(_ image: SimulatedImage, _ server: SimulatedServer) throws {
        // The sessions of a target with several units would know what an overlay has forgotten.
        guard !image.isEnding, !image.isOverlaid || image.logicalUnit == nil else { return }
        let isForced = chance(500_000)
        note("\(image.name) is removed")
        image.isEnding = true
        let (entry, _) = try ServerControl(server.shared).withdraw(image.name, isForced ? .force : .drain)
        if isForced { try noteChange(of: image, isAddition: false, server, home: entry.homeLoop) }
    }

    /// Exports that have lost their last client are closed, and served anew.
    private func noteRemovals(_ server: SimulatedServer) throws {
        guard images.contains(where: \.isEnding), chance(10_000) else { return }
        server.closeEndedExports()
        for (number, image) in images.enumerated() where image.isEnding && image.levelWork == nil {
            let isThere = server.shared.exports.withdrawn.contains { $0.name == image.name }
            guard !isThere else { continue }
            try image.checkContent(at: event())
            try image.checkRecording(seed: seed)
            let snapshot = image.snapshots.isEmpty ? nil : image.snapshots.randomElement(using: &layers)
            if image.isOverlaid || profile.isRecorded {
                // What was recorded so far is another recording's.
                for client in clients where client.knows(image) { client.close() }
                try image.beginAgain(with: snapshot?.content)
                kernel.disks[number] = image.stableDisk()
            } else {
                // What the server has made stable by itself.
                kernel.disks[number].synchronize()
            }
            (image.snapshots, image.levels) = ([], snapshot?.levels ?? [])
            note("\(image.name) is served anew")
            image.reservations?.losePower()
            try server.add(image, profile, from: snapshot)
            try checkReservations(of: image, server)
            image.isEnding = false
            image.growth = nil
            image.servedSince = now
            let home = try server.shared.exports.entry(named: image.name).homeLoop
            try noteChange(of: image, isAddition: true, server, home: home)
        }
    }
}
