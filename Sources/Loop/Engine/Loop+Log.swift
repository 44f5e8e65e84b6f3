// The log's lines about connections: one line an event, with the same keys everywhere.

import Backends
import Blocks
import Counters
import Export
import IOUring
import Logging

extension Loop {
    /// Logs an event of a connection: which it is, who its client is, which export it has open, and what more there is.
    func note(
        _ level: Logger.Level, _ event: Logger.Message, _ slot: ConnectionSlot,
        _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard logger.logLevel <= level else { return }
        var fields = more()
        fields["connection"] = .stringConvertible(connections[slot].number)
        fields["client"] = "\(connections[slot].peer)"
        if let identity = connections[slot].identityName { fields["identity"] = "\(identity)" }
        if let name = connections[slot].initiatorName { fields["initiator"] = "\(name)" }
        if let entry = connections[slot].entry { fields["export"] = "\(entry.name)" }
        logger.log(level: level, event, metadata: fields)
    }

    /// A connection has ended. The log can always say who was connected when. Clients that opened nothing are many, and
    /// interest only people who look for a mistake.
    func noteClosed(_ slot: ConnectionSlot) {
        noteMuteTLS(slot)
        note(
            connections[slot].entry == nil ? .debug : .info, "connection closed", slot,
            [
                "seconds": .stringConvertible(now - connections[slot].startedAt),
                "ending": "\(connections[slot].endReason?.label ?? "")",
            ])
    }

    /// A client has left in the TLS handshake, or behind it before its first option: most do that without a word when
    /// they do not like the server's certificate.
    private func noteMuteTLS(_ slot: ConnectionSlot) {
        guard connections[slot].isSecure, !connections[slot].link.hasHeardClient else { return }
        switch connections[slot].endReason {
        case .closed, .lost, .disconnect:
            note(
                .notice, "client left during TLS", slot,
                ["reason": "it has closed before its first option; it may not trust the server's certificate"])
        default: break
        }
    }

    /// The socket has failed.
    func noteLost(_ slot: ConnectionSlot, _ code: Int32) {
        // To a client that has opened nothing, or said goodbye, it makes no difference.
        note(
            connections[slot].phase == .transmission ? .notice : .debug, "connection lost", slot,
            ["reason": "\(errorText(code))"])
    }

    /// A request was refused, perhaps by no mistake of its client.
    func noteRefusal(
        of kind: CommandKind, offset: UInt64, length: UInt64, isMistake: Bool, _ reason: StaticString,
        _ slot: ConnectionSlot
    ) {
        note(
            isMistake ? .notice : .debug, "request refused", slot,
            [
                "command": "\(kind.label)", "offset": .stringConvertible(offset), "length": .stringConvertible(length),
                "reason": "\(reason)",
            ])
    }
}

extension EndReason {
    /// How bad it is that a connection was ended for this.
    var level: Logger.Level {
        switch self {
        case .stopped, .replaced: .notice
        default: .warning
        }
    }
}
