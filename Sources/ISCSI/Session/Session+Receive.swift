// The pieces of a PDU: its header, its data, its trailer (RFC 7143, 11.2).

extension Session {
    /// These bytes of a payload are where they belong.
    public mutating func payloadMoved(_ bytes: RawSpan) {
        guard case .payload = phase, bytes.byteCount <= payloadLeft, let number = currentTask else {
            preconditionFailure("so much is no payload")
        }
        if parameters.hasDataDigest { digest.update(bytes) }
        payloadLeft -= bytes.byteCount
        tasks[number].receivedBytes += UInt32(bytes.byteCount)
        if payloadLeft == 0 { tasks[number].receivedBytes += UInt32(discardLeft) }
    }

    /// Where the next byte of a payload belongs, if ``awaitsPayload``.
    public var place: DataPlace {
        guard let number = currentTask else { preconditionFailure("a payload belongs to a task") }
        return DataPlace(task: number, offset: Int(tasks[number].receivedBytes), count: payloadLeft)
    }

    private var currentTask: TaskNumber? {
        switch current {
        case .command(let number), .dataOut(let number, _): number
        case .discarded, .login, .text, .nop, .logout, .management: nil
        }
    }

    /// Puts a header together.
    ///
    /// - Returns: how many bytes are missing.
    mutating func gatherHeader(_ input: RawSpan, _ consumed: inout Int) -> Int {
        while true {
            let length =
                headerCount < BasicHeaderSegment.byteCount
                ? BasicHeaderSegment.byteCount
                : BasicHeaderSegment.byteCount + Int(header[4]) * 4 + (parameters.hasHeaderDigest ? 4 : 0)
            let count = min(length - headerCount, input.byteCount - consumed)
            copy(input.extracting(consumed..<consumed + count))
            consumed += count
            headerCount += count
            if headerCount < length { return length - headerCount }
            // The first 48 bytes tell the length of the rest.
            if length > BasicHeaderSegment.byteCount || header[4] == 0 && !parameters.hasHeaderDigest { return 0 }
        }
    }

    /// Puts bytes behind those of the header that are there, in words as long as there are any.
    private mutating func copy(_ bytes: RawSpan) {
        let start = headerCount
        var span = header.mutableSpan
        // Every bit pattern is a byte.
        var header = unsafe span.mutableBytes
        var offset = 0
        while offset + 8 <= bytes.byteCount {
            header.store(bytes.load(offset, as: UInt64.self), start + offset)
            offset += 8
        }
        while offset < bytes.byteCount {
            header.store(bytes.load(offset, as: UInt8.self), start + offset)
            offset += 1
        }
    }

    /// Bytes of a segment that the session itself reads.
    mutating func take(_ bytes: RawSpan) {
        segment.append(contentsOf: bytes.bytes())
        payloadLeft -= bytes.byteCount
        if parameters.hasDataDigest { digest.update(bytes) }
    }

    /// - Returns: how many bytes are missing.
    mutating func gatherTrailer(_ input: RawSpan, _ consumed: inout Int) -> Int {
        let count = min(trailerLength - trailerCount, input.byteCount - consumed)
        for offset in 0..<count { trailer[trailerCount + offset] = input.load(consumed + offset) }
        consumed += count
        trailerCount += count
        return trailerLength - trailerCount
    }

    /// A header is there. Mistakes in the stream itself end the session here.
    mutating func judgeHeader() -> Event? {
        let (bhs, isSound) = decodeHeader()
        guard isSound else { return end(.violation, "a header digest does not fit its header") }
        headerCount = 0
        let limit =
            isFullFeature ? configuration.limits.maxRecvDataSegmentLength : UInt32(Self.maximumSegmentBytes)
        guard bhs.dataSegmentLength <= limit else {
            return end(.violation, "a data segment of \(bhs.dataSegmentLength) bytes, of which \(limit) are allowed")
        }
        let count = Int(bhs.dataSegmentLength)
        if !segment.isEmpty { segment = [] }
        digest = CRC32C()
        trailerCount = 0
        trailerLength = paddingBytes(count) + (count > 0 && parameters.hasDataDigest ? 4 : 0)
        payloadLeft = 0
        discardLeft = count
        let opcode = Opcode(rawValue: bhs.opcode)
        guard isFullFeature else { return judgeLogin(opcode, bhs) }
        return judgeRequest(opcode, bhs)
    }

    private func decodeHeader() -> (BasicHeaderSegment, isSound: Bool) {
        // Every bit pattern is a byte.
        let bytes = unsafe header.span.bytes
        let bhs = BasicHeaderSegment(bytes)
        guard parameters.hasHeaderDigest else { return (bhs, true) }
        let count = BasicHeaderSegment.byteCount + bhs.totalAHSBytes
        let wanted = CRC32C.of(bytes.extracting(first: count)).wireValue
        return (bhs, bytes.load(count, as: UInt32.self) == wanted)
    }

    /// The session reads the data segment of this request itself.
    mutating func gather(_ request: Current) -> Event? {
        guard discardLeft <= Self.maximumSegmentBytes else { return discard(.invalidPDUField) }
        current = request
        payloadLeft = discardLeft
        discardLeft = 0
        phase = .segment
        return nil
    }

    /// Throws the request away.
    mutating func discard(_ reason: RejectReason?) -> Event? {
        current = .discarded(reason)
        phase = .discarding
        return nil
    }

    /// A PDU is complete.
    mutating func endPDU() -> Event? {
        phase = .header
        if !hasSoundDigest { return endUnsoundPDU() }
        switch current {
        case .discarded(let reason):
            if let reason { reject(reason) }
            return nil
        case .login(let request): return advanceLogin(request)
        case .text(let request): return answer(request)
        case .nop(let request): return answer(request)
        case .logout(let request): return answer(request)
        case .management(let request): return manage(request)
        case .command(let number): return progress(number)
        case .dataOut(let number, let isFinal):
            if isFinal { endSequence(number) }
            return progress(number)
        }
    }

    /// The digest behind the padding fits the data.
    private var hasSoundDigest: Bool {
        let padding = trailerLength - 4
        guard parameters.hasDataDigest, padding >= 0 else { return true }
        let bytes = trailer.span
        // Every bit pattern is a byte.
        let span = unsafe bytes.bytes
        var digest = digest
        digest.update(span.extracting(first: padding))
        return span.load(padding, as: UInt32.self) == digest.wireValue
    }

    /// Data that were damaged on their way are rejected. A command that they were for ends (7.8), behind the Reject.
    private mutating func endUnsoundPDU() -> Event? {
        reject(.dataDigestError)
        switch current {
        case .command(let number):
            tasks[number].failure = tasks[number].failure ?? .digest
            next = progress(number)
        case .dataOut(let number, let isFinal):
            tasks[number].failure = tasks[number].failure ?? .digest
            if isFinal { endSequence(number) }
            next = progress(number)
        case .discarded, .login, .text, .nop, .logout, .management: break
        }
        return nil
    }
}
