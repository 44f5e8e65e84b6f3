// What may be reserved of an image, as its initiators know it (SPC-4 5.13).

/// The persistent reservations of one image: all states that they may be in. One initiator at a time asks for a change
/// or for what there is, so most of the time that is one state. A change whose initiator is gone may come at any time,
/// for as long as the server lives.
struct ReservationModel {
    /// Registrations by ISID, and the reservation.
    struct State: Hashable {
        var keys: [UInt64: UInt64] = [:]
        var holder: UInt64?
        /// 0: nothing is reserved.
        var type: UInt8 = 0
        /// It is kept over a restart (APTPL).
        var persists = false

        var isOfAll: Bool { type == 7 || type == 8 }
        var isOfOne: Bool { type == 1 || type == 3 }
        /// Who is kept out may read.
        var letsRead: Bool { type == 0 || type == 1 || type == 5 || type == 7 }

        func holds(_ port: UInt64) -> Bool { type != 0 && keys[port] != nil && (isOfAll || holder == port) }

        /// Somebody is kept from reading or writing; nil: who has no port, as clients of NBD.
        func keepsOut(_ port: UInt64?, writes: Bool) -> Bool {
            guard type != 0 else { return false }
            if let port, keys[port] != nil, holds(port) || !isOfOne { return false }
            return writes || !letsRead
        }

        var text: String {
            let keys = keys.sorted { $0.key < $1.key }.map { "\(String($0.key, radix: 16))=\($0.value)" }
            let owner = holder.map { String($0, radix: 16) } ?? "nobody"
            return "type \(type) of \(owner), \(keys), \(persists ? "kept" : "not kept")"
        }

        mutating func unregister(_ port: UInt64) {
            keys[port] = nil
            if holder == port || keys.isEmpty { (holder, type) = (nil, 0) }
        }
    }

    /// A service action of PERSISTENT RESERVE OUT.
    struct Action: Hashable {
        enum Kind: UInt8, CaseIterable {
            case register = 0, reserve, release, clear, preempt
            case registerAndIgnoreExistingKey = 6
        }

        let kind: Kind
        let port: UInt64
        var key: UInt64 = 0
        var newKey: UInt64 = 0
        var type: UInt8 = 0
        var persists = true
    }

    private(set) var possible: Set<State> = [State()]
    /// States before the change that is under way.
    private var before: Set<State> = [State()]
    /// Changes that may still come.
    private(set) var pending: [Action] = []
    /// Who asks now: the number of an initiator.
    var asker: Int?
    /// Loops may still serve clients of NBD as if it were one of these.
    var stale: Set<State> = []

    /// What an action makes of a state; nil: it is refused.
    static func outcome(_ action: Action, _ state: State) -> State? {
        var state = state
        let isRight = state.keys[action.port] == action.key
        switch action.kind {
        case .register, .registerAndIgnoreExistingKey:
            guard action.kind != .register || (state.keys[action.port] ?? 0) == action.key else { return nil }
            if state.keys[action.port] == nil, action.newKey == 0 { return state }
            if action.newKey == 0 { state.unregister(action.port) } else { state.keys[action.port] = action.newKey }
            state.persists = action.persists
        case .reserve:
            guard isRight else { return nil }
            if state.type != 0 { return state.holds(action.port) && state.type == action.type ? state : nil }
            state.type = action.type
            state.holder = state.isOfAll ? nil : action.port
        case .release:
            guard isRight else { return nil }
            guard state.holds(action.port) else { return state }
            guard state.type == action.type else { return nil }
            (state.holder, state.type) = (nil, 0)
        case .clear:
            guard isRight else { return nil }
            (state.keys, state.holder, state.type) = ([:], nil, 0)
        case .preempt:
            guard isRight else { return nil }
            return preempt(action, state)
        }
        return state
    }

    private static func preempt(_ action: Action, _ state: State) -> State? {
        var state = state
        let isOfHolder =
            state.type != 0
            && (state.isOfAll ? action.newKey == 0 : state.holder.flatMap { state.keys[$0] } == action.newKey)
        let victims = state.keys.filter { isOfHolder && state.isOfAll || $0.value == action.newKey }.map(\.key)
        guard isOfHolder || action.newKey != 0 && !victims.isEmpty else { return nil }
        for victim in victims where !isOfHolder || victim != action.port { state.unregister(victim) }
        guard isOfHolder else { return state }
        state.type = action.type
        state.holder = state.isOfAll ? nil : action.port
        return state
    }

    // MARK: Changes

    private func closed(_ states: Set<State>) -> Set<State> {
        var all = states
        var new = states
        while !new.isEmpty {
            let next = Set(new.flatMap { state in pending.compactMap { Self.outcome($0, state) } })
            new = next.subtracting(all)
            all.formUnion(new)
        }
        return all
    }

    /// A change is asked for.
    mutating func begin(_ action: Action) {
        before = possible
        pending.append(action)
        possible = closed(possible)
    }

    /// How it has ended: GOOD, a conflict, or it was not begun; nil: nobody will know.
    enum Ending { case good, refused, nothing }

    /// - Returns: false if that cannot be.
    mutating func end(_ action: Action, _ ending: Ending?) -> Bool {
        asker = nil
        guard let ending else { return true }
        stale.formUnion(possible)
        if let index = pending.lastIndex(of: action) { pending.remove(at: index) }
        switch ending {
        case .good: possible = closed(Set(before.compactMap { Self.outcome(action, $0) }))
        case .refused: possible = before.filter { Self.outcome(action, $0) == nil }
        case .nothing: possible = before
        }
        return !possible.isEmpty
    }

    /// An initiator has read who is registered, and what is reserved.
    ///
    /// - Returns: false if that cannot be.
    mutating func found(_ found: State) -> Bool {
        asker = nil
        let matching = possible.filter { ($0.keys, $0.holder, $0.type) == (found.keys, found.holder, found.type) }
        possible = closed(matching)
        return !matching.isEmpty
    }

    /// The unit has lost its power: what was to be kept is there, as it was before or after what is unanswered.
    mutating func losePower() {
        possible = Set(possible.map { $0.persists ? $0 : State() })
        pending = []
        asker = nil
        stale = []
    }

    // MARK: What it means for others

    /// An initiator, or with nil a client of NBD, may be let in, and may be kept out.
    func verdicts(_ port: UInt64?, writes: Bool) -> (passes: Bool, isKeptOut: Bool) {
        let states = port == nil ? possible.union(stale) : possible
        return (
            states.contains { !$0.keepsOut(port, writes: writes) },
            states.contains { $0.keepsOut(port, writes: writes) }
        )
    }

    /// In an order that is the same in each process.
    var ordered: [State] { possible.sorted { $0.text < $1.text } }
    var text: String { ordered.map(\.text).joined(separator: "; or ") }
}
