// The fixed newstyle handshake, the client's side (NBD protocol, "Fixed newstyle negotiation").

import NBD
import TLS

extension Link {
    /// The longest answer to an option that is read: an error's message and a description have at most 4,096 bytes.
    private static let maximumReplyBytes: UInt32 = 8192

    /// Agrees with the server on an export, up to the first request.
    mutating func negotiate(_ address: ServerAddress, structuredReplies: Bool) throws(BenchError) -> ChosenExport {
        let greeting = try receiveGreeting()
        guard number(greeting[0..<8]) == Magic.greeting, number(greeting[8..<16]) == Magic.option else {
            throw .violation("it does not begin as a server of NBD does, or as one before version 3")
        }
        let offered = HandshakeFlags(rawValue: UInt16(number(greeting[16..<18])))
        guard offered.contains(.fixedNewstyle) else { throw .violation("it has no fixed newstyle handshake") }
        var flags: ClientFlags = .fixedNewstyle
        if offered.contains(.noZeroes) { flags.insert(.noZeroes) }
        try send(bigEndian(flags.rawValue))
        if let proof = address.proof {
            try ask(.startTLS)
            try startTLS(credentials(proof))
        }
        if structuredReplies { try ask(.structuredReply) }
        return try go(address.export, hasNoZeroes: flags.contains(.noZeroes))
    }

    private mutating func receiveGreeting() throws(BenchError) -> [UInt8] {
        do throws(BenchError) {
            return try receive(18)
        } catch {
            throw error.beforeFirstWord(of: .nbd)
        }
    }

    private func credentials(_ proof: ServerAddress.Proof) throws(BenchError) -> TLSClientCredentials {
        do throws(TLSCredentialsError) {
            switch proof {
            case .preSharedKey(let user, let file):
                return try TLSClientCredentials(user: user, preSharedKeyFile: file)
            case .certificates(let directory, let serverName):
                return try TLSClientCredentials(certificates: directory, serverName: serverName)
            }
        } catch {
            throw .tls("\(error)")
        }
    }

    /// Sends an option without data, to which the answer has to be yes.
    private mutating func ask(_ option: OptionType) throws(BenchError) {
        try send(option, [])
        let (type, data) = try receiveReply(to: option)
        guard type == OptionReplyType.ack.rawValue else { throw Self.refusal(of: option, type, data) }
    }

    /// NBD_OPT_GO, or NBD_OPT_EXPORT_NAME where the server does not know it.
    private mutating func go(_ name: String, hasNoZeroes: Bool) throws(BenchError) -> ChosenExport {
        let name = Array(name.utf8)
        try send(
            .go, bigEndian(UInt32(name.count)) + name + bigEndian(UInt16(1)) + bigEndian(InfoType.blockSize.rawValue))
        var export: ChosenExport?
        var blockSizes: (minimum: UInt32, maximum: UInt32)?
        while true {
            let (type, data) = try receiveReply(to: .go)
            switch OptionReplyType(rawValue: type) {
            case .info where data.count == 12 && number(data[0..<2]) == UInt64(InfoType.export.rawValue):
                export = ChosenExport(
                    sizeBytes: number(data[2..<10]), flags: TransmissionFlags(rawValue: UInt16(number(data[10..<12]))))
            case .info where data.count == 14 && number(data[0..<2]) == UInt64(InfoType.blockSize.rawValue):
                blockSizes = (UInt32(number(data[2..<6])), UInt32(number(data[10..<14])))
            case .info:
                break
            case .ack:
                guard var export else { throw .violation("GO is acknowledged without a size") }
                if let blockSizes, blockSizes.minimum > 0 {
                    export.minimumBlockBytes = blockSizes.minimum
                    export.maximumPayloadBytes = blockSizes.maximum
                }
                return export
            case .errorUnsupported:
                try send(.exportName, name)
                let data = try receive(hasNoZeroes ? 10 : 134)
                return ChosenExport(
                    sizeBytes: number(data[0..<8]), flags: TransmissionFlags(rawValue: UInt16(number(data[8..<10]))))
            default:
                throw Self.refusal(of: .go, type, data)
            }
        }
    }

    private static func refusal(of option: OptionType, _ type: UInt32, _ data: [UInt8]) -> BenchError {
        guard type & 0x8000_0000 != 0 else { return .violation("\(option) is answered with \(type)") }
        return .refused(option: option, error: type, message: String(decoding: data, as: UTF8.self))
    }

    private mutating func send(_ option: OptionType, _ data: [UInt8]) throws(BenchError) {
        try send(bigEndian(Magic.option) + bigEndian(option.rawValue) + bigEndian(UInt32(data.count)) + data)
    }

    private mutating func receiveReply(to option: OptionType) throws(BenchError) -> (type: UInt32, data: [UInt8]) {
        let header = try receive(20)
        guard number(header[0..<8]) == Magic.optionReply, number(header[8..<12]) == UInt64(option.rawValue) else {
            throw .violation("the answer to \(option) does not begin as one")
        }
        let count = UInt32(number(header[16..<20]))
        guard count <= Self.maximumReplyBytes else { throw .violation("the answer to \(option) has \(count) bytes") }
        return (UInt32(number(header[12..<16])), try receive(Int(count)))
    }
}

/// A big-endian number of at most eight bytes.
func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}

private func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
}
