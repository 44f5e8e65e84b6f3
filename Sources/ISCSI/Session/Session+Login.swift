// The session before Full Feature Phase: the login's outcomes become events (RFC 7143, 6.3).

extension Session {
    /// An initiator's answer to the challenge.
    public var answer: CHAPAnswer? { login.answer }

    /// The name by which an initiator has chosen its target: one of several that the target stands for, or its own.
    public var targetName: String { login.targetName }

    /// Before it is logged in, an initiator sends nothing but Login Requests.
    mutating func judgeLogin(_ opcode: Opcode?, _ bhs: BasicHeaderSegment) -> Event? {
        guard opcode == .loginRequest else {
            return end(
                .violation, "the initiator sent opcode 0x\(String(bhs.opcode, radix: 16)) before it has logged in")
        }
        guard bhs.totalAHSBytes == 0 else { return end(.violation, "a Login Request with additional segments") }
        let request = unsafe LoginRequestPDU(header.span.bytes)
        if login.isUntouched {
            statusSN = request.expectedStatusSN
            expectedCommandSN = request.commandSN
        }
        return gather(.login(request))
    }

    mutating func advanceLogin(_ request: LoginRequestPDU) -> Event? {
        let outcome = login.advance(request, segment, directory: directory)
        return perform(outcome)
    }

    private mutating func perform(_ outcome: Login.Outcome) -> Event? {
        switch outcome {
        case .reply(let response, let pairs):
            say(response, pairs)
            return nil
        case .authenticate:
            phase = .waiting(.authenticate)
            return nil
        case .open(let target):
            if isShuttingDown { return fail(.serviceUnavailable, "the server is shutting down") }
            phase = .waiting(.open(target: target))
            return nil
        case .fail(let status, let reason): return fail(status, reason)
        }
    }

    private mutating func fail(_ status: LoginStatus, _ reason: String) -> Event {
        say(login.response(status), [])
        return end(.loginFailed, reason)
    }

    private mutating func say(_ response: LoginResponsePDU, _ pairs: [TextPair]) {
        var response = response
        // A login that has failed counts nothing any more (11.13.4).
        giveSequenceNumbers(to: &response)
        say(response, Text.compose(pairs))
    }

    /// The answer to the challenge was judged. The result is the next event.
    public mutating func judged(_ judgement: CHAPJudgement) {
        guard case .waiting(.authenticate) = phase else { preconditionFailure("no answer was to be judged") }
        phase = .header
        _ = perform(login.judged(judgement))
    }

    /// The target is open, or the discovery session has begun: the login is over.
    public mutating func opened() {
        guard case .waiting(.open) = phase else { preconditionFailure("no target was to be opened") }
        let (response, pairs) = login.finish(tsih: configuration.tsih)
        say(response, pairs)
        parameters = login.parameters
        isFullFeature = true
        phase = .header
    }

    /// The target cannot be opened, and why. The result is the next event.
    public mutating func refuseOpening(_ status: LoginStatus, _ reason: String) {
        guard case .waiting(.open) = phase else { preconditionFailure("no target was to be opened") }
        _ = fail(status, reason)
    }

    /// Logins fail from now on. An initiator that has logged in is asked to log out within so many seconds (11.9.1).
    public mutating func beginShutdown(seconds: UInt16) {
        isShuttingDown = true
        guard isFullFeature else { return }
        if case .ended = phase { return }
        announce(.requestLogout, parameter3: seconds)
    }

    /// Says that something has happened (11.9): send ``takeWords()`` before anything is encoded.
    public mutating func announce(
        _ event: AsynchronousEvent, parameter1: UInt16 = 0, parameter2: UInt16 = 0, parameter3: UInt16 = 0
    ) {
        precondition(isFullFeature, "no asynchronous message comes before the login")
        var message = AsynchronousMessagePDU()
        message.event = event
        message.parameter1 = parameter1
        message.parameter2 = parameter2
        message.parameter3 = parameter3
        giveSequenceNumbers(to: &message)
        say(message)
    }
}
