// `spindle serve`: drives on sockets.

import ATA
import ArgumentParser
import Export
import Glibc
import Logging
import Media
import Server

/// The subcommand.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve images as ATA drives over NBD.",
        discussion: """
            Each IMAGE is a file or block device, memory:SIZE or null:SIZE; SIZE as in 64M, 3G, 6291456s (sectors). \
            NAME is what clients ask for, by default the file's name without its extension; the first export answers \
            to the empty name too.

            ENDPOINT is unix:PATH, tcp:HOST:PORT (IPv6 addresses in brackets), vsock:PORT or fd:N. Sockets passed by \
            systemd are used without asking.

            SIGTERM and SIGINT end the server: what is in flight is finished and flushed.
            """)

    @Option(
        help: ArgumentHelp(
            "Where to listen, tcp:127.0.0.1:10809 if not given; may be repeated.", valueName: "endpoint"),
        transform: Endpoint.init(parsing:))
    var listen: [Endpoint] = []

    @Option(help: "The IDE controller: piix3-ide or ich9-ahci.", transform: parseController)
    var controller = Controller.piix3IDE

    @Option(
        help: ArgumentHelp("The drives, in the words of QEMU's -device option: ide-hd,serial=...", valueName: "spec"),
        transform: DriveProperties.init(parsing:))
    var device = DriveProperties()

    @Option(
        help: ArgumentHelp(
            "QEMU's cache mode: writeback, writethrough, none, directsync or unsafe.", valueName: "mode"),
        transform: parseCacheMode)
    var cache = CacheMode.writeback

    @Flag(help: "Open the images for reading only.")
    var readOnly = false

    @OptionGroup(title: "TLS")
    var tls: TLSOptions

    @Option(help: "How many threads serve; one for each processor if not given.")
    var threads: Int?

    @Option(help: "What is logged: trace, debug, info, notice, warning, error or critical.", transform: parseLogLevel)
    var logLevel = Logger.Level.notice

    @Argument(help: ArgumentHelp("What to serve.", valueName: "name=]image"), transform: NamedImage.init(parsing:))
    var images: [NamedImage]

    func validate() throws {
        if let threads, !(1...256).contains(threads) {
            throw ValidationError("--threads is \(threads); a number from 1 to 256 is needed")
        }
        for image in images where image.reference.isNothing {
            throw ValidationError("\(MediumError.empty(image: image.text))")
        }
        var names = Set<String>()
        for image in images where !names.insert(image.name).inserted {
            throw ValidationError("two exports are named '\(image.name)'; give one another name: NAME=IMAGE")
        }
        do {
            try device.checkPlace(on: controller)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    func run() throws {
        let level = logLevel
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        let exports = try images.enumerated().map { try open($0.element, number: $0.offset) }
        let server = try Server(
            exports: exports, endpoints: listen, loops: threads ?? processorCount(), tls: tls.settings(),
            logger: Logger(label: "spindle"))
        try server.run { () throws -> Void in try announce(server) }
    }

    private func open(_ image: NamedImage, number: Int) throws -> ServedExport {
        let medium =
            switch image.reference {
            case .file(let path): try Medium(path: path, cache: cache, readOnly: readOnly)
            case .memory(let sizeBytes): try Medium(memoryOfSize: sizeBytes, readOnly: readOnly)
            case .null(let sizeBytes): Medium(nullOfSize: sizeBytes, readOnly: readOnly)
            }
        let sectors = ImageReference.sectors(sizeBytes: medium.sizeBytes)
        guard sectors > 0 else { throw MediumError.empty(image: image.text) }
        guard sectors <= ImageReference.maximumSectors else { throw ImageReferenceError.tooLarge(image.text) }
        var properties = device
        if properties.writeCache == .auto { properties.writeCache = cache.hasVolatileWriteCache ? .on : .off }
        // Drives without a serial number of their own are numbered as QEMU numbers them.
        if properties.serialNumber == nil && number > 0 { properties.serialNumber = "QM" + fiveDigits(number + 1) }
        let bootSector = medium.bootSector()
        let drive = unsafe Drive(
            properties, sectors: sectors,
            bootSector: BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors), controller: controller)
        return ServedExport(
            name: image.name, drive: ExportedDrive(drive, controller: controller), medium: medium)
    }

    /// A line for each export and endpoint: what it is, and what a client connects to.
    private func announce(_ server: Server) throws {
        var lines = ""
        for information in server.information {
            let name = String(decoding: information.name, as: UTF8.self)
            let description = String(decoding: information.description, as: UTF8.self)
            for endpoint in server.endpoints {
                let uri = endpoint.uri(export: name, isEncrypted: tls.tls == .require)
                lines += "serving '\(name)' at \(uri): \(description)\n"
            }
        }
        try writeToStandardOutput(Array(lines.utf8))
        notifyReady()
    }
}

/// `[NAME=]IMAGE`.
struct NamedImage: Equatable {
    let name: String
    let reference: ImageReference
    /// As it was given.
    let text: String

    init(parsing text: String) throws {
        // A path may contain `=`: a name has no slash before it.
        if let sign = text.firstIndex(of: "="), !text[..<sign].contains("/") {
            name = String(text[..<sign])
            self.text = String(text[text.index(after: sign)...])
        } else {
            self.text = text
            name = Self.defaultName(text)
        }
        reference = try ImageReference(parsing: self.text)
    }

    /// The file's name without its extension; `memory` and `null` for the others.
    private static func defaultName(_ text: String) -> String {
        if text.hasPrefix("memory:") { return "memory" }
        if text.hasPrefix("null:") { return "null" }
        let file = text.split(separator: "/").last.map(String.init) ?? text
        guard let dot = file.lastIndex(of: "."), dot != file.startIndex else { return file }
        return String(file[..<dot])
    }
}

extension ImageReference {
    /// Memory, or nothing at all, of no size. (Of files only their opening shows it.)
    fileprivate var isNothing: Bool { self == .memory(sizeBytes: 0) || self == .null(sizeBytes: 0) }
}

/// A value of `--log-level`.
private func parseLogLevel(_ text: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
        throw BadArgument(text, "log level", allowed: Logger.Level.allCases.map(\.rawValue))
    }
    return level
}

private func processorCount() -> Int {
    max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
}

private func fiveDigits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
}
