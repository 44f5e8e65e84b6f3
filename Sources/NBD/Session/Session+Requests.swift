// The session once a unit is open: requests and their payloads (NBD protocol, "Request message", "Request types").

extension Session {
    /// There was no place for the request of the last event: the next call judges it anew, when there may be one, or a
    /// reason to refuse it.
    public mutating func postpone() {
        phase = .held
        payloadLeft = 0
    }

    /// A request waits for a place. There is no use in receiving anything.
    @inlinable public var isHeld: Bool { phase == .held }

    /// The next bytes are payload of the request that began last, and not for this state machine.
    @inlinable public var awaitsPayload: Bool { phase == .payload }

    /// How many bytes of that payload are still to come.
    @inlinable public var payloadBytesLeft: Int { payloadLeft }

    /// A request that has arrived, or that is being refused, will be answered though it has not begun.
    @inlinable public var owesReply: Bool { phase == .held || phase == .discarding }

    /// A request has arrived in part: if nothing more comes, it has not happened.
    @inlinable public var isInsideRequest: Bool {
        switch phase {
        case .header: pieceCount > 0
        case .statusPayload, .payload, .discarding: true
        case .handshake, .opening, .held, .ended: false
        }
    }

    /// So many bytes of a payload are where they belong.
    public mutating func payloadMoved(_ count: Int) {
        precondition(phase == .payload && count <= payloadLeft, "so much is no payload")
        payloadLeft -= count
        if payloadLeft == 0 { phase = .header }
    }

    /// The open unit has another size from now on. What a client could ask for it may go on to ask for: of a disc that
    /// is gone, the drive says so.
    public mutating func resize(_ sizeBytes: UInt64) {
        guard let parameters else { return }
        self.parameters?.sizeBytes = max(parameters.sizeBytes, sizeBytes)
    }

    @inline(__always)
    mutating func advanceTransmission(_ input: RawSpan) -> (consumed: Int, event: Event) {
        guard let parameters else { preconditionFailure("a unit is open") }
        let length = parameters.messages.requestHeaderBytes
        // The usual case: the header is in one piece where it was received.
        if phase == .header, pieceCount == 0, input.byteCount >= length {
            header = RequestHeader(input, parameters.messages)
            if let event = judgeHeader(parameters) { return (length, event) }
            return goOn(input, from: length, parameters)
        }
        return goOn(input, from: 0, parameters)
    }

    private mutating func goOn(
        _ input: RawSpan, from start: Int, _ parameters: TransmissionParameters
    ) -> (consumed: Int, event: Event) {
        var consumed = start
        while true {
            switch phase {
            case .header:
                let missing = gather(parameters.messages.requestHeaderBytes, from: input, &consumed)
                guard missing == 0 else { return (consumed, .needMoreBytes(missing)) }
                // Every pattern of bits is a byte.
                header = unsafe RequestHeader(piece.span.bytes, parameters.messages)
                if let event = judgeHeader(parameters) { return (consumed, event) }
            case .statusPayload:
                let missing = gather(BlockStatusPayload.byteCount, from: input, &consumed)
                guard missing == 0 else { return (consumed, .needMoreBytes(missing)) }
                return (consumed, judgeStatusPayload(parameters))
            case .discarding:
                let count = min(payloadLeft, input.byteCount - consumed)
                consumed += count
                payloadLeft -= count
                guard payloadLeft == 0 else { return (consumed, .needMoreBytes(payloadLeft)) }
                return (consumed, endRefusal())
            case .held:
                switch judged {
                case .header: if let event = judgeHeader(parameters) { return (consumed, event) }
                case .statusPayload: return (consumed, judgeStatusPayload(parameters))
                case .refusal: return (consumed, endRefusal())
                }
            case .payload:
                return (consumed, .payload(payloadLeft))
            case .handshake, .opening, .ended:
                preconditionFailure("requests come while a unit is open")
            }
        }
    }

    /// Puts together what did not arrive at once.
    ///
    /// - Returns: how many of `length` bytes are missing.
    private mutating func gather(_ length: Int, from input: RawSpan, _ consumed: inout Int) -> Int {
        let count = min(length - pieceCount, input.byteCount - consumed)
        for offset in 0..<count {
            piece[pieceCount + offset] = input.loadBigEndian(at: consumed + offset, as: UInt8.self)
        }
        consumed += count
        pieceCount += count
        let missing = length - pieceCount
        if missing == 0 { pieceCount = 0 }
        return missing
    }

    /// - Returns: nil if the request goes on with a payload that is read here.
    @inline(__always)
    private mutating func judgeHeader(_ parameters: TransmissionParameters) -> Event? {
        judged = .header
        switch header.validate(for: parameters) {
        case .perform(let command): return begin(header, as: command)
        case .receivePayload:
            phase = .statusPayload
            return nil
        case .refuse(let refused):
            let refusal = Refusal(header, refused, unit: unit)
            guard refused.payloadBytes > 0 else {
                phase = .header
                return .refuse(refusal)
            }
            self.refusal = refusal
            payloadLeft = Int(refused.payloadBytes)
            phase = .discarding
            return nil
        case .disconnect:
            return end(.disconnected)
        case .close(let violation):
            self.violation = violation
            return end(.violation)
        }
    }

    /// A BLOCK_STATUS has its payload.
    private mutating func judgeStatusPayload(_ parameters: TransmissionParameters) -> Event {
        judged = .statusPayload
        let (request, verdict) = unsafe header.validate(piece.span.bytes, for: parameters)
        switch verdict {
        case .perform(let command):
            return begin(request, as: command)
        case .refuse(let refused):
            phase = .header
            return .refuse(Refusal(request, refused, unit: unit))
        case .receivePayload, .disconnect, .close:
            preconditionFailure("without its payload it is a BLOCK_STATUS as any other")
        }
    }

    @inline(__always)
    private mutating func begin(_ header: RequestHeader, as command: Command) -> Event {
        let request = Request(header, as: command, unit: unit)
        payloadLeft = request.payloadBytes
        phase = payloadLeft > 0 ? .payload : .header
        return .begin(request)
    }

    /// The payload of a refused request is over: clients that are still sending do not expect an answer.
    private mutating func endRefusal() -> Event {
        guard let refusal else { preconditionFailure("a payload is thrown away for a reason") }
        judged = .refusal
        phase = .header
        return .refuse(refusal)
    }
}
