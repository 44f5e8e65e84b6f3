// Exports that clients wait for: made by a thread, one after the other.

import Loop
import Synchronization
import Threads

/// Makes the export that a client waits for, or says why it cannot be.
public typealias ExportMaker = @Sendable (ExportMaking) -> ExportMaking.Outcome

/// The queue of those who wait. Each connection is in it once at most, and is forgotten when it ends.
final class Makings: Sendable {
    /// So many may wait.
    static let limit = 256

    private struct Waiting {
        weak var making: ExportMaking?
    }

    private struct State {
        var maker: ExportMaker?
        var waiting: [Waiting] = []
        var hasThread = false
    }
    private let state = Mutex(State())

    /// Who makes them.
    var maker: ExportMaker? {
        get { state.withLock { $0.maker } }
        set { state.withLock { $0.maker = newValue } }
    }

    /// A client wants an export. The thread begins with the first, and ends when nobody waits.
    ///
    /// - Returns: false if too many wait.
    func add(_ making: ExportMaking) -> Bool {
        state.withLock { state in
            if state.waiting.count >= Self.limit { state.waiting.removeAll { $0.making == nil } }
            guard state.maker != nil, state.waiting.count < Self.limit else { return false }
            if !state.hasThread {
                guard startDetachedThread({ self.makeAll() }) else { return false }
                state.hasThread = true
            }
            state.waiting.append(Waiting(making: making))
            return true
        }
    }

    private func makeAll() {
        while let (making, maker) = next() { making.end(maker(making)) }
    }

    /// - Returns: nil when the thread has nothing more to do.
    private func next() -> (ExportMaking, ExportMaker)? {
        state.withLock { state in
            while !state.waiting.isEmpty {
                if let making = state.waiting.removeFirst().making, let maker = state.maker { return (making, maker) }
            }
            state.hasThread = false
            return nil
        }
    }
}

extension ServerControl {
    /// Says who makes the exports that clients ask for and that are not there: on a thread that may wait.
    public func makeExports(by maker: @escaping ExportMaker) { shared.exports.makings.maker = maker }

    /// Adds an export for a client that waits for it, and keeps it until that has opened it.
    public func addHeld(_ export: ServedExport) throws(ServerError) -> ExportHold {
        let (entry, _) = try shared.exports.add(export)
        guard let hold = ExportHold(entry, in: shared.exports) else { throw .noSuchExport(export.name) }
        loops.noteAdded(entry)
        return hold
    }

    /// Keeps an export until a client has opened it; nil: there is none of that name, or it has just gone.
    public func hold(_ name: String) -> ExportHold? {
        shared.exports.directory.entry(named: name).flatMap { ExportHold($0, in: shared.exports) }
    }

    /// The image of an export that stands for others, as it was when that came; nil: there is none of that name.
    public func imageIdentity(ofTemplate name: String) -> ImageIdentity? {
        guard let entry = shared.exports.directory.entry(named: name), entry.definition.copies != nil else {
            return nil
        }
        // Its files are open meanwhile.
        return entry.operate { entry.definition.imageIdentity }
    }

    /// How many clients use an export or are about to, and how many times it was opened; nil: there is none.
    public func use(of name: String) -> (clients: Int, openings: Int)? {
        shared.exports.directory.entry(named: name)?.use
    }
}
