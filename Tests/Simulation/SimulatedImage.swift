// An image that a simulated server serves, and what is known of its content.

import Glibc
import SimulatedKernel
import Support

@testable import Backends
@testable import IOUring
@testable import Loop

/// A file, which outlives the servers that serve it.
final class SimulatedImage {
    let name: String
    let descriptor: Int32
    let cellBytes: Int
    let writesThrough: Bool
    var model: BlockModel
    /// Its number in the target of all images; nil: it has a target of its own.
    var logicalUnit: UInt8?
    /// The name of that target.
    static let sharedTarget = "iqn.2026-11.org.spindle:group"
    /// Connections that were closed, by whose they were: an initiator port's, or with 0 of a client of NBD.
    var closedConnections: [UInt64: Set<Int>] = [:]
    /// Who may do what; nil: nobody reserves anything.
    var reservations: ReservationModel?
    /// All loops have done what they were asked for, and know what is reserved, when this is answered.
    var probe: Gathered<ConnectionStatus>?
    /// It is being removed, or its server ends: its clients are turned away.
    var isEnding = false
    /// Since when it is served, if it was removed before that.
    var servedSince: UInt64 = 0
    /// The sectors that its drive is to have, while it does not.
    var growth: UInt64?
    /// An initiator has reset the unit: commands of others may have ended without a word.
    var mayBeReset = false
    /// It takes only so many connections.
    var isLimited = false
    /// The file is only read, and changes are gone with the server's export.
    var isOverlaid = false { didSet { if isOverlaid { base = SimulatedDisk.content(of: descriptor) } } }
    private var base: [UInt8] = []
    /// Answered writes are in the drive's cache until a FLUSH, and are lost if the server is killed.
    var isCached = false
    /// They may fail to reach the file even in the end.
    var mayKeepLess = false
    /// The file is only read, and changes are kept in another one; nil: they are not.
    let changes: SimulatedChanges?
    /// What the drive executes is recorded here; nil: it is not.
    var recording: SimulatedRecording?
    /// It was killed once, and clusters of the file may be lost since.
    private var mayLeak = false
    /// What its overlay had at some times, the oldest first.
    var snapshots: [SimulatedSnapshot] = []
    /// What it is above, besides its image.
    var levels: [FrozenLevel] = []
    /// An operator waits for its clients to be gone.
    var levelWork: LevelWork?

    /// - Parameter changes: where changes are kept; nil: in the file.
    init(
        _ name: String, sizeBytes: Int, cellBytes: Int, writesThrough: Bool, changes: SimulatedChanges? = nil
    ) throws {
        self.name = name
        self.cellBytes = cellBytes
        self.writesThrough = writesThrough
        self.changes = changes
        descriptor = changes.map { dup($0.baseDescriptor) } ?? Self.namelessFile()
        guard descriptor >= 0, changes != nil || ftruncate(descriptor, off_t(sizeBytes)) == 0 else {
            throw Violation("there is no memory for an image: \(errorText(errno))")
        }
        model = BlockModel(
            content: SimulatedDisk.content(of: descriptor), cellBytes: cellBytes, writesThrough: writesThrough,
            firstNumber: 1)
        if changes != nil { base = SimulatedDisk.content(of: descriptor) }
    }

    deinit { Glibc.close(descriptor) }

    /// What an image has that nobody writes to: in two of three cells what no client has written, in a write's form.
    static func base(sizeBytes: Int, cellBytes: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: sizeBytes)
        bytes.withUnsafeMutableBytes { bytes in
            for cell in 0..<sizeBytes / cellBytes where cell % 3 != 0 {
                for place in stride(from: cell * cellBytes, to: (cell + 1) * cellBytes, by: 8) {
                    bytes.storeBytes(of: UInt64(1) << 25 | 1 << 24 | UInt64(cell), toByteOffset: place, as: UInt64.self)
                }
            }
        }
        return bytes
    }

    /// The image below an overlay in memory gets a content.
    func fillBase() throws {
        let bytes = Self.base(sizeBytes: model.byteCount, cellBytes: cellBytes)
        guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
            throw Violation("an image cannot be written: \(errorText(errno))")
        }
        isOverlaid = true
        model = BlockModel(content: bytes, cellBytes: cellBytes, writesThrough: writesThrough, firstNumber: 1)
    }

    /// The file that a server writes to.
    var writtenDescriptor: Int32 { changes?.descriptor ?? descriptor }

    /// What nobody writes to.
    var isBaseOnly: Bool { isOverlaid || changes != nil }

    /// A file that is gone when nobody has it open, in memory where there is a place for such files.
    private static func namelessFile() -> Int32 {
        for folder in ["/dev/shm", "/tmp"] {
            var path = Array("\(folder)/spindle-simulation-XXXXXX".utf8CString)
            let descriptor = mkstemp(&path)
            guard descriptor >= 0 else { continue }
            unlink(path)
            return descriptor
        }
        return -1
    }

    /// The image as a server opens it.
    ///
    /// - Parameter place: where its files are mapped; nil: they are not. Which of their pages are looked at together
    ///   depends on that.
    func chain(needsThread: Bool, mappedIn place: MappingPlace?, above levels: [FrozenLevel]) throws -> ImageChain {
        let image = try Backend(
            path: "/proc/self/fd/\(descriptor)", cache: .writeback, readOnly: isBaseOnly, locking: .immediate)
        let file = ImageChain(raw: mapped(image, in: place, needsThread: needsThread))
        guard let changes else {
            return isOverlaid ? try ImageChain(overlayOf: file, above: levels, blockSize: .smallest) : file
        }
        var chain = try changes.chain(above: file, locking: .immediate)
        chain.backend = mapped(chain.backend, in: place, needsThread: needsThread)
        return chain
    }

    private func mapped(_ backend: Backend, in place: MappingPlace?, needsThread: Bool) -> Backend {
        guard case .file(var file) = backend.kind else { return backend }
        file.mapping?.unmap()
        file.mapping = place?.next(Int(backend.sizeBytes)).flatMap {
            FileMapping(file.descriptor, sizeBytes: backend.sizeBytes, at: $0)
        }
        file.needsThread = needsThread
        return Backend(
            kind: .file(file), sizeBytes: backend.sizeBytes, isReadOnly: backend.isReadOnly,
            granularityBytes: backend.granularityBytes, zeroesFastByDeallocating: backend.zeroesFastByDeallocating,
            zeroesFastAllocated: backend.zeroesFastAllocated)
    }

    /// Looks at the whole file when nothing is under way.
    ///
    /// - Parameter isKilled: the server had no time to take a cache to the file.
    func checkContent(at time: Int, isKilled: Bool = false) throws {
        if isBaseOnly, SimulatedDisk.content(of: descriptor) != base {
            throw Violation("the file of \(name), which is only read, has changed")
        }
        guard !isOverlaid else { return }
        let mayLose = isCached || changes != nil
        mayLeak = mayLeak || isKilled || mayKeepLess
        let content = try disk()
        if mayLose, isKilled || mayKeepLess { return try check(afterPowerFailure: content) }
        let reason = content.withUnsafeBytes { model.check($0, from: 0, .read(began: time, ended: time)) }
        if let reason { throw Violation("the file of \(name) in the end: \(reason)") }
    }

    /// What is on the disk now, which nobody has open.
    private func disk() throws -> [UInt8] {
        let content = SimulatedDisk.content(of: writtenDescriptor)
        return try changes?.disk(in: content, mayLeak: mayLeak) ?? content
    }

    /// Looks at what a power failure leaves of the file.
    func check(afterPowerFailureOf file: [UInt8]) throws {
        try check(afterPowerFailure: changes?.disk(in: file, mayLeak: true) ?? file)
    }

    private func check(afterPowerFailure content: [UInt8]) throws {
        let reason = content.withUnsafeBytes { model.check($0, from: 0, .afterPowerFailure) }
        if let reason { throw Violation("\(name) after a power failure: \(reason)") }
    }

    /// The machine has lost power, and this is what is left.
    func lose(_ content: [UInt8]) throws {
        guard !isOverlaid else { return try checkContent(at: 0) }
        mayLeak = true
        try check(afterPowerFailureOf: content)
        guard pwrite(writtenDescriptor, content, content.count, 0) == content.count else {
            throw Violation("an image cannot be written: \(errorText(errno))")
        }
    }

    /// The disk that has its file, of which all is stable.
    func stableDisk() -> SimulatedDisk { SimulatedDisk(writtenDescriptor, sectorBytes: max(512, cellBytes)) }

    /// Another server begins with what is there.
    ///
    /// - Parameter content: of the disk, where an overlay has it in memory.
    func beginAgain(with content: [UInt8]? = nil) throws {
        model = BlockModel(
            content: try content ?? disk(), cellBytes: cellBytes, writesThrough: writesThrough,
            firstNumber: model.endNumber)
        closedConnections = [:]
        reservations?.losePower()
        probe = nil
        isEnding = false
        growth = nil
        mayBeReset = false
    }
}
