// The service actions of PERSISTENT RESERVE OUT (SPC-4 5.13, 6.16).

import SCSI

/// SERVICE ACTION of PERSISTENT RESERVE OUT (SPC-4 6.16).
enum ReserveOutAction: UInt8, CaseIterable, Sendable {
    case register = 0x00
    case reserve = 0x01
    case release = 0x02
    case clear = 0x03
    case preempt = 0x04
    case preemptAndAbort = 0x05
    case registerAndIgnoreExistingKey = 0x06
    case registerAndMove = 0x07
}

extension Objection {
    /// INVALID RELEASE OF PERSISTENT RESERVATION.
    static let invalidRelease = Self(.illegalRequest, AdditionalSenseCode(0x26, 0x04))
    /// INSUFFICIENT REGISTRATION RESOURCES.
    static let insufficientRegistrationResources = Self(.illegalRequest, AdditionalSenseCode(0x55, 0x04))
}

extension PersistentReservations {
    /// REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 5.13). A service action reservation key of 0 unregisters.
    mutating func register(
        _ port: [UInt8], key: UInt64, newKey: UInt64, ignoresKey: Bool, persists: Bool
    ) -> Outcome {
        guard let index = index(of: port) else {
            guard ignoresKey || key == 0 else { return .conflict }
            guard newKey != 0 else { return .nothing }
            guard registrants.count < Self.registrantLimit else { return .refused(.insufficientRegistrationResources) }
            registrants.append(Registrant(port: port, key: newKey))
            return registered(persists, .nothing)
        }
        guard ignoresKey || key == registrants[index].key else { return .conflict }
        guard newKey == 0 else {
            registrants[index].key = newKey
            return registered(persists, .nothing)
        }
        return registered(persists, .good(unregister(index)))
    }

    private mutating func registered(_ persists: Bool, _ outcome: Outcome) -> Outcome {
        generation &+= 1
        persistsThroughPowerLoss = persists
        return outcome
    }

    /// A registration ends. With that of a holder its reservation does (SPC-4 5.13).
    private mutating func unregister(_ index: Int) -> Effects {
        let registrant = registrants.remove(at: index)
        guard let type else { return Effects() }
        if type.isOfAllRegistrants {
            return registrants.isEmpty ? release(but: registrant.port) : Effects()
        }
        guard registrant.isHolder else { return Effects() }
        return release(telling: type.isOfOne ? nil : .reservationsReleased, but: registrant.port)
    }

    /// RESERVE (SPC-4 5.13).
    mutating func reserve(_ port: [UInt8], key: UInt64, as newType: ReservationType) -> Outcome {
        guard let index = index(of: port), registrants[index].key == key else { return .conflict }
        guard let type else {
            self.type = newType
            registrants[index].isHolder = !newType.isOfAllRegistrants
            return .nothing
        }
        return holds(index) && type == newType ? .nothing : .conflict
    }

    /// RELEASE (SPC-4 5.13).
    mutating func release(_ port: [UInt8], key: UInt64, as oldType: ReservationType?) -> Outcome {
        guard let index = index(of: port), registrants[index].key == key else { return .conflict }
        guard let type, holds(index) else { return .nothing }
        guard type == oldType else { return .refused(.invalidRelease) }
        return .good(release(telling: type.isOfOne ? nil : .reservationsReleased, but: port))
    }

    /// CLEAR (SPC-4 5.13).
    mutating func clear(_ port: [UInt8], key: UInt64) -> Outcome {
        guard let index = index(of: port), registrants[index].key == key else { return .conflict }
        let effects = release(telling: .reservationsPreempted, but: port)
        registrants = []
        generation &+= 1
        return .good(effects)
    }

    /// PREEMPT and PREEMPT AND ABORT (SPC-4 5.13, 5.13.11.5).
    mutating func preempt(
        _ port: [UInt8], key: UInt64, preempted: UInt64, as newType: ReservationType?, aborts: Bool
    ) -> Outcome {
        guard let own = index(of: port), registrants[own].key == key else { return .conflict }
        guard preempted == holderKey else { return preemptRegistrations(port, preempted, aborts: aborts) }
        guard let newType else { return .refused(.invalidField(2, bit: 3)) }
        let wasType = type
        let isOfAll = wasType?.isOfAllRegistrants == true
        let removed = registrants.filter { $0.port != port && (isOfAll || $0.key == preempted) }
        registrants.removeAll { registrant in removed.contains { $0.port == registrant.port } }
        var effects = release(telling: wasType == newType ? nil : .reservationsReleased, but: port)
        effects.notices += removed.map { Notice(port: $0.port, attention: .registrationsPreempted) }
        if aborts { effects.aborted = removed.map(\.port) }
        type = newType
        if let index = index(of: port) { registrants[index].isHolder = !newType.isOfAllRegistrants }
        generation &+= 1
        return .good(effects)
    }

    /// The key is not that of the reservation: only registrations are removed.
    private mutating func preemptRegistrations(_ port: [UInt8], _ preempted: UInt64, aborts: Bool) -> Outcome {
        guard preempted != 0 else { return .refused(.invalidParameter(8)) }
        let removed = registrants.filter { $0.key == preempted }
        guard !removed.isEmpty else { return .conflict }
        registrants.removeAll { $0.key == preempted }
        if registrants.isEmpty { type = nil }
        var effects = Effects()
        let others = removed.filter { $0.port != port }
        effects.notices = others.map { Notice(port: $0.port, attention: .registrationsPreempted) }
        if aborts { effects.aborted = others.map(\.port) }
        generation &+= 1
        return .good(effects)
    }

    /// REGISTER AND MOVE (SPC-4 5.13): the reservation becomes another initiator port's.
    mutating func registerAndMove(
        _ port: [UInt8], key: UInt64, to newPort: [UInt8], newKey: UInt64, unregisters: Bool, persists: Bool
    ) -> Outcome {
        guard let own = index(of: port), registrants[own].key == key, let type, !type.isOfAllRegistrants,
            registrants[own].isHolder
        else { return .conflict }
        guard newKey != 0 else { return .refused(.invalidParameter(8)) }
        guard newPort != port else { return .refused(.invalidParameter(24)) }
        if let index = index(of: newPort) {
            registrants[index].key = newKey
        } else {
            guard registrants.count < Self.registrantLimit else { return .refused(.insufficientRegistrationResources) }
            registrants.append(Registrant(port: newPort, key: newKey))
        }
        registrants[own].isHolder = false
        if let index = index(of: newPort) { registrants[index].isHolder = true }
        if unregisters { registrants.remove(at: own) }
        return registered(persists, .nothing)
    }
}
