// tgt, a target for iSCSI that others wrote, for the time of a test.

import Foundation
import Support

/// A tgtd with one target, whose unit 1 is an image.
final class TgtTarget {
    /// The unit.
    let url: String
    private let daemon: RunningProgram
    private let folder: TemporaryFolder

    /// Starts it on a port that nobody has.
    init(_ image: String, in folder: TemporaryFolder) throws {
        self.folder = folder
        let port = try freePort()
        url = "iscsi://127.0.0.1:\(port)/iqn.2026-11.org.example:tgt/1"
        daemon = try RunningProgram(
            .tool("env"),
            [
                "TGT_IPC_SOCKET=\(folder.path)/tgt", try Program.tool("tgtd").path, "-f", "--iscsi",
                "portal=127.0.0.1:\(port)",
            ], in: folder)
        // It makes its socket before it takes commands there.
        let new = ["--op", "new", "--mode", "target", "--tid", "1", "-T", "iqn.2026-11.org.example:tgt"]
        try daemon.wait("to take commands") { try run(new).status == 0 }
        for digest in ["HeaderDigest", "DataDigest"] {
            try manage(["--op", "update", "--mode", "target", "--tid", "1", "--name", digest, "--value", "CRC32C,None"])
        }
        try manage(["--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", image])
        try manage(["--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"])
    }

    /// Runs tgtadm, which has to succeed.
    func manage(_ arguments: [String]) throws {
        let result = try run(arguments)
        guard result.status == 0 else { throw ProgramFailure("tgtadm \(arguments): \(result.errors)") }
    }

    private func run(_ arguments: [String]) throws -> ProgramResult {
        let tgtadm = ["TGT_IPC_SOCKET=\(folder.path)/tgt", try Program.tool("tgtadm").path, "--lld", "iscsi"]
        return try Program.tool("env").run(tgtadm + arguments, in: folder)
    }
}
