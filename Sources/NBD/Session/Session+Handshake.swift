// The session before a unit is open: Negotiation is given whole pieces, and its effects become events.

extension Session {
    /// The units are opened, in the end, by the caller's number.
    public mutating func opened(as number: Int32) {
        precondition(phase == .opening, "no unit was to be opened")
        unit = number
        parameters?.isShuttingDown = isShuttingDown
        words += openingWords
        openingWords = []
        directory = []
        phase = .header
    }

    /// The unit cannot be opened now. The handshake goes on if the protocol lets it.
    public mutating func refuseOpening(_ reason: String) -> Event {
        precondition(phase == .opening, "no unit was to be opened")
        phase = .handshake
        openingWords = []
        parameters = nil
        let event = event(for: negotiation.refuseOpening(reason))
        // A caller that refuses knows it.
        refusedOption = nil
        return event
    }

    /// Takes what the last words have refused, if they have.
    public mutating func takeRefusal() -> OptionRefusal? {
        defer { refusedOption = nil }
        return refusedOption
    }

    mutating func advanceHandshake(_ input: RawSpan) -> (consumed: Int, event: Event) {
        var consumed = 0
        while true {
            let rest = input.extracting(droppingFirst: consumed)
            if option.isEmpty {
                let (count, effect) = negotiation.advance(rest, exports: directory)
                consumed += count
                guard case .needMoreBytes = effect else { return (consumed, event(for: effect)) }
                option = rest.extracting(droppingFirst: count).bytes()
                return (input.byteCount, .needMoreBytes(negotiation.neededBytes - option.count))
            }
            let missing = negotiation.neededBytes - option.count
            option += rest.extracting(first: missing).bytes()
            guard rest.byteCount >= missing else {
                return (input.byteCount, .needMoreBytes(missing - rest.byteCount))
            }
            consumed += missing
            let whole = option
            option = []
            let (count, effect) = unsafe negotiation.advance(whole.span.bytes, exports: directory)
            precondition(count == whole.count, "what is needed is consumed")
            if case .needMoreBytes = effect { continue }
            return (consumed, event(for: effect))
        }
    }

    private mutating func event(for effect: Negotiation.Event) -> Event {
        switch effect {
        case .needMoreBytes:
            preconditionFailure("nothing has happened")
        case .reply(let bytes, let refusal):
            words += bytes
            refusedOption = refusal
            return .say
        case .startTLS(let reply):
            words += reply
            return .startTLS
        case .transmission(let reply, let export, let parameters):
            openingWords = reply
            chosen = export
            self.parameters = parameters
            phase = .opening
            return .open(unit: export)
        case .close(let reply, let reason):
            words += reply
            closeReason = reason == .aborted ? nil : reason
            return end(End(reason))
        }
    }
}

extension Session.End {
    fileprivate init(_ reason: CloseReason) {
        switch reason {
        case .aborted: self = .aborted
        case .shuttingDown: self = .shuttingDown
        case .openingRefused: self = .openingRefused
        default: self = .handshakeFailed
        }
    }
}
