// The manual pages, as make install makes them: read by mandoc, which complains of what other readers would stumble
// over.

import Foundation
import Support
import Testing

@Suite struct ManualTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Scripts/make-manuals")
        _ = try run(try Program.tool("python3"), [script.path, Program.spindle.path, folder.path])
    }

    private func run(_ program: Program, _ arguments: [String]) throws -> String {
        let result = try program.run(arguments, in: folder)
        #expect(result.status == 0, "\(result.errors)")
        return result.text
    }

    /// A page as people see it, without its bold and underlined letters.
    private func text(_ page: String) throws -> String {
        try run(try Program.tool("mandoc"), ["-T", "utf8", "-O", "width=200", folder.path + "/" + page])
            .replacing(/.\u{8}/, with: "")
    }

    @Test(arguments: ["spindle.1", "spindle.toml.5"]) func nothingIsWrongWithIt(page: String) throws {
        let result = try Program.tool("mandoc").run(
            ["-T", "lint", "-W", "warning", folder.path + "/" + page], in: folder)
        // No page of a program has a date that would be true.
        let complaints = result.text.split(separator: "\n").filter { !$0.contains("missing date") }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    /// Every option that a command's help has.
    @Test(arguments: ["serve", "check", "identify", "tls-keys", "bench"]) func everyOptionIsInIt(command: String) throws
    {
        let help = try run(Program.spindle, [command, "--help"])
        let options = Set(help.matches(of: /(?m)^ +(?:-\w, )?(--[a-z-]+)/).map { String($0.1) })
        #expect(options.count > 2)
        let page = try text("spindle.1")
        for option in options { #expect(page.contains(option), "\(command) \(option)") }
        #expect(page.contains("spindle \(command)"))
    }

    /// docs/reference.md has each option of `serve` in its synopsis and in its table.
    @Test func theReferenceHasEveryOption() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let reference = try String(
            contentsOf: root.appendingPathComponent("docs/reference.md"), encoding: .utf8)
        let commands = try #require(reference.split(separator: "```").dropFirst().first)
        let synopsis = commands.split(separator: "spindle ctl")[0]
        let table = try #require(reference.split(separator: "## Options of serve").last).split(separator: "\n## ")[0]
        let help = try run(Program.spindle, ["serve", "--help"])
        let options = Set(help.matches(of: /(?m)^ +(?:-\w, )?(--[a-z-]+)/).map { String($0.1) })
        #expect(options.count > 30)
        for option in options.subtracting(["--version", "--help"]).sorted() {
            #expect(synopsis.contains("[\(option)]") || synopsis.contains("[\(option) "), "\(option)")
            #expect(table.contains("`\(option)`"), "\(option)")
        }
    }

    @Test func everyKeyIsInIt() throws {
        let page = try text("spindle.toml.5")
        let keys = try run(Program.spindle, ["check", "--keys"]).split(separator: "\n")
        #expect(keys.count > 15)
        for key in keys {
            let fields = key.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            #expect(fields.count == 5)
            #expect(page.contains("\(fields[1]) = \(fields[2])"), "\(key)")
        }
        for table in ["[tls]", "[limits]", "[[export]]"] { #expect(page.contains(table)) }
    }
}
