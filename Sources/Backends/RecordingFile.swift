// The file of a new recording: a header, and what a Recorder sends there.

import Blocks
import Glibc
import IOUring

/// A recording that begins.
public struct RecordingFile: Sendable {
    /// Its file.
    public let backend: Backend
    /// The layer whose entries belong there.
    public let recorder: Recorder
    /// There was none, and it was made.
    public let isMade: Bool

    /// Makes the file, or takes one that has no entries.
    public init(path: String, _ header: RecordingHeader) throws(RecordingFileError) {
        guard let bytes = header.bytes else { throw .longName(path) }
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 || errno == EEXIST else { throw .cannotMake(path, errno: errno) }
        isMade = descriptor >= 0
        if isMade { Glibc.close(descriptor) }
        do throws(ImageError) {
            backend = try Backend(path: path, cache: .writeback, readOnly: false, locking: .immediate)
        } catch {
            throw .cannotOpen(path, error)
        }
        do throws(RecordingFileError) {
            guard backend.sizeBytes <= UInt64(bytes.count) else { throw .hasEntries(path) }
            recorder = try Self.begin(bytes, header, backend, path)
        } catch {
            backend.close()
            throw error
        }
    }

    private static func begin(
        _ bytes: [UInt8], _ header: RecordingHeader, _ backend: Backend, _ path: String
    ) throws(RecordingFileError) -> Recorder {
        let memory: LayerMemory
        do throws(RingError) {
            memory = try LayerMemory(mapping: Recorder.bufferBytes)
        } catch {
            throw .cannotMake(path, errno: ENOMEM)
        }
        memory.put(bytes, at: 0)
        let code = backend.storeNow(memory.range(0..<bytes.count), at: 0)
        guard code == 0 else { throw .cannotMake(path, errno: code) }
        return Recorder(blockSize: header.blockSize, memory: memory, began: MonotonicClock().now())
    }
}

/// Why a recording cannot begin.
public enum RecordingFileError: Error, CustomStringConvertible {
    /// The file cannot be made.
    case cannotMake(String, errno: Int32)
    /// It is there, and cannot be used.
    case cannotOpen(String, ImageError)
    /// It is a recording already, or something else.
    case hasEntries(String)
    /// The path of the image is too long for the header.
    case longName(String)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .cannotMake(let path, EACCES):
            "cannot make the recording '\(path)': \(errorText(EACCES)); while a server runs, its sandbox only lets it make "
                + "files below a --sandbox-path PATH"
        case .cannotMake(let path, let code): "cannot make the recording '\(path)': \(errorText(code))"
        case .cannotOpen(let path, let error): "cannot begin the recording '\(path)': \(error)"
        case .hasEntries(let path):
            "'\(path)' is there already, and no recording goes on with another: move it away, or name a new file"
        case .longName(let path):
            "cannot make the recording '\(path)': the path of the image has more than "
                + "\(RecordingHeader.maximumNameBytes) bytes"
        }
    }
}
