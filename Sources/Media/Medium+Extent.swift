// What of an image is stored and what is a hole: lseek(2) with SEEK_DATA and SEEK_HOLE for files, the map of an image in
// memory.

import IOUring

/// Sectors in a row of which something is stored, or of which nothing is and which read as zeroes.
public struct MediumExtent: Equatable, Sendable {
    /// Something is stored. A medium that cannot tell says so of everything.
    public var isMapped: Bool
    /// How many bytes it has, at least a sector.
    public var lengthBytes: UInt64
}

extension Medium {
    static let sectorBytes: UInt64 = 512

    /// The extent that begins at `offset`, as far as it is looked for. Both numbers are multiples of a sector, `limit` is
    /// above zero. What a writer does at the same time may show or not.
    public func extent(at offset: UInt64, limit: UInt64) -> MediumExtent {
        switch storage {
        case .file(let file): file.extent(at: offset, limit: limit)
        case .memory(let image): image.extent(at: offset, limit: limit)
        case .null: MediumExtent(isMapped: false, lengthBytes: limit)
        }
    }
}

extension RawFile {
    /// A sector of which one byte is stored is stored; what lies behind the end of the file is not.
    func extent(at offset: UInt64, limit: UInt64) -> MediumExtent {
        let sector = Medium.sectorBytes
        guard let data = LinuxFile.nextData(bufferedDescriptor, from: offset) else {
            return MediumExtent(isMapped: false, lengthBytes: limit)
        }
        let holeBytes = data / sector * sector - offset
        guard holeBytes == 0 else { return MediumExtent(isMapped: false, lengthBytes: min(holeBytes, limit)) }
        guard let hole = LinuxFile.nextHole(bufferedDescriptor, from: data) else {
            return MediumExtent(isMapped: true, lengthBytes: limit)
        }
        // A hole that somebody has made right here in the meantime is found with the next question.
        let end = max((hole + sector - 1) / sector * sector, offset + sector)
        return MediumExtent(isMapped: true, lengthBytes: min(end - offset, limit))
    }
}
