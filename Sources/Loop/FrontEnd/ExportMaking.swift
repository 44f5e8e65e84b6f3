// Exports that are made for a client: of a name that it asks for, or for its connection alone.

import NBD
import Synchronization

/// What clients that open an export get in its place. The export itself is never open: it tells what the others are
/// like, and keeps their image from changing.
public enum Copies: Equatable, Sendable {
    /// An export of the name that was asked for, and that matches. The first client that asks has it made.
    case named(NamePattern)
    /// An export of the connection's own, which goes with it; asked for by the export's name, or by one that matches.
    case ownForConnection(NamePattern?)

    /// The names, if it stands for several.
    public var pattern: NamePattern? {
        switch self {
        case .named(let pattern): pattern
        case .ownForConnection(let pattern): pattern
        }
    }

    /// Each connection has an export of its own.
    public var areOwn: Bool { if case .ownForConnection = self { true } else { false } }
}

/// How long an export is there.
public enum Lifetime: Equatable, Sendable {
    /// Until it is removed.
    case unlimited
    /// The same, if the client that it was made for opens it.
    case kept
    /// Until its last client has gone.
    case used
    /// The same, and no other client than that which it was made for finds it.
    case ofOneConnection
}

/// A client's wish for an export that has to be made. Images are opened for it, so a thread does that, and no loop.
/// Nobody but the connection keeps it for longer: when that ends, the wish is forgotten.
public final class ExportMaking: Sendable {
    /// The export that stands for it.
    public let source: ExportEntry
    /// The name that was asked for.
    public let name: String
    /// The connection's number.
    public let connection: UInt64
    private let mailbox: Mailbox
    private let state = Mutex<Outcome?>(nil)

    /// The outcomes.
    public enum Outcome: Sendable {
        /// It is there.
        case made(ExportHold)
        /// Why not.
        case refused(String)
    }

    init(_ source: ExportEntry, name: String, connection: UInt64, _ mailbox: Mailbox) {
        self.source = source
        self.name = name
        self.connection = connection
        self.mailbox = mailbox
    }

    var outcome: Outcome? { state.withLock { $0 } }

    /// Tells the client's loop.
    public func end(_ outcome: Outcome) {
        state.withLock { $0 = outcome }
        mailbox.post(.exportMade(self))
    }
}

/// Keeps an export from going while a client is about to open it. What nobody has opened goes with its last hold.
public final class ExportHold: Sendable {
    /// The export.
    public let entry: ExportEntry
    private let exports: any ExportSource

    /// Nil: the export has gone already.
    public init?(_ entry: ExportEntry, in exports: any ExportSource) {
        guard entry.hold() else { return nil }
        self.entry = entry
        self.exports = exports
    }

    deinit {
        if entry.letGo() { exports.noteEnd() }
    }
}

extension Loop {
    /// The export that the client opens: the one that it has chosen, or one that is made for it.
    ///
    /// - Returns: nil while that takes its time; an error in words if it cannot be.
    mutating func exportToOpen(_ chosen: ExportEntry, _ unit: Int, _ slot: ConnectionSlot) -> Result<
        ExportEntry, OpeningRefusal
    >? {
        guard chosen.definition.copies != nil else { return .success(chosen) }
        guard let making = connections[slot].making else {
            let making = ExportMaking(
                chosen, name: chosenName(slot), connection: connections[slot].number, shared.mailboxes[index])
            guard shared.exports.make(making) else {
                return .failure(OpeningRefusal(reason: "too many clients wait for exports; try again"))
            }
            connections[slot].making = making
            return nil
        }
        switch making.outcome {
        case nil: return nil
        case .refused(let reason): return .failure(OpeningRefusal(reason: reason))
        case .made(let hold):
            guard isAsTold(hold.entry, unit, slot) else {
                return .failure(OpeningRefusal(reason: "the export has changed since the client came; connect again"))
            }
            return .success(hold.entry)
        }
    }

    /// An export that clients of this loop wait for was made, or cannot be.
    mutating func exportMade(_ making: ExportMaking) {
        for slot in usedSlots where connections[slot].making === making && connections[slot].phase == .handshake {
            pump(slot)
            finishIfIdle(slot)
            return
        }
    }
}

/// Why an export cannot be opened.
struct OpeningRefusal: Error {
    let reason: String

    /// It was there when the client looked for it.
    static let removed = "the export has just been removed"
}
