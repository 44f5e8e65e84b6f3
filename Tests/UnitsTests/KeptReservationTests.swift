// Reservations that are kept over a power cycle, and random sequences of service actions against a plain model.

import SCSI
import Seeded
import Testing

@testable import Units

/// Registrations and reservation as the standard's sentences have them, port by port.
private struct Model {
    var keys: [Int: UInt64] = [:]
    var holder: Int?
    var type: ReservationType?
    var generation: UInt32 = 0

    var isOfAll: Bool { type == .writeExclusiveAllRegistrants || type == .exclusiveAccessAllRegistrants }
    func isHolder(_ port: Int) -> Bool { type != nil && keys[port] != nil && (isOfAll || holder == port) }

    private mutating func remove(_ port: Int) {
        keys[port] = nil
        if holder == port { (holder, type) = (nil, nil) }
        if keys.isEmpty { (holder, type) = (nil, nil) }
    }

    /// Whether the action ends with GOOD.
    mutating func perform(
        _ action: ReserveOutAction, _ port: Int, _ key: UInt64, _ newKey: UInt64, _ newType: ReservationType,
        to other: Int
    ) -> Bool {
        let isRight = keys[port] == key
        switch action {
        case .register, .registerAndIgnoreExistingKey:
            guard action == .registerAndIgnoreExistingKey || (keys[port] ?? 0) == key else { return false }
            if keys[port] == nil, newKey == 0 { return true }
            generation += 1
            if newKey == 0 { remove(port) } else { keys[port] = newKey }
        case .reserve:
            guard isRight else { return false }
            if type != nil { return isHolder(port) && type == newType }
            type = newType
            holder = isOfAll ? nil : port
        case .release:
            guard isRight else { return false }
            guard isHolder(port) else { return true }
            guard type == newType else { return false }
            (holder, type) = (nil, nil)
        case .clear:
            guard isRight else { return false }
            (keys, holder, type) = ([:], nil, nil)
            generation += 1
        case .preempt, .preemptAndAbort:
            guard isRight else { return false }
            let isOfHolder = type != nil && (isOfAll ? newKey == 0 : keys[holder!] == newKey)
            let victims = keys.filter { isOfHolder && isOfAll || $0.value == newKey }.map(\.key)
            guard isOfHolder || newKey != 0 && !victims.isEmpty else { return false }
            generation += 1
            for victim in victims where !isOfHolder || victim != port { remove(victim) }
            guard isOfHolder else { return true }
            type = newType
            holder = isOfAll ? nil : port
        case .registerAndMove:
            guard isRight, isHolder(port), !isOfAll, newKey != 0, other != port else { return false }
            keys[other] = newKey
            holder = other
            generation += 1
        }
        return true
    }
}

@Suite("Reservations at random, and kept")
struct KeptReservationTests {
    private static let ports = (0..<5).map { Bench.port("\($0)") }

    @Test("agree with a model")
    func model() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for round in 0..<60 {
            var model = Model()
            var reservations = PersistentReservations()
            for step in 0..<60 {
                let action = ReserveOutAction.allCases.randomElement(using: &random)!
                let (port, other) = (Int.random(in: 0..<5, using: &random), Int.random(in: 0..<5, using: &random))
                let keys: [UInt64] = [0, 1, 2, 3]
                let (any, newKey) = (keys.randomElement(using: &random)!, keys.randomElement(using: &random)!)
                let key = Bool.random(using: &random) ? model.keys[port] ?? 0 : any
                let type = ReservationType.allCases.randomElement(using: &random)!
                let parameters = Self.parameters(action, key, newKey, other)
                let outcome = reservations.perform(action, type, parameters, for: Self.ports[port])
                let isGood = model.perform(action, port, key, newKey, type, to: other)
                let comment: Comment = "seed \(seed), round \(round), step \(step), \(action)"
                if case .good = outcome { #expect(isGood, comment) } else { #expect(!isGood, comment) }
                #expect(reservations.isSound && reservations.type == model.type, comment)
                #expect(reservations.generation == model.generation, comment)
                for (number, name) in Self.ports.enumerated() {
                    let registrant = reservations.registrants.first { $0.port == name }
                    #expect(registrant?.key == model.keys[number], comment)
                    #expect((reservations.standing(of: name) == .holder) == model.isHolder(number), comment)
                }
                reservations.persistsThroughPowerLoss = true
                #expect(reservations.keptBytes.flatMap(PersistentReservations.init(parsing:)) == reservations, comment)
            }
        }
    }

    private static func parameters(
        _ action: ReserveOutAction, _ key: UInt64, _ newKey: UInt64, _ other: Int
    ) -> ReserveOutParameters {
        var list = Bench.parameters(key: key, newKey: newKey)
        if action == .registerAndMove {
            var port = Answer()
            TransportID.append(ports[other], to: &port)
            list[19] = 1
            list[20] = 0
            list[23] = UInt8(port.bytes.count)
            list += port.bytes
        }
        return ReserveOutParameters(list.span.bytes, action, UInt32(list.count))!
    }

    @Test("are kept if that was asked for, and if somebody keeps them")
    func kept() throws {
        var bench = Bench(sectors: 300)
        bench.server = DeviceServer(keepsReservations: true)
        let connected = bench.server.connect(initiatorPort: Bench.port("a"))
        bench.nexus = try #require(connected)
        _ = try bench.send(.testUnitReady())
        #expect(try bench.reserveOut(.register, key: 0, newKey: 3, flags: 0x01).status == .good)
        #expect(try bench.reserveOut(.reserve, key: 3, type: 3).status == .good)
        bench.server.noteKept(bench.server.reservations)
        #expect(try bench.reserveIn(.reportCapabilities) == [0, 8, 0x05, 0x81, 0xEA, 0x01, 0, 0])
        let bytes = try #require(bench.server.reservations.keptBytes)
        let kept = try #require(PersistentReservations(parsing: bytes))
        bench.server = DeviceServer(reservations: kept, keepsReservations: true)
        let other = try bench.connect("b")
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: other).status == .reservationConflict)
        bench.nexus = try bench.connect("a")
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512).status == .good)
        #expect(try bench.reserveOut(.register, key: 3, newKey: 4).status == .good)
        #expect(bench.server.reservations.keptBytes == nil)
    }

    @Test("are what they were if they cannot be kept")
    func notKept() throws {
        var bench = Bench(sectors: 300)
        bench.server = DeviceServer(keepsReservations: true)
        bench.nexus = try bench.connect("a")
        let other = try bench.connect("b")
        #expect(try bench.reserveOut(.register, key: 0, newKey: 3).status == .good)
        #expect(bench.server.bytesToKeep == nil)
        bench.server.noteKept(bench.server.reservations)
        #expect(try bench.reserveOut(.register, key: 3, newKey: 4, flags: 0x01).status == .good)
        #expect(try bench.reserveOut(.reserve, key: 4, type: 3).status == .good)
        #expect(bench.server.bytesToKeep == bench.server.reservations.keptBytes)
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: other).status == .reservationConflict)
        // Nobody sees what may come to nothing.
        #expect(try bench.reserveIn(.readKeys).suffix(8) == [0, 0, 0, 0, 0, 0, 0, 3])
        #expect(try bench.reserveIn(.readReservation).suffix(4) == [0, 0, 0, 0])
        bench.server.returnToKept()
        #expect(bench.server.bytesToKeep == nil && bench.server.strangers == .free)
        #expect(try bench.send(command(0x28, 0, 1), expecting: 512, as: other).status == .good)
        #expect(try bench.reserveOut(.reserve, key: 3, type: 3).status == .good)
        #expect(bench.server.bytesToKeep == nil)
        // The kept bytes have to go, too.
        #expect(try bench.reserveOut(.register, key: 3, newKey: 5, flags: 0x01).status == .good)
        bench.server.noteKept(bench.server.reservations)
        #expect(try bench.reserveIn(.readKeys).suffix(8) == [0, 0, 0, 0, 0, 0, 0, 5])
        #expect(try bench.reserveOut(.register, key: 5, newKey: 6).status == .good)
        #expect(bench.server.bytesToKeep == [])
    }

    @Test("hostile bytes are refused")
    func hostile() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        var reservations = PersistentReservations()
        for port in Self.ports {
            _ = reservations.register(port, key: 0, newKey: 5, ignoresKey: false, persists: true)
        }
        _ = reservations.reserve(Self.ports[2], key: 5, as: .exclusiveAccess)
        let good = try #require(reservations.keptBytes)
        #expect(PersistentReservations(parsing: good) == reservations)
        for count in 0..<good.count { #expect(PersistentReservations(parsing: Array(good.prefix(count))) == nil) }
        #expect(PersistentReservations(parsing: good + [0]) == nil)
        for _ in 0..<2000 {
            var bytes = good
            bytes[Int.random(in: bytes.indices, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            #expect(PersistentReservations(parsing: bytes) == nil, "seed \(seed)")
            // With a hash that is right, it is sound or nothing.
            let body = bytes.dropLast(8)
            var hash = body.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
            bytes = Array(body)
            for _ in 0..<8 {
                bytes.append(UInt8(hash >> 56))
                hash <<= 8
            }
            if let read = PersistentReservations(parsing: bytes) { #expect(read.isSound, "seed \(seed)") }
        }
    }
}
