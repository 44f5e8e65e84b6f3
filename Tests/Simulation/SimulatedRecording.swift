// The recording of a simulated drive: all that was answered is in it, and its cuts leave what a drive may leave.

import Blocks
import Glibc
import Support

@testable import Recordings

/// A recording, and what the disk had when it began.
struct SimulatedRecording {
    let path: String
    let base: [UInt8]

    /// The disk after a cut behind its last entry.
    func disk(after cut: PowerCut) throws -> [UInt8] {
        let recording = try Recording(path: path)
        let history = recording.history
        var disk = base
        for extent in history.disk(after: history.cut(cut, at: history.entries.count)) {
            let place = Int(extent.sectors.lowerBound) * 512
            let count = extent.sectors.count * 512
            switch extent.source {
            case .entry(let number, let skip):
                let bytes = try recording.file.read(count, at: recording.dataOffsets[number] + skip * 512)
                disk.replaceSubrange(place..<place + count, with: bytes)
            case .zeroes: disk.replaceSubrange(place..<place + count, with: repeatElement(0, count: count))
            case .noise: throw Violation("\(path): no sector is torn")
            }
        }
        return disk
    }
}

extension SimulatedImage {
    /// Looks at the recording that is kept now, when nothing is under way.
    func checkRecording(seed: UInt64) throws {
        guard let recording else { return }
        let looks: [(PowerCutKeeping, BlockModel.Look)] = [
            (.all, .answered), (.none, .afterPowerFailure), (.subset, .afterPowerFailure),
        ]
        for (keeping, look) in looks {
            let disk = try recording.disk(after: PowerCut(keeping: keeping, seed: seed))
            let reason = disk.withUnsafeBytes { model.check($0, from: 0, look) }
            if let reason { throw Violation("the recording of \(name), keeping \(keeping): \(reason)") }
        }
        self.recording = nil
    }
}
