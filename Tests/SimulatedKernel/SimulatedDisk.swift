// A file of which it is known what would be left of it after a power failure: fsync(2), NOTES; Linux, lib/errseq.c.

import Glibc
import Seeded

/// The stable content of a file, beside what reads and writes see.
public final class SimulatedDisk {
    /// What is written as a whole or not at all.
    private let sectorBytes: Int
    private let descriptor: Int32
    private let inode: ino_t
    /// What a power failure leaves in any case.
    private var stable: [UInt8]
    /// Sectors whose writing back has failed, with what was to be written: they count as clean until they are written
    /// anew.
    private var lost: [Int: [UInt8]] = [:]
    /// How often writing back has failed, and how many of these failures each open file description was told of.
    private var failures = 0
    private var told: [Int32: Int] = [:]

    /// The disk that holds an open file; all of it is stable.
    public init(_ descriptor: Int32, sectorBytes: Int = 512) {
        self.descriptor = descriptor
        self.sectorBytes = sectorBytes
        var status = stat()
        fstat(descriptor, &status)
        inode = status.st_ino
        stable = Self.content(of: descriptor)
    }

    /// All of a file.
    public static func content(of descriptor: Int32) -> [UInt8] {
        var status = stat()
        fstat(descriptor, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress! + filled, $0.count - filled, off_t(filled))
            }
            precondition(count > 0, "a file in memory can be read")
            filled += count
        }
        return bytes
    }

    func isFile(_ other: Int32) -> Bool {
        var status = stat()
        return fstat(other, &status) == 0 && status.st_ino == inode
    }

    /// Somebody has made stable what was written so far, past the kernel of the simulation.
    public func synchronize() { writeBack(isFailing: false) }

    /// What has been written so far becomes stable, or is lost on the way.
    func writeBack(isFailing: Bool) {
        let content = Self.content(of: descriptor)
        if content.count > stable.count { stable += [UInt8](repeating: 0, count: content.count - stable.count) }
        var isDirty = false
        for start in stride(from: 0, to: content.count, by: sectorBytes) {
            let end = min(start + sectorBytes, content.count)
            // As memory: slices are compared byte by byte, by way of their iterators.
            let isStable = content.withUnsafeBytes { now in
                stable.withUnsafeBytes { memcmp(now.baseAddress! + start, $0.baseAddress! + start, end - start) == 0 }
            }
            guard !isStable else {
                if !lost.isEmpty { lost[start] = nil }
                continue
            }
            if let bytes = lost[start], bytes[...] == content[start..<end] { continue }
            isDirty = true
            if isFailing {
                lost[start] = Array(content[start..<end])
            } else {
                lost[start] = nil
                stable.replaceSubrange(start..<end, with: content[start..<end])
            }
        }
        if isFailing && isDirty { failures += 1 }
    }

    /// What an fdatasync(2) on a descriptor says: each failure once to each.
    func tell(_ descriptor: Int32) -> Int32 {
        guard told[descriptor, default: 0] < failures else { return 0 }
        told[descriptor] = failures
        return -EIO
    }

    /// What is left after a power failure: of what was not stable some sectors.
    public func afterPowerFailure(_ numbers: inout SeededGenerator) -> [UInt8] {
        var content = Self.content(of: descriptor)
        for start in stride(from: 0, to: content.count, by: sectorBytes) where Bool.random(using: &numbers) {
            let end = min(start + sectorBytes, content.count)
            let kept = max(start, min(end, stable.count))
            content.withUnsafeMutableBytes { content in
                _ = stable.withUnsafeBytes {
                    memcpy(content.baseAddress! + start, $0.baseAddress! + start, kept - start)
                }
                memset(content.baseAddress! + kept, 0, end - kept)
            }
        }
        return content
    }
}
