// The layer that keeps a recording: all that the drive has executed, in its order, in a file (docs/recordings.md).

/// Below it commands are executed, and behind that each becomes an entry. Nothing is answered before its entry is in
/// the recording.
///
/// Entries wait in a buffer, and one request after the other takes all that are there to the file. So the file may be
/// slower than clients, who wait then, and no memory is needed but the buffer.
public struct Recorder: Sendable {
    /// The buffer's size, and the most of it that one entry may take: a larger write is several.
    public static let bufferBytes = 4 << 20
    private static let entryBytes = bufferBytes / 4

    private let blockSize: BlockSize
    /// Byte n of the file is here at n modulo the size, from when its entry is made until it is in the file.
    let memory: LayerMemory
    /// When the recording began, by the clock of ``BlockWriter``.
    private let began: UInt64
    /// How many entries there are.
    private var count: UInt64 = 0
    /// So much of the file is there, and so much of it is written.
    private var end = UInt64(RecordingHeader.byteCount)
    private var written = UInt64(RecordingHeader.byteCount)
    private var isWriting = false
    private var hasWoken = false

    /// The state of a request.
    struct Task: Sendable {
        enum Stage {
            /// It is executed below.
            case below
            /// It is executed, and has its place in the order; it waits for its entry to be written.
            case recording
            /// It writes entries.
            case writing
        }

        fileprivate var request = BackendRequest(.flush)
        fileprivate var writer = BlockWriter()
        fileprivate var stage = Stage.below
        /// How many entries there were when it came.
        fileprivate var covered: UInt64 = 0
        /// How much of it has become entries.
        fileprivate var doneBytes: UInt64 = 0
        /// Where in the file its last entry ends; 0: that is not there.
        fileprivate var end: UInt64 = 0
        /// How much of the file it is writing.
        fileprivate var partBytes: UInt64 = 0
    }

    /// A recording of which only the header is there.
    ///
    /// - Parameters:
    ///   - memory: of ``bufferBytes``.
    ///   - began: when, by the clock of ``BlockWriter``.
    public init(blockSize: BlockSize, memory: LayerMemory, began: UInt64) {
        precondition(memory.byteCount == Self.bufferBytes, "the buffer has another size")
        self.blockSize = blockSize
        self.memory = memory
        self.began = began
    }

    mutating func takeWake() -> Bool {
        defer { hasWoken = false }
        return hasWoken
    }

    mutating func begin(_ request: BackendRequest, _ task: inout Task, _ writer: BlockWriter) -> BlockStep {
        task = Task()
        task.request = request
        task.writer = writer
        task.covered = count
        return .io(request)
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task, _ data: borrowing MutableRawSpan) -> BlockStep {
        if task.stage == .writing {
            isWriting = false
            hasWoken = true
            task.stage = .recording
            if outcome == .done { written += task.partBytes }
        }
        if case .failed(let failure, let bytes) = outcome {
            // What is executed and not recorded is not answered well.
            return .failed(failure, afterBytes: task.stage == .below ? bytes : 0)
        }
        guard let kind = RecordingEntry.Kind(task.request.operation), kind == .flush || task.request.length > 0
        else { return .finished }
        task.stage = .recording
        while task.end == 0 {
            guard add(kind, &task, data) else { return write(&task) }
        }
        return written >= task.end ? .finished : write(&task)
    }

    /// Makes an entry of what is left of a request, or of a part that is not too large for one.
    ///
    /// - Returns: false if there is no room for it now.
    private mutating func add(
        _ kind: RecordingEntry.Kind, _ task: inout Task, _ data: borrowing MutableRawSpan
    ) -> Bool {
        var bytes = task.request.length - task.doneBytes
        if kind == .write { bytes = min(bytes, UInt64(Self.entryBytes)) }
        let dataBytes = kind == .write ? bytes : 0
        let headerBytes = UInt64(RecordingEntry.headerBytes)
        guard end - written + headerBytes + dataBytes <= UInt64(Self.bufferBytes) else { return false }
        let first = blockSize.blocks(inBytes: task.request.offset + task.doneBytes)
        let entry = RecordingEntry(
            number: count + 1, kind: kind, sectors: first..<first + blockSize.blocks(inBytes: bytes),
            covered: kind == .flush ? task.covered : 0, client: task.writer.client,
            nanoseconds: task.writer.nanoseconds &- began)
        let start = Int(task.request.dataOffset + task.doneBytes)
        let words = unsafe data.withUnsafeBytes { bytes in
            unsafe entry.words(data: UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(dataBytes)]))
        }
        // The buffer has a whole number of headers, and entries are whole headers long.
        let place = self.place(of: end) / 8
        for index in words.indices { memory.setWord(words[index], at: UInt64(place + index)) }
        if dataBytes > 0 { store(data, start..<start + Int(dataBytes), at: end + headerBytes) }
        count += 1
        end += headerBytes + dataBytes
        task.doneBytes += bytes
        if task.doneBytes == task.request.length { task.end = end }
        return true
    }

    private func place(of fileOffset: UInt64) -> Int { Int(fileOffset % UInt64(Self.bufferBytes)) }

    /// Copies data to their place in the buffer, whose end may be within.
    private func store(_ data: borrowing MutableRawSpan, _ range: Range<Int>, at fileOffset: UInt64) {
        let place = place(of: fileOffset)
        let middle = min(range.lowerBound + Self.bufferBytes - place, range.upperBound)
        memory.store(data, range.lowerBound..<middle, at: place)
        if middle < range.upperBound { memory.store(data, middle..<range.upperBound, at: 0) }
    }

    /// Takes entries to the file, as many as follow each other in the buffer, unless somebody does so.
    private mutating func write(_ task: inout Task) -> BlockStep {
        guard !isWriting else { return .waitForOthers }
        isWriting = true
        task.stage = .writing
        let place = place(of: written)
        task.partBytes = min(end - written, UInt64(Self.bufferBytes - place))
        var request = BackendRequest(
            .write, offset: written, length: task.partBytes, dataPlace: .recording, dataOffset: UInt64(place))
        request.file = BackendRequest.recordingFile
        return .io(request)
    }
}

extension RecordingEntry.Kind {
    /// The kind of what is recorded; nil for what changes nothing.
    fileprivate init?(_ operation: BackendOperation) {
        switch operation {
        case .write: self = .write
        case .writeZeroes: self = .zeroes
        case .discard: self = .trim
        case .flush: self = .flush
        case .read, .prefetch, .lookUp: return nil
        }
    }
}
