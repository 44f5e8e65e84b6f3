// How many descriptors a server needs, compared with the limit before anything is opened.

import Logging
import Sandbox
import Server
import Settings

/// A server's needs of RLIMIT_NOFILE.
struct DescriptorNeeds {
    /// As many as the process may have.
    let limit: Int
    /// The exports that settings name.
    private let exportCount: Int
    private let forExports: Int
    private let connections: Int
    private let loops: Int
    /// Of each file of a directory, and each export that is made for a client, at most.
    private let forFile: Int
    /// There are such.
    private let mayGrow: Bool

    /// Standard streams, listeners, clients of the control socket, and a few for a moment.
    private static let own = 128
    /// Standard streams, a listener, and what says that exports have ended: with fewer, nothing works.
    private static let leastOwn = 7
    /// Of each loop: a ring, a mailbox, the bell of its workers, and five pipes.
    private static let forLoop = 16
    /// Of each loop, before anybody has written or read much.
    private static let leastForLoop = 6
    /// So many connections are kept from directories.
    private static let leastConnections = 64

    /// Raises the limit, and compares it with the needs of the settings; too low a limit is logged, or an error.
    ///
    /// - Returns: how many exports there may be.
    static func room(for settings: ServeSettings, loops: Int, _ logger: Logger) throws(TooFewDescriptors) -> ExportRoom
    {
        guard let limit = DescriptorLimit.raise() else { return .standard }
        let needs = DescriptorNeeds(settings, loops: loops, limit: limit)
        if let warning = try needs.check() { logger.warning("\(warning)") }
        return needs.room
    }

    /// Counts what settings need.
    private init(_ settings: ServeSettings, loops: Int, limit: Int) {
        self.limit = limit
        self.loops = loops
        exportCount = settings.exports.count
        // The file with its reservations.
        let more = settings.reservations == nil ? 0 : 1
        forExports = settings.exports.reduce(0) { $0 + $1.descriptors(loops: loops) + more }
        connections = settings.limits.limits.connections
        let made = settings.exports.filter { $0.template != nil || $0.isPerClient }
        let later =
            settings.directories.map { $0.drive.descriptors(loops: loops) } + made.map { $0.descriptors(loops: loops) }
        forFile = (later.max() ?? 1) + more
        mayGrow = !later.isEmpty
    }

    /// Enough for everything.
    private var enough: Int { Self.own + Self.forLoop * loops + forExports + connections }

    private var exports: String { exportCount == 1 ? "1 export" : "\(exportCount) exports" }

    private var advice: String { "LimitNOFILE=\(enough) (systemd) or 'ulimit -n \(enough)' is enough" }

    /// A limit that is too low for the exports that settings name is a mistake in them; one that is too low for
    /// connections is worth a warning.
    ///
    /// - Returns: the warning.
    private func check() throws(TooFewDescriptors) -> String? {
        let least = Self.leastOwn + Self.leastForLoop * loops + forExports + 1
        guard least <= limit else {
            throw TooFewDescriptors(
                description: "RLIMIT_NOFILE is \(limit), and \(exports) need at least \(least); \(advice)")
        }
        guard enough > limit else { return nil }
        return
            "RLIMIT_NOFILE is \(limit), and \(exports) with \(connections) connections need \(enough): clients beyond "
            + "that wait; \(advice)"
    }

    /// How many exports there may be with those that come later.
    private var room: ExportRoom {
        guard mayGrow else { return .standard }
        let rest =
            limit - Self.own - Self.forLoop * loops - forExports - min(connections, Self.leastConnections)
        let count = exportCount + max(rest, 0) / forFile
        guard count < ExportRoom.standard.exports else { return .standard }
        let all = enough + forFile * (ExportRoom.standard.exports - exportCount)
        return ExportRoom(
            exports: count,
            reason:
                "RLIMIT_NOFILE is \(limit), which is enough for \(count) exports; LimitNOFILE=\(all) (systemd) or "
                + "'ulimit -n \(all)' is enough for as many as a server can have")
    }
}

/// A server could not open what it is to serve.
struct TooFewDescriptors: Error, CustomStringConvertible {
    let description: String
}
