// What the log is told of connections: one line an event, with the same keys everywhere.

import Export
import IOUring
import Logging
import Media
import NBD

extension Loop {
    /// Logs an event of a connection: which it is, who its client is, which export it has open, and what more there is.
    func note(
        _ level: Logger.Level, _ event: Logger.Message, _ slot: Int, _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard logger.logLevel <= level else { return }
        var fields = more()
        let connection = unsafe connections + slot
        fields["connection"] = unsafe .stringConvertible(connection.pointee.number)
        fields["client"] = unsafe "\(connection.pointee.peer)"
        if let identity = unsafe connection.pointee.identityName { fields["identity"] = "\(identity)" }
        if let entry = unsafe connection.pointee.entry { fields["export"] = "\(entry.name)" }
        logger.log(level: level, event, metadata: fields)
    }

    /// A connection has ended. Who was connected when is what the log can always say; those who opened nothing are many, and
    /// of interest only to who looks for a mistake.
    func noteClosed(_ slot: Int) {
        let connection = unsafe connections + slot
        note(
            unsafe connection.pointee.entry == nil ? .debug : .info, "connection closed", slot,
            unsafe [
                "seconds": .stringConvertible(now - connection.pointee.startedAt),
                "ending": "\(connection.pointee.endReason?.label ?? "")",
            ])
    }

    /// The socket has failed.
    func noteLost(_ slot: Int, _ code: Int32) {
        // To a client that has opened nothing, or said goodbye, it makes no difference.
        note(
            unsafe connections[slot].phase == .transmission ? .notice : .debug, "connection lost", slot,
            ["reason": "\(errorText(code))"])
    }

    /// An option was refused. One that is unknown here is no mistake: that is how clients find out what they can use.
    func noteRefusal(_ refusal: OptionRefusal, _ slot: Int) {
        let level: Logger.Level =
            switch refusal.type {
            case .errorUnsupported, .errorExtendedHeadersRequired: .debug
            case .errorShutdown: .info
            case .errorPolicy, .errorTLSRequired: .warning
            default: .notice
            }
        note(
            level, "option refused", slot,
            ["option": .stringConvertible(refusal.option), "reason": "\(refusal.reason)"])
    }

    /// A request was refused. That zeroes are not fast here, or that the server stops, is not its client's mistake.
    func noteRefusal(
        of kind: CommandKind, offset: UInt64, length: UInt64, _ error: NBDError, _ reason: StaticString, _ slot: Int
    ) {
        note(
            error == .notSupported || error == .shutdown ? .debug : .notice, "request refused", slot,
            [
                "command": "\(kind.label)", "offset": .stringConvertible(offset), "length": .stringConvertible(length),
                "reason": "\(reason)",
            ])
    }

    /// The medium has failed for a request.
    func noteMediumFailure(_ code: Int32, _ place: Int) {
        let request = unsafe requests + place
        note(
            .error, "the medium failed", place / Limits.requestsPerConnection,
            unsafe [
                "command": "\(request.pointee.measure.kind.label)",
                "operation": "\(request.pointee.task.request.inWords)",
                "offset": .stringConvertible(request.pointee.task.offset), "reason": "\(errorText(code))",
            ])
    }
}

extension MediumRequest {
    /// One word for it.
    fileprivate var inWords: StaticString {
        switch self {
        case .read: "read"
        case .write: "write"
        case .writeZeroes: "zeroes"
        case .flush: "flush"
        case .discard: "discard"
        case .prefetch: "prefetch"
        }
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
