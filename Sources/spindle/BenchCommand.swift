// `spindle bench`: a load for any NBD server or iSCSI target, and what it measures.

import ArgumentParser
import Bench
import Glibc
import Sandbox

/// The subcommand.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Load an NBD server or an iSCSI target and measure how fast it answers.",
        discussion: """
            URI names any server's export: nbd://HOST[:PORT]/[EXPORT], nbd+unix:///[EXPORT]?socket=PATH, nbds:// and \
            nbds+unix:// with ?tls-psk-file=FILE or ?tls-certificates=DIR; or a unit of an iSCSI target: \
            iscsi://HOST[:PORT]/TARGET/LUN.

            'connect' measures from a new connection to the first byte of a READ. What changes the export (write, rw, trim, write-zeroes) overwrites whatever is on it, and is \
            done with --destroy-data only.
            """)

    @Option(help: "The requests.")
    var operation = Load.Operation.read

    @Option(help: "With rw: how many of 100 requests are reads.", transform: number(in: 0...100))
    var mix = 70

    @Option(
        help: ArgumentHelp("The length of a request: 4096, 4k, 1M.", valueName: "size"), transform: parseBlockSize)
    var blockSize: UInt32 = 4096

    @Option(help: "Requests in flight on each connection.", transform: number(in: 1...4096))
    var depth = 32

    @Option(help: "Connections, each with a thread of its own.", transform: number(in: 1...1024))
    var connections = 1

    @Option(
        help: "How long to measure; 10 if neither this nor --requests is given.",
        transform: numberOfSeconds(in: 0.1...86400))
    var seconds: Double?

    @Option(
        help: "Measure so many requests, on all connections together.", transform: number(in: 1...UInt64.max - 1))
    var requests: UInt64?

    @Option(help: "The order of the blocks.")
    var pattern = Load.Pattern.random

    @Option(
        help: ArgumentHelp("A FLUSH after so many requests that change the export.", valueName: "n"),
        transform: number(in: 1...UInt64.max))
    var flushEvery: UInt64?

    @Option(
        help: ArgumentHelp("Load the server for so long before measuring.", valueName: "seconds"),
        transform: numberOfSeconds(in: 0...86400))
    var warmUp = 0.0

    @Flag(help: "Ask for structured replies, as QEMU and libnbd do; Linux does not.")
    var structuredReplies = false

    @Flag(help: "iSCSI: digests (CRC32C) of headers and data.")
    var digests = false

    @Option(
        help: ArgumentHelp("iSCSI: a file with NAME:SECRET, who the client is.", valueName: "file"),
        completion: .file(), transform: { try CHAPCredentials(file: $0) })
    var chap: CHAPCredentials?

    @Flag(help: "Print JSON instead of a table.")
    var json = false

    @Flag(help: "Let an operation overwrite the export.")
    var destroyData = false

    @Argument(
        help: "The server and the export.", completion: .servers, transform: { ($0, try ServerAddress(parsing: $0)) })
    var uri: (text: String, address: ServerAddress)

    func validate() throws {
        if seconds != nil, requests != nil {
            throw ValidationError("--seconds and --requests are two ways to say when it ends; give one of them")
        }
        if flushEvery != nil, !operation.destroysData {
            throw ValidationError(
                "--flush-every counts requests that change the export; '\(operation.rawValue)' does not")
        }
        if uri.address.logicalUnit == nil, digests || chap != nil {
            throw ValidationError("--digests and --chap are of iSCSI; '\(uri.text)' is an NBD server's")
        }
        if uri.address.logicalUnit != nil, structuredReplies {
            throw ValidationError("--structured-replies is of NBD; '\(uri.text)' is a unit of an iSCSI target")
        }
        if operation.destroysData, !destroyData {
            throw ValidationError(
                "'\(operation.rawValue)' overwrites what is on the export; if it may, add --destroy-data")
        }
    }

    func run() throws {
        var load = Load()
        load.operation = operation
        load.readPercent = mix
        load.blockBytes = blockSize
        load.depth = depth
        load.connections = connections
        load.limit = requests.map { .requests($0) } ?? .seconds(seconds ?? 10)
        load.pattern = pattern
        load.flushEvery = flushEvery
        load.warmUpSeconds = warmUp
        load.usesStructuredReplies = structuredReplies
        load.usesDigests = digests
        load.credentials = chap
        // Each connection takes a descriptor, and a thread a few.
        DescriptorLimit.raise()
        let showsProgress = isatty(STDERR_FILENO) != 0
        let result = try runLoad(load, against: uri.address) { progress in
            if showsProgress { writeToTerminal("\r\u{1B}[K" + progress.text) }
        }
        if showsProgress { writeToTerminal("\r\u{1B}[K") }
        let report = LoadReport(uri: uri.text, address: uri.address, load: load, result: result)
        try writeToStandardOutput(Array((json ? report.json : report.text).utf8))
        if let failures = report.failures { throw RequestsFailed(description: failures) }
    }
}

/// The server has answered requests with errors.
private struct RequestsFailed: Error, CustomStringConvertible {
    let description: String
}

/// The progress line; that it cannot be shown is no reason to stop.
private func writeToTerminal(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe write(STDERR_FILENO, bytes, bytes.count)
}

extension Load.Operation: ExpressibleByArgument {}
extension Load.Pattern: ExpressibleByArgument {}

/// A size in sectors of 512 bytes, with an optional k or M, of at most 32 MiB: no server has to move more at once.
private func parseBlockSize(_ text: String) throws -> UInt32 {
    var digits = Substring(text)
    var shift: UInt32 = 0
    switch text.last {
    case "k", "K": shift = 10
    case "m", "M": shift = 20
    default: break
    }
    if shift > 0 { digits.removeLast() }
    let limit: UInt32 = (32 << 20) >> shift
    guard let number = UInt32(digits), case 1...limit = number else {
        throw ValidationError("'\(text)' is no size from 512 to 32M; write 4096, 4k or 1M, say")
    }
    guard (number << shift) % 512 == 0 else {
        throw ValidationError("'\(text)' is no multiple of 512, which is the least that disks move")
    }
    return number << shift
}
