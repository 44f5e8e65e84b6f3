// A disk of an iSCSI target as a device node for programs that speak SCSI to one (SG_IO): smartctl, hdparm,
// sg3-utils. No kernel is between: a library that is loaded into them hands their commands to libiscsi.

import Foundation
import Support
import Testing

/// The disk of the first target that a server has announced.
struct GenericDevice {
    private let library: String
    private let node: String
    private let url: String
    private let folder: TemporaryFolder

    init(_ server: RunningServer, export: String = "disk", in folder: TemporaryFolder) throws {
        self.folder = folder
        let words = server.announcement.split(whereSeparator: \.isWhitespace)
        url = String(try #require(words.first { $0.hasPrefix("iscsi://") && $0.contains(":\(export)/") }).dropLast())
        library = folder.path + "/scsi-generic.so"
        node = folder.path + "/\(export)-node"
        try Data().write(to: URL(fileURLWithPath: node))
        guard !FileManager.default.fileExists(atPath: library) else { return }
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Preloaded/scsi-generic.c").path
        try InteropTests.run("gcc", ["-shared", "-fPIC", "-o", library, source, "-liscsi"], in: folder)
    }

    /// Runs a program, with the device as its last argument.
    ///
    /// - Returns: what it printed, errors too; and its exit status.
    func attempt(_ tool: String, _ arguments: [String], input: [UInt8] = []) throws -> (text: String, status: Int32) {
        let result = try Program.tool("env").run(
            ["LD_PRELOAD=\(library)", "DISK_FILE=\(node)", "DISK_URL=\(url)", try Program.tool(tool).path] + arguments
                + [node], input: input, in: folder)
        return (result.text + result.errors, result.status)
    }

    /// The same, of a program that has to succeed.
    @discardableResult
    func run(
        _ tool: String, _ arguments: [String], input: [UInt8] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let (text, status) = try attempt(tool, arguments, input: input)
        try #require(status == 0, "\(tool) \(arguments) ended with \(status): \(text)", sourceLocation: sourceLocation)
        return text
    }

    /// What `smartctl --json` says, as an object.
    ///
    /// - Parameter mask: bits of the exit status that may be set (smartctl(8), "EXIT STATUS").
    func smartctl(
        _ arguments: [String], mask: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [String: Any] {
        let (text, status) = try attempt("smartctl", ["--json", "-d", "sat"] + arguments)
        try #require(status & ~mask == 0, "smartctl \(arguments): \(status), \(text)", sourceLocation: sourceLocation)
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
        return try #require(object as? [String: Any], sourceLocation: sourceLocation)
    }
}

extension [String: Any] {
    /// A value within objects, by the names on the way to it.
    func at<Found>(_ path: String...) -> Found? {
        var value: Any? = self
        for name in path { value = (value as? [String: Any])?[name] }
        return value as? Found
    }
}
