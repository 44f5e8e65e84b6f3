// Persistent reservations, as an initiator asks for them (SPC-4 5.13, 6.15, 6.16).

import Support

extension SimulatedInitiator {
    private static let types: [UInt8] = [1, 3, 5, 6, 7, 8]

    /// One initiator at a time asks for reservations of a unit, so that what they are is known.
    private func mayAsk(_ unit: SimulatedUnit) -> Bool {
        guard let model = unit.image.reservations, model.pending.count < 3 else { return false }
        return model.asker == nil && !isGone(unit)
    }

    /// READ FULL STATUS.
    func askStatus(_ unit: SimulatedUnit) -> Bool {
        guard mayAsk(unit) else { return false }
        unit.wantsStatus = false
        unit.image.reservations?.asker = number
        ask(.status, unit, [0x5E, 3, 0, 0, 0, 0, 0, 0x20, 0, 0], length: 8192)
        return true
    }

    /// PERSISTENT RESERVE OUT, or what has come of the ones before.
    func askReservation(_ unit: SimulatedUnit) -> Bool {
        guard mayAsk(unit), let model = unit.image.reservations else { return false }
        guard !world.chance(250_000) else { return askStatus(unit) }
        let action = chooseAction(model.ordered[Int.random(in: 0..<model.ordered.count, using: &world.numbers)])
        unit.image.reservations?.asker = number
        unit.image.reservations?.begin(action)
        world.widenVerdicts(of: unit.image)
        var list: [UInt8] = []
        list.append(number: action.key)
        list.append(number: action.newKey)
        list += [0, 0, 0, 0, action.persists ? 1 : 0, 0, 0, 0]
        ask(
            .change(action), unit, [0x5F, action.kind.rawValue, action.type, 0, 0, 0, 0, 0, 24, 0], length: 0,
            sending: list)
        return true
    }

    /// Something that it might want, as things may stand.
    private func chooseAction(_ state: ReservationModel.State) -> ReservationModel.Action {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &world.numbers)] }
        let own = state.keys[isid]
        var kinds: [ReservationModel.Action.Kind] = [.register, .registerAndIgnoreExistingKey, .preempt]
        if own != nil { kinds += [.reserve, .reserve, .reserve, .release, .release, .clear, .preempt] }
        if own == nil { kinds += [.registerAndIgnoreExistingKey, .register] }
        let key = world.chance(900_000) ? own ?? 0 : pick([1, 2, 3])
        var action = ReservationModel.Action(kind: pick(kinds), port: isid, key: key, type: pick(Self.types))
        action.persists = world.chance(900_000)
        switch action.kind {
        case .register, .registerAndIgnoreExistingKey: action.newKey = pick([0, 1, 2, 3])
        case .release where state.type != 0 && world.chance(900_000): action.type = state.type
        case .preempt:
            let holder = state.holder.flatMap { state.keys[$0] } ?? 0
            action.newKey = world.chance(700_000) ? holder : pick([0, 1, 2, 3])
        default: break
        }
        return action
    }

    // MARK: Answers

    func ended(change action: ReservationModel.Action, _ request: Outstanding, _ error: UInt32) throws {
        let image = request.image
        let before = image.reservations?.text ?? ""
        let ending: ReservationModel.Ending?
        switch error {
        case 0:
            ending = .good
            world.noteAnsweredChange()
        // RESERVATION CONFLICT, INVALID RELEASE, INVALID FIELD IN PARAMETER LIST
        case 0x1800_0000, 0x0205_2604, 0x0205_2600: ending = .refused
        // It could not be kept.
        case 0x0204_4400 where world.profile.failedKeepings > 0 || world.kernel.filesAreDead: ending = .nothing
        case _ where error >> 16 == 0x0206: ending = .nothing
        case _ where mayBeTurnedAway || isGone(image): ending = nil
        default:
            throw Violation("initiator \(number): PERSISTENT RESERVE OUT has ended with \(String(error, radix: 16))")
        }
        guard image.reservations?.end(action, ending) == true else {
            throw Violation("initiator \(number): \(action) has ended with \(String(error, radix: 16)), with \(before)")
        }
        try world.noteReservations(of: image)
    }

    func ended(status request: Outstanding, _ unit: SimulatedUnit, _ error: UInt32) throws {
        let image = request.image
        guard error == 0 else {
            image.reservations?.asker = nil
            unit.wantsStatus = true
            guard error >> 16 == 0x0206 || mayBeTurnedAway || isGone(image) else {
                throw Violation("initiator \(number): READ FULL STATUS has ended with \(String(error, radix: 16))")
            }
            return
        }
        let before = image.reservations?.text ?? ""
        guard let state = Self.state(request.data), image.reservations?.found(state) == true else {
            let found = Self.state(request.data).map { "\($0)" } ?? "nonsense"
            throw Violation("initiator \(number): READ FULL STATUS finds \(found), where \(before) had to be")
        }
        try world.noteReservations(of: image)
    }

    /// What the parameter data of READ FULL STATUS say; nil: nothing that makes sense.
    private static func state(_ data: [UInt8]) -> ReservationModel.State? {
        func number(_ place: Int, _ count: Int) -> UInt64 {
            data[place..<place + count].reduce(0) { $0 << 8 | UInt64($1) }
        }
        var state = ReservationModel.State()
        let end = 8 + Int(number(4, 4))
        var place = 8
        var holders: [UInt64] = []
        while place + 24 <= end, end <= data.count {
            let key = number(place, 8)
            let length = Int(number(place + 20, 4))
            guard length >= 24, place + 24 + length <= end, data[place + 24] == 0x45 else { return nil }
            let name = data[place + 28..<place + 24 + length].prefix { $0 != 0 }
            let text = String(decoding: name, as: UTF8.self)
            guard let digits = text.split(separator: ",").last?.dropFirst(2), let port = UInt64(digits, radix: 16),
                text.hasPrefix("iqn.2026-11.org.example:simulated,i,0x"), key != 0, state.keys[port] == nil
            else { return nil }
            state.keys[port] = key
            if data[place + 12] & 1 != 0 {
                holders.append(port)
                guard state.type == 0 || state.type == data[place + 13] else { return nil }
                state.type = data[place + 13]
            }
            place += 24 + length
        }
        guard place == end, state.isOfAll ? holders.count == state.keys.count : holders.count <= 1 else { return nil }
        if !state.isOfAll { state.holder = holders.first }
        return state
    }
}
