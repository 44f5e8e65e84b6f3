// Outcomes of cuts as overlays: qcow2 images above what the recorded disk was in the beginning.

import Backends
import Blocks
import Glibc

/// The image below an overlay.
public struct OverlayBase: Sendable {
    /// Its path; nil: there is none, for the disk began with zeroes.
    let path: String?
    let isQcow2: Bool

    /// The base of a recording's overlays, which has the size of the recorded drive.
    ///
    /// - Parameters:
    ///   - path: what the user says; nil: what the recording says.
    ///   - isQcow2: the format of that.
    public init(of recording: Recording, said path: String?, isQcow2: Bool) throws(RecordingsError) {
        switch (path, recording.history.header.base) {
        case (let path?, _): (self.path, self.isQcow2) = (path, isQcow2)
        case (nil, .zeroes): (self.path, self.isQcow2) = (nil, false)
        case (nil, .image(let path, let isQcow2)): (self.path, self.isQcow2) = (path, isQcow2)
        case (nil, .changed(let path)):
            throw RecordingsError(
                "the recorded drive has written to its image, '\(path)': --base names a copy from before; of an "
                    + "export 'overlay:\(path)' none is needed")
        }
        if let path = self.path { try checkSize(path, recording.history.header) }
    }

    /// An image of another size is not what the drive began with: what lies behind its end would be zeroes.
    private func checkSize(_ path: String, _ recorded: RecordingHeader) throws(RecordingsError) {
        let sizeBytes = try diskBytes(path)
        guard recorded.blockSize.blocks(holdingBytes: sizeBytes) != recorded.sectors else { return }
        let driveBytes = recorded.blockSize.bytes(ofBlocks: recorded.sectors)
        throw RecordingsError(
            "the base '\(path)', a \(isQcow2 ? "qcow2" : "raw") image, has \(sizeBytes) bytes, and the recorded drive "
                + "\(driveBytes): the base is the image that the drive began with, or a copy of it")
    }

    /// The size of the disk in an image.
    private func diskBytes(_ path: String) throws(RecordingsError) -> UInt64 {
        let image = try File(reading: path)
        let fileBytes = try image.sizeBytes
        guard isQcow2 else { return fileBytes }
        let beginning = try image.read(Int(min(fileBytes, UInt64(Qcow2Header.byteCount))), at: 0)
        do throws(Qcow2Error) {
            return try Qcow2Header(beginning, fileBytes: fileBytes).sizeBytes
        } catch {
            throw RecordingsError("'\(path)': \(error)")
        }
    }

    /// Its name in an overlay: alone if both are in one folder.
    func backing(of overlay: String) throws(RecordingsError) -> Qcow2Header.Backing? {
        guard let path else { return nil }
        guard let full = realPath(path) else { throw RecordingsError("open", path, errno: errno) }
        return Qcow2Header.Backing(path: full, isQcow2: isQcow2, fromFolder: realPath(folder(of: overlay)))
    }
}

extension Recording {
    /// Makes the overlay that has the disk after a cut.
    public func makeOverlay(_ path: String, after cut: RecordedCut, _ base: OverlayBase) throws(RecordingsError) {
        let blockSize = history.header.blockSize
        let disk = history.disk(after: cut)
        let creation: Qcow2Creation
        let backing = try base.backing(of: path)
        do throws(Qcow2CreationError) {
            creation = try Qcow2Creation(
                sizeBytes: blockSize.bytes(ofBlocks: history.header.sectors), backing: backing,
                extents: disk.map { extent in
                    let start = blockSize.bytes(ofBlocks: extent.sectors.lowerBound)
                    let end = blockSize.bytes(ofBlocks: extent.sectors.upperBound)
                    return Qcow2Creation.Extent(start..<end, isZero: extent.source == .zeroes)
                })
        } catch {
            throw RecordingsError("cannot make '\(path)': \(error)")
        }
        let overlay = try File(making: path)
        try overlay.resize(toBytes: creation.fileBytes)
        try creation.forEachTable { offset, bytes throws(RecordingsError) in try overlay.write(bytes, at: offset) }
        // Without a base, zeroes are not among the image's extents.
        let stored = disk.filter { $0.source != .zeroes || backing != nil }
        for (extent, place) in zip(stored, creation.dataOffsets) {
            let count = blockSize.bytes(ofBlocks: UInt64(extent.sectors.count))
            switch extent.source {
            case .entry(let number, let skip):
                let start = dataOffsets[number] + blockSize.bytes(ofBlocks: skip)
                try overlay.copy(start..<start + count, of: file, to: place)
            case .noise:
                for (number, sector) in extent.sectors.enumerated() {
                    try overlay.write(
                        cut.report.cut.noise(of: sector, byteCount: Int(blockSize.bytes)),
                        at: place + blockSize.bytes(ofBlocks: UInt64(number)))
                }
            case .zeroes: break
            }
        }
        overlay.finish()
    }
}
