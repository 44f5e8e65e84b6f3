// `spindle serve` for the time of a test.

import Foundation

/// A server that was started with the options of a test and is stopped with it.
public final class RunningServer {
    /// Its Unix socket.
    public let socketPath: String
    /// The URI of its first export on that socket.
    public var uri: String { "nbd+unix:///?socket=\(socketPath)" }
    /// Where its files are, and the test's.
    public let folder: TemporaryFolder
    /// What it said on standard output when it began to serve.
    public let announcement: String
    private let process: BoundProcess
    private let stem: String

    /// Starts a server that listens on a Unix socket of its own, with more arguments (images among them), and waits
    /// until it says that it serves.
    ///
    /// - Parameters:
    ///   - limits: options of prlimit(1), for a server that shall run into a limit of its process.
    ///   - program: spindle, or a copy of it.
    public init(
        _ arguments: [String], limits: [String] = [], program: Program = .spindle, in folder: TemporaryFolder
    ) throws {
        self.folder = folder
        socketPath = folder.path + "/" + UUID().uuidString.prefix(8)
        stem = folder.path + "/server-" + UUID().uuidString.prefix(8)
        let serve = ["serve", "--listen", "unix:" + socketPath] + arguments
        process =
            limits.isEmpty
            ? try program.start(serve, stem: stem)
            : try Program.tool("prlimit").start(limits + [program.path] + serve, stem: stem)
        let deadline = Date(timeIntervalSinceNow: 20)
        while true {
            let said = try String(contentsOfFile: stem + ".out", encoding: .utf8)
            if said.hasPrefix("serving"), said.hasSuffix("\n") {
                announcement = said
                return
            }
            guard process.isRunning, Date() < deadline else {
                let errors = try String(contentsOfFile: stem + ".err", encoding: .utf8)
                process.end()
                throw ProgramFailure("spindle serve \(arguments) does not serve: \(errors)")
            }
            usleep(2000)
        }
    }

    /// Its TCP port, if it was told to listen on one (`tcp:127.0.0.1:0` chooses a free one).
    public var port: UInt16? {
        guard let address = announcement.range(of: "://127.0.0.1:") else { return nil }
        return UInt16(announcement[address.upperBound...].prefix { $0.isNumber })
    }
    /// How much of its memory is in RAM.
    public var residentBytes: Int { memory("VmRSS:") }

    /// How much of its memory has been in RAM at a time.
    public var peakResidentBytes: Int { memory("VmHWM:") }

    private func memory(_ field: String) -> Int {
        let status = kernelFile("/proc/\(processIdentifier)/status") ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix(field) }
        return 1024 * (Int(line?.filter(\.isNumber) ?? "") ?? 0)
    }
    /// How long processors have worked for it (proc(5), /proc/pid/stat: utime and stime, in hundredths of a second).
    public var processorSeconds: Double {
        let line = kernelFile("/proc/\(processIdentifier)/stat") ?? ""
        // The second field, the program's name, ends with the last parenthesis.
        let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return 0 }
        return (user + system) / 100
    }
    /// Its process.
    public var processIdentifier: Int32 { process.processIdentifier }
    /// It has not ended.
    public var isRunning: Bool { process.isRunning }
    /// What it has logged so far.
    public var log: String { (try? String(contentsOfFile: stem + ".err", encoding: .utf8)) ?? "" }

    /// Stops the server as an operator would and waits for it.
    ///
    /// - Returns: its exit status, 0 if all is well.
    @discardableResult
    public func stop(signal: Int32 = SIGTERM, limitSeconds: Double = 60) throws -> Int32 {
        process.signal(signal)
        guard let status = process.waitForEnd(limitSeconds: limitSeconds) else {
            process.end()
            throw ProgramFailure("the server did not stop within \(limitSeconds) s of signal \(signal): \(log)")
        }
        return status
    }

    deinit { process.end() }
}
