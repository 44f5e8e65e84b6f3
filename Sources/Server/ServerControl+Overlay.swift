// Overlays, as an operator handles them.

import Backends
import Logging
import Loop

extension ServerControl {
    /// Makes the disk of an overlay like its image again. Its clients are cut off, and its drive comes back as at
    /// power-on.
    ///
    /// - Returns: how many bytes of the disk were the overlay's own; of one in a file, how much room that gives back.
    public func revert(_ name: String) throws(ServerError) -> UInt64 {
        let entry = try shared.exports.entry(named: name)
        guard entry.definition.isOverlay else { throw .noOverlay(name) }
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            guard entry.armedCut == nil else { throw .cutArmed(name) }
            guard entry.isOn else { throw .noPower(name) }
            entry.switchPower(isOn: false)
            loops.cutOff(entry)
            let result: Result<UInt64, ServerError>
            if hasEnded(entry, { entry.connectionCount == 0 }) {
                do throws(ImageError) {
                    result = .success(try entry.revert())
                } catch {
                    result = .failure(.image(name: name, error))
                }
            } else {
                result = .failure(.stillReverting(name))
            }
            entry.switchPower(isOn: true)
            try shared.exports.refresh(entry)
            let bytes = try result.get()
            loops.logger.notice(
                "overlay reverted", metadata: ["export": "\(name)", "bytes": .stringConvertible(bytes)])
            return bytes
        }
    }
}
