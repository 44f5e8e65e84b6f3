// The judgement of a request before anything is done (NBD protocol, "Command flags", "Request types", "Error values",
// "Size constraints"). Everything about a request that can be refused without looking at the drive is refused here.

/// The handshake's settlements for a connection. They decide about its requests.
public struct TransmissionParameters: Equatable, Sendable {
    /// The flags the client was told.
    public var flags: TransmissionFlags
    /// The size the client was told.
    public var sizeBytes: UInt64
    /// Offsets and lengths must be multiples of this: the minimum block size for a client that asked for it with GO,
    /// and 1 for a client that never heard of it; that one's unaligned requests are served.
    public var alignmentBytes: UInt32
    /// The longest payload of a READ or WRITE.
    public var maximumPayloadBytes: UInt32
    /// The form of requests and replies.
    public var messages: MessageStyle
    /// The client has selected the metadata context `base:allocation` for this export.
    public var hasAllocationContext: Bool
    /// The server is stopping: every request but DISC is refused with ESHUTDOWN.
    public var isShuttingDown = false

    /// Creates the parameters for a client that has chosen an export.
    public init(
        export: ExportInformation, messages: MessageStyle, hasAllocationContext: Bool, blockSizeAdvertised: Bool
    ) {
        flags = export.transmissionFlags(messages: messages, hasAllocationContext: hasAllocationContext)
        sizeBytes = export.sizeBytes
        alignmentBytes = blockSizeAdvertised ? export.blockSizes.minimumBytes : 1
        maximumPayloadBytes = export.blockSizes.maximumPayloadBytes
        self.messages = messages
        self.hasAllocationContext = hasAllocationContext
    }

    /// The longest payload that is read only to be refused. With compact headers it is twice the 32 MiB that the
    /// document does not let a server take for an attack: a longer one costs less to disconnect than to read. With
    /// extended ones the client says what is payload, and the document has it disconnected for more than it may send.
    var drainLimitBytes: UInt32 {
        messages == .extended ? maximumPayloadBytes : 2 * BlockSizes.portableMaximumPayloadBytes
    }
}

/// The verdict on a request.
public enum RequestVerdict: Sendable {
    /// The request is sound. All but a FLUSH have a length above zero, inside the export.
    case perform(Command)
    /// A BLOCK_STATUS goes on in its payload, which is shorter than a header: receive it and judge again, by
    /// `validate(_:for:)`.
    case receivePayload
    /// The request is answered with an error, and the connection goes on.
    case refuse(RequestRefusal)
    /// DISC: finish what is in flight and close, without a reply.
    case disconnect
    /// The stream cannot be trusted any more: close at once.
    case close(RequestViolation)
}

/// The answer to a request that is refused.
public struct RequestRefusal: Sendable {
    /// The error value of the reply.
    public let error: NBDError
    /// The mistake in the request, for the structured error reply.
    public let message: StaticString
    /// The bytes of payload that follow the header and have to be read and thrown away.
    public let payloadBytes: UInt32
}

/// A request after which the connection has to be closed.
public enum RequestViolation: Equatable, Sendable, CustomStringConvertible {
    /// The header began with another number than requests of this connection do.
    case magic(UInt32, expected: UInt32)
    /// The client announced more payload than is worth reading.
    case payloadTooLong(UInt64, limit: UInt32)

    /// The violation in words, for the log.
    public var description: String {
        switch self {
        case .magic(let magic, let expected):
            "the client sent 0x\(String(magic, radix: 16)) where a request begins with"
                + " 0x\(String(expected, radix: 16))"
        case .payloadTooLong(let bytes, let limit):
            "the client announced a payload of \(bytes) bytes; more than \(limit) are not even read to be refused"
        }
    }
}

extension RequestHeader {
    /// Judges the request by what the handshake settled.
    public func validate(for parameters: TransmissionParameters) -> RequestVerdict {
        guard magic == parameters.messages.requestMagic else {
            return .close(.magic(magic, expected: parameters.messages.requestMagic))
        }
        let command = Command(rawValue: type)
        if command == .disconnect {
            // Its offset, length and flags are reserved, but to answer instead of closing would help nobody.
            return .disconnect
        }
        guard payloadBytes <= UInt64(parameters.drainLimitBytes) else {
            return .close(.payloadTooLong(payloadBytes, limit: parameters.drainLimitBytes))
        }
        guard let command else { return refuse(.invalidArgument, "the command is not known") }
        if parameters.isShuttingDown {
            return refuse(.shutdown, "the server is shutting down")
        }
        let told = parameters.flags
        if told.contains(.readOnly), command.writes {
            return refuse(.notPermitted, "the export is read-only")
        }
        if let message = command.notOffered(parameters) {
            return refuse(.invalidArgument, message)
        }
        guard flags.isSubset(of: command.allowedFlags(told, isExtended: isExtended)) else {
            return refuse(.invalidArgument, "a command flag is unknown, was not advertised or does not fit the command")
        }
        if command == .blockStatus, flags.contains(.payloadLength) {
            return validatePayloadForm()
        }
        if command == .flush {
            guard offsetBytes == 0, lengthBytes == 0 else {
                return refuse(.invalidArgument, "offset and length of a FLUSH have to be zero")
            }
            return .perform(.flush)
        }
        return validateRange(of: command, parameters)
    }

    /// BLOCK_STATUS with a payload.
    private func validatePayloadForm() -> RequestVerdict {
        // There is one context, and to name it twice or not at all is an error.
        guard lengthBytes == UInt64(BlockStatusPayload.byteCount) else {
            return refuse(.invalidArgument, "the payload names no metadata context, or more than were selected")
        }
        return .receivePayload
    }

    /// Judges a BLOCK_STATUS whose header was answered with `receivePayload`: the request is what it would be without
    /// payload, once the contexts in it are those that were selected.
    ///
    /// - Returns: the request without payload, and the judgement of it.
    public func validate(
        _ payload: RawSpan, for parameters: TransmissionParameters
    ) -> (request: RequestHeader, verdict: RequestVerdict) {
        let payload = BlockStatusPayload(payload)
        var request = self
        request.flags.remove(.payloadLength)
        request.lengthBytes = payload.effectLengthBytes
        guard payload.context == MetadataContext.allocation.rawValue else {
            return (request, request.refuse(.invalidArgument, "the payload names a context that was not selected"))
        }
        return (request, request.validate(for: parameters))
    }

    /// The part for the commands that have a range. Zero lengths, which the document leaves open, are refused: no
    /// chunk of a structured reply can describe them, and to an ATA drive a count of zero means the largest one.
    private func validateRange(of command: Command, _ parameters: TransmissionParameters) -> RequestVerdict {
        guard lengthBytes > 0 else { return refuse(.invalidArgument, "the length is zero") }
        let alignmentMask = UInt64(parameters.alignmentBytes) &- 1
        guard (offsetBytes | lengthBytes) & alignmentMask == 0 else {
            return refuse(.invalidArgument, "offset or length is no multiple of the minimum block size")
        }
        // Subtracting from the size, not adding to the offset, so that nothing can overflow.
        guard offsetBytes <= parameters.sizeBytes, lengthBytes <= parameters.sizeBytes - offsetBytes else {
            let error = command == .write || command == .writeZeroes ? NBDError.noSpace : .invalidArgument
            return refuse(error, "the range goes past the end of the export")
        }
        if lengthBytes > UInt64(parameters.maximumPayloadBytes) {
            if command == .write {
                return refuse(.invalidArgument, "the payload is longer than the maximum payload size")
            }
            if command == .read {
                // EOVERFLOW is documented for large reads whose replies are chunks only.
                return refuse(
                    parameters.messages.hasChunks ? .overflow : .invalidArgument,
                    "the length is larger than the maximum payload size")
            }
        }
        return .perform(command)
    }

    private func refuse(_ error: NBDError, _ message: StaticString) -> RequestVerdict {
        // The payload is no longer than `drainLimitBytes`.
        .refuse(
            RequestRefusal(error: error, message: message, payloadBytes: UInt32(truncatingIfNeeded: payloadBytes)))
    }
}

extension Command {
    /// The command changes the export, so a read-only one refuses it.
    fileprivate var writes: Bool {
        self == .write || self == .trim || self == .writeZeroes
    }

    /// Why the command cannot be used on this connection, or nil when it can.
    fileprivate func notOffered(_ parameters: TransmissionParameters) -> StaticString? {
        let told = parameters.flags
        return switch self {
        case .read, .write, .disconnect: nil
        case .flush: told.contains(.sendFlush) ? nil : "FLUSH was not advertised"
        case .trim: told.contains(.sendTrim) ? nil : "TRIM was not advertised"
        case .cache: told.contains(.sendCache) ? nil : "CACHE was not advertised"
        case .writeZeroes: told.contains(.sendWriteZeroes) ? nil : "WRITE_ZEROES was not advertised"
        case .blockStatus: parameters.hasAllocationContext ? nil : "no metadata context was selected"
        }
    }

    /// The flags that fit the command. FUA, once advertised, fits every command, even those that write nothing.
    fileprivate func allowedFlags(_ told: TransmissionFlags, isExtended: Bool) -> CommandFlags {
        var allowed: CommandFlags = told.contains(.sendFUA) ? .fua : []
        if self == .write, isExtended {
            allowed.insert(.payloadLength)
        }
        if self == .blockStatus {
            allowed.insert(.reqOne)
            if told.contains(.blockStatusPayload) {
                allowed.insert(.payloadLength)
            }
        }
        if self == .read, told.contains(.sendDF) {
            allowed.insert(.df)
        }
        if self == .writeZeroes {
            allowed.insert(.noHole)
            if told.contains(.sendFastZero) {
                allowed.insert(.fastZero)
            }
        }
        return allowed
    }
}
