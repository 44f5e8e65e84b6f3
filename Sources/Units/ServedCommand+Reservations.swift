// RESERVE (6), RELEASE (6) and PERSISTENT RESERVE OUT (SPC-2, SPC-4 5.13, 6.16).

import SCSI

extension ServedCommand {
    /// RESERVE (6) and RELEASE (6). There is no mixing them with registrations (SPC-4 5.13, CRH is 0).
    mutating func reserve(_ server: inout DeviceServer) -> UnitStep {
        guard server.reservations.registrants.isEmpty else {
            status = .reservationConflict
            return .finished
        }
        if duty == .reserve {
            server.reserve(for: nexus)
        } else if server.reserver == nexus {
            server.reserve(for: nil)
        }
        return .finished
    }

    /// PERSISTENT RESERVE OUT.
    mutating func reservePersistently(
        _ server: inout DeviceServer, _ format: SenseData.Format, _ buffer: RawSpan
    ) -> UnitStep {
        guard let action = ReserveOutAction(rawValue: cdb.serviceAction) else { return end(.invalidField(1), format) }
        guard let parameters = ReserveOutParameters(buffer.extracting(0..<dataOutBytes), action, dataLength) else {
            return end(.parameterListLength, format)
        }
        // SCOPE is the logical unit.
        guard cdb[2] & 0xF0 == 0 else { return end(.invalidField(2, bit: 7), format) }
        if let objection = parameters.objection(action, canPersist: server.keepsReservations) {
            return end(objection, format)
        }
        let type = ReservationType(rawValue: cdb[2] & 0x0F)
        if action == .reserve, type == nil { return end(.invalidField(2, bit: 3), format) }
        let outcome = server.change(nexus) { reservations, port in
            reservations.perform(action, type, parameters, for: port)
        }
        switch outcome {
        case .good: return succeedReserving()
        case .conflict: status = .reservationConflict
        case .refused(let objection): return end(objection, format)
        }
        return .finished
    }

    /// The change of the command could not be kept: of reservations (APTPL), which has not happened then, or of the
    /// drive's state.
    public mutating func failKeeping() {
        status = .checkCondition
        sense = Objection.notKept.sense(.fixed)
        movedBytes = 0
    }

    private mutating func succeedReserving() -> UnitStep {
        movedBytes = commandBytes
        return .finished
    }
}

/// The parameter list of PERSISTENT RESERVE OUT (SPC-4 6.16).
struct ReserveOutParameters {
    /// RESERVATION KEY.
    let key: UInt64
    /// SERVICE ACTION RESERVATION KEY.
    let newKey: UInt64
    /// SPEC_I_PT: the list names other initiator ports.
    let namesPorts: Bool
    /// APTPL.
    let persists: Bool
    /// Of REGISTER AND MOVE: UNREG, RELATIVE TARGET PORT IDENTIFIER, and the initiator port.
    let unregisters: Bool
    let targetPort: UInt16
    let port: [UInt8]?

    /// Nil if the list has not the length that it has to have.
    init?(_ bytes: RawSpan, _ action: ReserveOutAction, _ length: UInt32) {
        let isMove = action == .registerAndMove
        guard Int(length) == bytes.byteCount, bytes.byteCount >= 24 else { return nil }
        key = bytes.load(0)
        newKey = bytes.load(8)
        if isMove {
            let portBytes: UInt32 = bytes.load(20)
            guard Int(portBytes) == bytes.byteCount - 24 else { return nil }
            namesPorts = false
            unregisters = bytes[17] & 0x02 != 0
            persists = bytes[17] & 0x01 != 0
            targetPort = bytes.load(18)
            port = TransportID.port(parsing: bytes.extracting(24..<bytes.byteCount))
        } else {
            namesPorts = bytes[20] & 0x08 != 0
            persists = bytes[20] & 0x01 != 0
            unregisters = false
            targetPort = 0
            port = nil
            // With SPEC_I_PT there are more, which are not looked at.
            guard bytes.byteCount == 24 || namesPorts else { return nil }
        }
    }

    /// Unsupported requests: to register others (SIP_C is 0), and to keep what nobody keeps (PTPL_C).
    func objection(_ action: ReserveOutAction, canPersist: Bool) -> Objection? {
        if namesPorts { return .invalidParameter(20, bit: 3) }
        let isMove = action == .registerAndMove
        let registers = isMove || action == .register || action == .registerAndIgnoreExistingKey
        if registers, persists, !canPersist { return .invalidParameter(isMove ? 17 : 20, bit: 0) }
        guard isMove else { return nil }
        if targetPort != PersistentReservations.relativeTargetPort { return .invalidParameter(18) }
        return port == nil ? .invalidParameter(24) : nil
    }
}

extension PersistentReservations {
    /// Does what a service action asks for.
    mutating func perform(
        _ action: ReserveOutAction, _ type: ReservationType?, _ parameters: ReserveOutParameters, for own: [UInt8]
    ) -> Outcome {
        let (key, newKey) = (parameters.key, parameters.newKey)
        switch action {
        case .register, .registerAndIgnoreExistingKey:
            return register(
                own, key: key, newKey: newKey, ignoresKey: action == .registerAndIgnoreExistingKey,
                persists: parameters.persists)
        case .reserve:
            guard let type else { return .refused(.invalidField(2, bit: 3)) }
            return reserve(own, key: key, as: type)
        case .release: return release(own, key: key, as: type)
        case .clear: return clear(own, key: key)
        case .preempt, .preemptAndAbort:
            return preempt(own, key: key, preempted: newKey, as: type, aborts: action == .preemptAndAbort)
        case .registerAndMove:
            guard let port = parameters.port else { return .refused(.invalidParameter(24)) }
            return registerAndMove(
                own, key: key, to: port, newKey: newKey, unregisters: parameters.unregisters,
                persists: parameters.persists)
        }
    }
}
