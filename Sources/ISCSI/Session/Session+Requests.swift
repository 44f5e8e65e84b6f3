// Requests that are no commands: text, NOP, logout, task management (RFC 7143, 11.5, 11.10, 11.14, 11.18).

extension Session {
    // MARK: Task management

    mutating func manage(_ request: TaskManagementRequestPDU) -> Event? {
        guard sessionType == .normal else {
            reject(.protocolError)
            return nil
        }
        received(isImmediate: request.isImmediate)
        managementRequest = request
        let function = TaskManagementFunction(rawValue: request.function)
        var task: TaskNumber?
        switch function {
        case .abortTask:
            task = tasks.find(request.referencedTaskTag)
            // Commands come in order, so one that is not there has ended or never was (11.6.1). The initiator may have
            // given up the next one: it is received with this.
            guard task != nil else {
                let isNext = request.referencedCommandSN == expectedCommandSN && request.commandSN != expectedCommandSN
                guard isNext, turn(request.referencedCommandSN, isImmediate: false) == .now else {
                    return respond(.taskDoesNotExist)
                }
                received(isImmediate: false)
                return respond(.functionComplete)
            }
        case .abortTaskSet, .clearTaskSet, .logicalUnitReset, .targetWarmReset, .targetColdReset: break
        case .taskReassign: return respond(.reassignmentNotSupported)
        case .clearACA, nil: return respond(.functionNotSupported)
        }
        guard let function else { return nil }
        let event = Event.manage(
            TaskManagement(function: function, logicalUnit: request.logicalUnit, task: task))
        phase = .waiting(event)
        return event
    }

    /// Whether a task ends with a function.
    public func affects(_ management: TaskManagement, _ number: TaskNumber) -> Bool {
        guard tasks[number].isActive else { return false }
        return switch management.function {
        case .abortTask: number == management.task
        case .targetWarmReset, .targetColdReset: true
        default: tasks[number].logicalUnit == management.logicalUnit
        }
    }

    /// The function of the last event was done, or could not be.
    public mutating func managed(_ response: TaskManagementResponse) {
        guard case .waiting(.manage) = phase else { preconditionFailure("no function was to be done") }
        phase = .header
        _ = respond(response)
    }

    private mutating func respond(_ response: TaskManagementResponse) -> Event? {
        var pdu = TaskManagementResponsePDU()
        pdu.response = response
        pdu.initiatorTaskTag = managementRequest.initiatorTaskTag
        giveSequenceNumbers(to: &pdu)
        say(pdu)
        return nil
    }

    // MARK: NOP

    mutating func answer(_ request: NOPOutPDU) -> Event? {
        if request.targetTransferTag != reservedTag {
            guard isPinged, request.targetTransferTag == pingTag else {
                reject(.invalidPDUField)
                return nil
            }
            isPinged = false
        }
        received(isImmediate: request.isImmediate)
        // Without a tag nobody waits for an answer.
        guard request.initiatorTaskTag != reservedTag else { return nil }
        var pdu = NOPInPDU()
        pdu.initiatorTaskTag = request.initiatorTaskTag
        pdu.logicalUnit = request.logicalUnit
        giveSequenceNumbers(to: &pdu)
        // The same data, as far as the initiator receives them (11.19.3).
        say(pdu, segment.prefix(Int(parameters.maxRecvDataSegmentLength)))
        return nil
    }

    /// Asks whether the initiator is there: ``isPinged`` until it answers. Send ``takeWords()`` before anything is
    /// encoded.
    public mutating func ping() {
        precondition(isFullFeature, "nobody is asked before the login")
        pingTag = pingTag == reservedTag - 1 ? 0 : pingTag + 1
        isPinged = true
        var pdu = NOPInPDU()
        pdu.targetTransferTag = pingTag
        giveSequenceNumbers(to: &pdu, takesStatusSN: false)
        say(pdu)
    }

    // MARK: Logout

    mutating func answer(_ request: LogoutRequestPDU) -> Event? {
        received(isImmediate: request.isImmediate)
        let response: LogoutResponse
        switch LogoutReason(rawValue: request.reason) {
        case .closeSession: response = .closed
        case .closeConnection:
            response = request.connectionID == login.connectionID ? .closed : .connectionIDNotFound
        case .removeConnectionForRecovery: response = .recoveryNotSupported
        case nil:
            reject(.invalidPDUField)
            return nil
        }
        guard response == .closed else {
            say(response, to: request)
            return nil
        }
        logout = request
        return end(.loggedOut)
    }

    /// Says that the session is closed, after the last response to its commands: nothing comes behind it (11.15).
    ///
    /// - Returns: false if nobody waits for that.
    public mutating func confirmLogout() -> Bool {
        guard let request = logout else { return false }
        logout = nil
        say(.closed, to: request)
        return true
    }

    private mutating func say(_ response: LogoutResponse, to request: LogoutRequestPDU) {
        var pdu = LogoutResponsePDU()
        pdu.response = response
        pdu.initiatorTaskTag = request.initiatorTaskTag
        giveSequenceNumbers(to: &pdu)
        pdu.time2Wait = UInt16(clamping: parameters.defaultTime2Wait)
        pdu.time2Retain = UInt16(clamping: parameters.defaultTime2Retain)
        say(pdu)
    }

    // MARK: Text

    mutating func answer(_ request: TextRequestPDU) -> Event? {
        let isNew = request.targetTransferTag == reservedTag
        guard request.initiatorTaskTag != reservedTag, !(request.isFinal && request.continues),
            isNew || isInText && request.targetTransferTag == textTag
        else {
            endText()
            reject(.invalidPDUField)
            return nil
        }
        if isNew { endText() }
        guard text.count + segment.count <= Self.maximumSegmentBytes else {
            endText()
            reject(.longOperationReject)
            return nil
        }
        text += segment
        if !request.continues, !hasTextToSay {
            // No key comes twice (6.2).
            guard let pairs = try? Text.parse(text), Set(pairs.map(\.key)).count == pairs.count else {
                endText()
                reject(.protocolError)
                return nil
            }
            text = []
            textAnswer = Text.compose(pairs.flatMap { answer($0) })[...]
        }
        received(isImmediate: request.isImmediate)
        say(request)
        return nil
    }

    /// A text's answer is not said to its end.
    private var hasTextToSay: Bool { !textAnswer.isEmpty || !targetsToSay.isEmpty }

    private mutating func endText() {
        text = []
        textAnswer = []
        targetsToSay = []
        isInText = false
    }

    /// As much of the answer as one PDU has room for. Targets become text when it is their turn: there may be
    /// thousands, and many initiators that ask.
    private mutating func say(_ request: TextRequestPDU) {
        let limit = min(Int(parameters.maxRecvDataSegmentLength), Self.maximumSegmentBytes)
        while textAnswer.count < limit, let target = targetsToSay.popFirst() {
            textAnswer += Text.compose(
                [TextPair(Key.targetName.rawValue, target.name)]
                    + target.addresses.map { TextPair(Key.targetAddress.rawValue, $0) })
        }
        let piece = textAnswer.prefix(limit)
        textAnswer = textAnswer.dropFirst(limit)
        var pdu = TextResponsePDU()
        pdu.isFinal = request.isFinal && !hasTextToSay
        pdu.continues = hasTextToSay
        if pdu.isFinal {
            endText()
        } else {
            isInText = true
            textTag = textTag == reservedTag - 1 ? 0 : textTag + 1
            pdu.targetTransferTag = textTag
        }
        pdu.initiatorTaskTag = request.initiatorTaskTag
        giveSequenceNumbers(to: &pdu)
        say(pdu, piece)
    }

    /// The answer to one key (13). Keys that a login settles stay as they are.
    private mutating func answer(_ pair: TextPair) -> [TextPair] {
        switch Key(rawValue: pair.key) {
        case nil: [TextPair(pair.key, ReservedValue.notUnderstood)]
        case .sendTargets: sendTargets(pair.value)
        case .initiatorAlias, .nodeArchitecture: []
        case .maxRecvDataSegmentLength:
            parameters.negotiate(.maxRecvDataSegmentLength, pair.value, configuration.limits) == .declared
                ? [] : [TextPair(pair.key, ReservedValue.reject)]
        default: [TextPair(pair.key, ReservedValue.reject)]
        }
    }

    /// SendTargets: all of them in a discovery session, one by its name, or the session's own (appendix C). They stand
    /// behind the answers to other keys.
    private mutating func sendTargets(_ value: String) -> [TextPair] {
        switch (sessionType, value) {
        case (.discovery, "All"): targetsToSay = directory.filter { $0.names == nil }[...]
        case (.discovery, ""), (.normal, "All"):
            return [TextPair(Key.sendTargets.rawValue, ReservedValue.reject)]
        case (.discovery, _): targetsToSay = directory.filter { $0.names == nil && $0.name == value }[...]
        case (.normal, _):
            targetsToSay = directory.filter { $0.name == login.targetName && ["", $0.name].contains(value) }[...]
        }
        return []
    }
}
