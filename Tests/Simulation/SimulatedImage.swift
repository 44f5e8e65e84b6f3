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
    var isOverlaid = false { didSet { base = isOverlaid ? SimulatedDisk.content(of: descriptor) : [] } }
    private var base: [UInt8] = []
    /// Answered writes are in the drive's cache until a FLUSH, and are lost if the server is killed.
    var isCached = false
    /// They may fail to reach the file even in the end.
    var mayKeepLess = false

    init(_ name: String, sizeBytes: Int, cellBytes: Int, writesThrough: Bool) throws {
        self.name = name
        self.cellBytes = cellBytes
        self.writesThrough = writesThrough
        descriptor = Self.namelessFile()
        guard descriptor >= 0, ftruncate(descriptor, off_t(sizeBytes)) == 0 else {
            throw Violation("there is no memory for an image: \(errorText(errno))")
        }
        model = BlockModel(
            content: SimulatedDisk.content(of: descriptor), cellBytes: cellBytes, writesThrough: writesThrough,
            firstNumber: 1)
    }

    deinit { Glibc.close(descriptor) }

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
    /// - Parameter place: where it is mapped. Which of its pages are looked at together depends on that.
    func chain(needsThread: Bool, mappedAt place: UnsafeMutableRawPointer?) throws -> ImageChain {
        let file = ImageChain(raw: try backend(needsThread: needsThread, mappedAt: place))
        return isOverlaid ? try ImageChain(overlayOf: file, blockSize: .smallest) : file
    }

    private func backend(needsThread: Bool, mappedAt place: UnsafeMutableRawPointer?) throws -> Backend {
        let backend = try Backend(
            path: "/proc/self/fd/\(descriptor)", cache: .writeback, readOnly: isOverlaid, locking: .immediate)
        guard case .file(var file) = backend.kind else { return backend }
        file.mapping?.unmap()
        file.mapping = place.flatMap { FileMapping(descriptor, sizeBytes: backend.sizeBytes, at: $0) }
        file.needsThread = needsThread
        return Backend(
            kind: .file(file), sizeBytes: backend.sizeBytes, isReadOnly: isOverlaid,
            granularityBytes: backend.granularityBytes, zeroesFastByDeallocating: backend.zeroesFastByDeallocating,
            zeroesFastAllocated: backend.zeroesFastAllocated)
    }

    /// Looks at the whole file when nothing is under way.
    ///
    /// - Parameter isKilled: the server had no time to take a cache to the file.
    func checkContent(at time: Int, isKilled: Bool = false) throws {
        let content = SimulatedDisk.content(of: descriptor)
        if isOverlaid {
            guard content == base else { throw Violation("the file of \(name), which is only read, has changed") }
            return
        }
        if isCached, isKilled || mayKeepLess { return try check(afterPowerFailure: content) }
        let reason = content.withUnsafeBytes { model.check($0, from: 0, .read(began: time, ended: time)) }
        if let reason { throw Violation("the file of \(name) in the end: \(reason)") }
    }

    /// Looks at what a power failure leaves.
    func check(afterPowerFailure content: [UInt8]) throws {
        let reason = content.withUnsafeBytes { model.check($0, from: 0, .afterPowerFailure) }
        if let reason { throw Violation("\(name) after a power failure: \(reason)") }
    }

    /// The machine has lost power, and this is what is left.
    func lose(_ content: [UInt8]) throws {
        guard !isOverlaid else { return try checkContent(at: 0) }
        try check(afterPowerFailure: content)
        guard pwrite(descriptor, content, content.count, 0) == content.count else {
            throw Violation("an image cannot be written: \(errorText(errno))")
        }
    }

    /// Another server begins with what is there.
    func beginAgain() {
        model = BlockModel(
            content: SimulatedDisk.content(of: descriptor), cellBytes: cellBytes, writesThrough: writesThrough,
            firstNumber: model.endNumber)
        closedConnections = [:]
        reservations?.losePower()
        probe = nil
        isEnding = false
        growth = nil
        mayBeReset = false
    }
}
