// A recording in a file: its entries, and where their data are.

import Blocks
import Glibc

/// A recording that can be cut.
public struct Recording {
    /// What was recorded.
    public let history: RecordedHistory
    /// Its file's name.
    public let path: String
    /// How many bytes at its end are no whole entry.
    public let tornBytes: UInt64
    let file: File
    /// By entry: where its data begin.
    let dataOffsets: [UInt64]

    /// Reads a recording as far as it is whole.
    public init(path: String) throws(RecordingsError) {
        self.path = path
        file = try File(reading: path)
        let fileBytes = try file.sizeBytes
        let header: RecordingHeader
        let beginning = try file.read(RecordingHeader.byteCount, at: 0)
        do throws(RecordingError) {
            header = try RecordingHeader(beginning)
        } catch {
            throw RecordingsError("'\(path)': \(error)")
        }
        var (entries, dataOffsets) = ([RecordingEntry](), [UInt64]())
        var place = UInt64(RecordingHeader.byteCount)
        let headerBytes = UInt64(RecordingEntry.headerBytes)
        while true {
            let bytes = try file.read(RecordingEntry.headerBytes, at: place)
            guard let entry = RecordingEntry(bytes, number: UInt64(entries.count) + 1, in: header) else { break }
            let dataBytes = entry.dataBytes(header.blockSize)
            let dataOffset = place + headerBytes
            guard dataBytes <= fileBytes - min(dataOffset, fileBytes) else { break }
            let checksum = try Self.checksum(bytes, file, dataOffset..<dataOffset + dataBytes)
            guard checksum == RecordingEntry.checksum(in: bytes) else { break }
            entries.append(entry)
            dataOffsets.append(dataOffset)
            place = dataOffset + dataBytes
        }
        history = RecordedHistory(header, entries)
        tornBytes = fileBytes - min(place, fileBytes)
        self.dataOffsets = dataOffsets
    }

    /// The checksum that an entry has to have.
    private static func checksum(
        _ header: [UInt8], _ file: File, _ data: Range<UInt64>
    ) throws(RecordingsError) -> UInt32 {
        var checksum = CRC32()
        checksum.add(header[RecordingEntry.checksumEnd...])
        var place = data.lowerBound
        while place < data.upperBound {
            let bytes = try file.read(Int(min(data.upperBound - place, File.pieceBytes)), at: place)
            guard !bytes.isEmpty else { break }
            checksum.add(bytes[...])
            place += UInt64(bytes.count)
        }
        return checksum.value
    }
}
