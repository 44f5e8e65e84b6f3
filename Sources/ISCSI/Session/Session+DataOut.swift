// Data of writes, solicited or not, and their numbers (RFC 7143, 11.7, 11.8).

extension Session {
    mutating func judge(_ request: DataOutPDU) -> Event? {
        let isSolicited = request.targetTransferTag != reservedTag
        let found =
            isSolicited ? tasks.find(transfer: request.targetTransferTag) : tasks.find(request.initiatorTaskTag)
        guard let number = found, tasks.tag(of: number) == request.initiatorTaskTag,
            tasks[number].awaited == (isSolicited ? .solicited : .unsolicited),
            !isSolicited || request.logicalUnit == tasks[number].logicalUnit
        else {
            // Nobody asked for these data (11.17.1). Those of a task that was aborted may have left before that.
            return discard(mayHaveLateData ? nil : .invalidPDUField)
        }
        current = .dataOut(number, isFinal: request.isFinal)
        guard tasks[number].failure == nil else {
            phase = .discarding
            return nil
        }
        tasks[number].failure = failure(of: request, tasks[number])
        if tasks[number].failure == nil { tasks[number].dataSN &+= 1 }
        beginData(number)
        return nil
    }

    private func failure(of request: DataOutPDU, _ task: TaskEntry) -> DataOutFailure? {
        guard request.dataSN == task.dataSN else { return .dataSequence }
        guard request.bufferOffset == task.receivedBytes else { return .bufferOffset }
        let left = task.sequenceEnd - min(task.sequenceEnd, task.receivedBytes)
        guard request.dataSegmentLength <= left else { return .incorrectAmountOfData }
        let isComplete = request.dataSegmentLength == left
        // An R2T is answered in full; unsolicited data may end earlier.
        if task.awaited == .solicited { return request.isFinal == isComplete ? nil : .incorrectAmountOfData }
        return isComplete && !request.isFinal ? .incorrectAmountOfData : nil
    }

    mutating func endSequence(_ number: TaskNumber) {
        tasks[number].awaited = .nothing
    }

    /// Whether the data that a task waits for were asked for by an R2T.
    public func isSolicited(_ number: TaskNumber) -> Bool { tasks[number].awaited == .solicited }

    /// Encodes the R2T that the last event asked for.
    ///
    /// - Parameter end: asks for no byte of the task's data from this one on. There is one before it to ask for.
    /// - Returns: how many bytes it has.
    public mutating func encodeReadyToTransfer(
        of number: TaskNumber, upTo end: Int = .max, into headers: inout MutableRawSpan
    ) -> Int {
        precondition(tasks[number].awaited == .solicited, "no R2T was to be sent")
        precondition(end > tasks[number].receivedBytes, "an R2T asks for something")
        tasks[number].sequenceEnd = min(tasks[number].sequenceEnd, UInt32(clamping: end))
        var pdu = ReadyToTransferPDU()
        pdu.logicalUnit = tasks[number].logicalUnit
        pdu.initiatorTaskTag = tasks.tag(of: number)
        pdu.targetTransferTag = tasks.transferTag(of: number)
        giveSequenceNumbers(to: &pdu, takesStatusSN: false)
        pdu.readyToTransferSN = tasks[number].sentPDUs
        pdu.bufferOffset = tasks[number].receivedBytes
        pdu.desiredDataTransferLength = tasks[number].sequenceEnd - tasks[number].receivedBytes
        tasks[number].sentPDUs += 1
        return encode(pdu, into: &headers, at: 0)
    }
}
