// What an image may contain, as its clients know it: for each cell the writes that can be the newest.

import Glibc

/// An image in cells. A write fills each of its cells with a word that names the write and the cell, so that bytes say
/// whose they are. A cell is one write's or another's, never a part of each: pieces of transfers are whole cells, and
/// writes begin and end between two.
///
/// Times are numbers of events as clients see them. A request has begun before its first byte is sent, and has ended
/// when its reply is read; the server does what it does in between.
struct BlockModel {
    /// One write.
    private struct Write {
        /// Zero stores zeroes.
        let word: UInt64
        let began: Int
        /// After this it has no effect that it has not had.
        var ended: Int?
        /// It has had its effect when it ended.
        var isCertain = false
        /// Whose it is, while it is unanswered.
        var connection = -1
    }

    /// A write that may be what a cell shows.
    private struct Candidate {
        let write: Int32
        /// Somebody has seen it there by this time.
        var seen: Int32 = .max
    }

    let cellBytes: Int
    private(set) var cellCount: Int
    private var writes: [Write] = []
    private var cells: [[Candidate]]
    private var cellsOfWrite: [Range<Int>] = []
    private var unanswered: [Int] = []
    /// When the newest FLUSH that has succeeded was begun.
    private var flushBegan = -1
    /// Each write is stable when it is answered: the drive has no write cache.
    let writesThrough: Bool
    /// Requests that have begun and not ended, for how far back one may have to look.
    var oldestOpen = Int.max

    /// The number of its first write: no two models of an image have the same.
    private let firstNumber: Int
    /// The number after that of its last write.
    var endNumber: Int { firstNumber + writes.count }

    /// The image as it is found.
    init(content: [UInt8], cellBytes: Int, writesThrough: Bool, firstNumber: Int) {
        self.cellBytes = cellBytes
        self.firstNumber = firstNumber
        self.writesThrough = writesThrough
        cellCount = content.count / cellBytes
        cells = Array(repeating: [], count: cellCount)
        var known: [UInt64: Int32] = [:]
        for cell in 0..<cellCount {
            let word = content.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: cell * cellBytes, as: UInt64.self) & ~0xFF_FFFF
            }
            let number = known[word] ?? base(word)
            known[word] = number
            cells[cell] = [Candidate(write: number)]
        }
    }

    private mutating func base(_ word: UInt64) -> Int32 {
        writes.append(Write(word: word, began: -2, ended: -1, isCertain: true))
        cellsOfWrite.append(0..<0)
        return Int32(writes.count - 1)
    }

    var byteCount: Int { cellCount * cellBytes }

    /// The image as it was found. Nobody has written yet.
    var content: [UInt8] {
        (0..<cellCount).flatMap { cell in
            let word = word(Int(cells[cell][0].write), cell)
            return (0..<cellBytes).map { UInt8(truncatingIfNeeded: word >> UInt64($0 % 8 * 8)) }
        }
    }

    /// The image has become larger.
    mutating func grow(toBytes count: Int) {
        let zeroes = base(0)
        while cells.count < count / cellBytes { cells.append([Candidate(write: zeroes)]) }
        cellCount = cells.count
    }

    // MARK: Writes

    /// What a cell contains when a write is the newest one.
    private func word(_ write: Int, _ cell: Int) -> UInt64 {
        writes[write].word == 0 ? 0 : writes[write].word | UInt64(cell)
    }

    /// A WRITE, of zeroes or not, or a TRIM begins.
    ///
    /// - Returns: its number.
    mutating func begin(_ range: Range<Int>, isZero: Bool, at time: Int, connection: Int) -> Int {
        let number = writes.count
        // The cell's number is in the lowest 24 bits; words of writes are odd above them, and so never zero.
        writes.append(
            Write(word: isZero ? 0 : UInt64(firstNumber + number) << 25 | 1 << 24, began: time, connection: connection))
        cellsOfWrite.append(range)
        unanswered.append(number)
        for cell in range {
            if cells[cell].count > 12 { prune(cell) }
            cells[cell].append(Candidate(write: Int32(number)))
        }
        return number
    }

    /// The payload of a WRITE.
    func payload(of write: Int) -> [UInt8] {
        let range = cellsOfWrite[write]
        let words = cellBytes / 8
        var bytes = [UInt8](repeating: 0, count: range.count * cellBytes)
        bytes.withUnsafeMutableBytes { buffer in
            let target = buffer.bindMemory(to: UInt64.self)
            for (place, cell) in range.enumerated() {
                let word = word(write, cell)
                for number in 0..<words { target[place * words + number] = word }
            }
        }
        return bytes
    }

    /// A write has its answer, or can have no effect any more. One that has failed, and a TRIM, may have done something
    /// or nothing.
    mutating func end(_ write: Int, isCertain: Bool, at time: Int) {
        writes[write].ended = time
        writes[write].isCertain = isCertain
        unanswered.removeAll { $0 == write }
    }

    /// The unanswered requests of connections that were closed before are over.
    mutating func endAll(of connections: Set<Int>, at time: Int) {
        for number in unanswered where connections.contains(writes[number].connection) { writes[number].ended = time }
        unanswered.removeAll { connections.contains(writes[$0].connection) }
    }

    /// A FLUSH that began at a time has succeeded.
    mutating func flushed(began: Int) { flushBegan = max(flushBegan, began) }

    // MARK: Reads

    /// When a candidate had had its effect for certain.
    private func effect(_ candidate: Candidate) -> Int {
        let write = writes[Int(candidate.write)]
        let ended = write.isCertain ? write.ended ?? .max : .max
        return min(ended, candidate.seen == .max ? .max : Int(candidate.seen))
    }

    /// Whether something else was there for certain by a time, and has come after a candidate.
    private func isOverwritten(_ candidate: Candidate, in cell: Int, by time: Int, effect: (Candidate) -> Int) -> Bool {
        guard let ended = writes[Int(candidate.write)].ended else { return false }
        return cells[cell].contains { effect($0) < time && ended < writes[Int($0.write)].began }
    }

    private mutating func prune(_ cell: Int) {
        let horizon = min(oldestOpen, flushBegan)
        let kept = cells[cell].filter { candidate in
            !isOverwritten(candidate, in: cell, by: horizon) { other in
                let write = writes[Int(other.write)]
                return write.isCertain ? write.ended ?? .max : .max
            }
        }
        cells[cell] = kept
    }

    /// How what is looked at has come about.
    enum Look {
        /// A READ, between two times.
        case read(began: Int, ended: Int)
        /// The file, after a power failure.
        case afterPowerFailure
        /// What has all that was answered; what was only seen may be lost.
        case answered
    }

    /// Checks bytes that begin at a cell, and remembers what they say.
    ///
    /// - Returns: what is wrong with them.
    mutating func check(
        _ bytes: UnsafeRawBufferPointer, from first: Int, _ look: Look, mayTear: Bool = false
    ) -> String? {
        for place in 0..<bytes.count / cellBytes {
            let start = place * cellBytes
            let word = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
            let cell = UnsafeRawBufferPointer(rebasing: bytes[start..<start + cellBytes])
            if !isUniform(cell) {
                guard mayTear else { return "cell \(first + place) is torn: it begins with \(words(word))" }
                // Where it is torn, a word may be, too.
                for start in stride(from: 0, to: cellBytes - 8, by: 8) {
                    let one = cell.loadUnaligned(fromByteOffset: start, as: UInt64.self)
                    guard one == cell.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self) else { continue }
                    if let reason = check(one, first + place, look) { return reason }
                }
            } else if let reason = check(word, first + place, look) {
                return reason
            }
        }
        return nil
    }

    private func isUniform(_ cell: UnsafeRawBufferPointer) -> Bool {
        // Each word is as the one before it.
        memcmp(cell.baseAddress!, cell.baseAddress! + 8, cellBytes - 8) == 0
    }

    private mutating func check(_ word: UInt64, _ cell: Int, _ look: Look) -> String? {
        let matching = cells[cell].indices.filter { self.word(Int(cells[cell][$0].write), cell) == word }
        guard !matching.isEmpty else {
            return
                "cell \(cell) contains \(words(word)), which is not there, or no more: \(history(of: cell))"
        }
        let legal = matching.filter { isLegal(cells[cell][$0], cell, look) }
        guard !legal.isEmpty else {
            return "cell \(cell) contains \(words(word)), which is overwritten: \(history(of: cell))"
        }
        if case .read(_, let ended) = look, matching.count == 1 {
            let index = matching[0]
            cells[cell][index].seen = min(cells[cell][index].seen, Int32(ended))
        }
        return nil
    }

    private func isLegal(_ candidate: Candidate, _ cell: Int, _ look: Look) -> Bool {
        switch look {
        case .read(let began, let ended):
            return writes[Int(candidate.write)].began < ended
                && !isOverwritten(candidate, in: cell, by: began, effect: effect)
        case .afterPowerFailure, .answered:
            let horizon = writesThrough || look.hasAnswered ? Int.max : flushBegan
            return !isOverwritten(candidate, in: cell, by: horizon) { other in
                let write = writes[Int(other.write)]
                return write.isCertain ? write.ended ?? .max : .max
            }
        }
    }

    private func words(_ word: UInt64) -> String {
        guard word != 0 else { return "zeroes" }
        return "write \(word >> 25) for cell \(word & 0xFF_FFFF)"
    }

    private func history(of cell: Int) -> String {
        cells[cell].map { candidate in
            let write = writes[Int(candidate.write)]
            let name = write.word == 0 ? "zeroes" : "write \(write.word >> 25)"
            let end = write.ended.map { "\($0)" } ?? "now"
            let seen = candidate.seen == .max ? "" : ", seen at \(candidate.seen)"
            return "\(name) \(write.began)-\(end)\(write.isCertain ? "" : "?")\(seen)"
        }.joined(separator: "; ")
    }
}

extension BlockModel.Look {
    fileprivate var hasAnswered: Bool { if case .answered = self { true } else { false } }
}
