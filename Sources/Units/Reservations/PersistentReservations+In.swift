// The answers of PERSISTENT RESERVE IN (SPC-4 6.15).

/// SERVICE ACTION of PERSISTENT RESERVE IN (SPC-4 6.15).
enum ReserveInAction: UInt8, CaseIterable, Sendable {
    case readKeys = 0x00
    case readReservation = 0x01
    case reportCapabilities = 0x02
    case readFullStatus = 0x03
}

extension PersistentReservations {
    /// The most bytes of an answer.
    static let longestAnswer = 8 + registrantLimit * (24 + 4 + portNameLimit + 4)
    /// RELATIVE TARGET PORT IDENTIFIER of the only target port.
    static let relativeTargetPort: UInt16 = 1

    /// Appends the parameter data.
    func answer(_ action: ReserveInAction, canPersist: Bool, to answer: inout Answer) {
        switch action {
        case .readKeys:
            answer.append(generation)
            answer.append(UInt32(registrants.count * 8))
            for registrant in registrants { answer.append(registrant.key) }
        case .readReservation:
            answer.append(generation)
            guard let type, let key = holderKey else { return answer.append(UInt32(0)) }
            answer.append(UInt32(16))
            answer.append(key)
            answer.append(UInt32(0))
            answer.append(UInt16(type.rawValue))
            answer.append(UInt16(0))
        case .reportCapabilities:
            answer.append(UInt16(8))
            // ATP_C: with one target port, all of them are no more. PTPL_C.
            answer.append(UInt8(canPersist ? 0x05 : 0x04))
            // TMV, and PTPL_A.
            answer.append(UInt8(persistsThroughPowerLoss ? 0x81 : 0x80))
            // All types.
            answer.append(UInt16(0xEA01))
            answer.append(UInt16(0))
        case .readFullStatus:
            answer.append(generation)
            answer.append(UInt32(registrants.reduce(0) { $0 + 24 + TransportID.byteCount(of: $1.port) }))
            for index in registrants.indices { appendStatus(of: index, to: &answer) }
        }
    }

    /// A full status descriptor (SPC-4 6.15).
    private func appendStatus(of index: Int, to answer: inout Answer) {
        let isHolder = holds(index)
        answer.append(registrants[index].key)
        answer.append(UInt32(0))
        answer.append(UInt8(isHolder ? 1 : 0))
        answer.append(isHolder ? type?.rawValue ?? 0 : 0)
        answer.append(UInt32(0))
        answer.append(Self.relativeTargetPort)
        answer.append(UInt32(TransportID.byteCount(of: registrants[index].port)))
        TransportID.append(registrants[index].port, to: &answer)
    }
}

/// An initiator port in the form of a TransportID (SPC-4, TransportID for iSCSI): its name, with FORMAT CODE 01b.
enum TransportID {
    /// Header, name, and zeroes up to a multiple of four, one at least; 20 bytes at least.
    static func byteCount(of port: [UInt8]) -> Int { 4 + max(20, (port.count + 1 + 3) & ~3) }

    static func append(_ port: [UInt8], to answer: inout Answer) {
        let count = byteCount(of: port) - 4
        answer.append(UInt8(0x45))
        answer.append(UInt8(0))
        answer.append(UInt16(count))
        for index in 0..<count { answer.append(index < port.count ? port[index] : 0) }
    }

    /// The name in it; nil if it is something else.
    static func port(parsing bytes: RawSpan) -> [UInt8]? {
        guard bytes.byteCount >= 24, bytes[0] == 0x45 else { return nil }
        let count = Int(bytes[2]) << 8 | Int(bytes[3])
        guard count >= 20, count % 4 == 0, count <= bytes.byteCount - 4 else { return nil }
        var port: [UInt8] = []
        for index in 4..<4 + count {
            guard bytes[index] != 0 else { break }
            port.append(bytes[index])
        }
        let isTerminated = port.count < count
        return isTerminated && !port.isEmpty && port.count <= PersistentReservations.portNameLimit ? port : nil
    }
}
