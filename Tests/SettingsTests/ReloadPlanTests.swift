// What a server with new settings does with its exports.

import ATA
import Backends
import Server
import Testing

@testable import Settings

@Suite struct ReloadPlanTests {
    private func export(_ name: String, _ image: String = "null:1M", readOnly: Bool = false) throws -> ExportSettings {
        var export = try ExportSettings(name: name, image: image)
        export.drive.readOnly = readOnly
        return export
    }

    @Test func nothingChanges() throws {
        let exports = [try export("a"), try export("b")]
        let plan = ReloadPlan(from: exports, to: exports.reversed())
        #expect(plan.added.isEmpty && plan.changed.isEmpty && plan.removed.isEmpty)
        #expect(Set(plan.unchanged) == ["a", "b"])
        #expect(plan.summary == "no export has changed")
    }

    @Test func someOfEach() throws {
        let old = [try export("a"), try export("b"), try export("c"), try export("d")]
        let new = [
            try export("e"), try export("b", readOnly: true), try export("d", "null:2M"), try export("a"),
            try export("f"),
        ]
        let plan = ReloadPlan(from: old, to: new)
        #expect(plan.added == [new[0], new[4]])
        #expect(plan.changed == [new[1], new[2]])
        #expect(plan.removed == ["c"])
        #expect(plan.unchanged == ["a"])
        #expect(plan.summary == "added 'e', 'f'; changed 'b', 'd'; removed 'c'")
    }

    @Test func fromAndToNothing() throws {
        #expect(ReloadPlan(from: [], to: [try export("a")]).added.map(\.name) == ["a"])
        #expect(ReloadPlan(from: [try export("a")], to: []).removed == ["a"])
    }

    /// Whatever is said about a drive makes another one of it.
    @Test(arguments: [
        "device = 'ide-hd,serial=1'", "controller = 'ich9-ahci'", "cache = 'none'", "read-only = true",
        "description = 'd'", "tls-only = true", "access = [{ user = 1 }]", "connections = 1", "takeover = true",
    ])
    func everyKeyCounts(key: String) throws {
        let plain = try ExportSettings(reading: SettingsValue(toml: "image = 'x'"))
        let other = try ExportSettings(reading: SettingsValue(toml: "image = 'x'\n\(key)"))
        #expect(ReloadPlan(from: [plain], to: [other]).changed == [other])
    }

    @Test func whatNeedsARestart() throws {
        func read(_ text: String) throws -> ServeSettings { try SettingsFile(path: "f", text: text).settings }
        let old = try read("tls = { psk = 'a' }\nexport = [{ image = 'a' }]")
        #expect(old.keysThatNeedRestart(to: old).isEmpty)
        #expect(try old.keysThatNeedRestart(to: read("tls = { psk = 'b', mode = 'require' }")).isEmpty)
        let new = try read("listen = 'vsock:1'\nthreads = 1\nlimits = { stall-seconds = 1 }")
        #expect(old.keysThatNeedRestart(to: new) == ["listen", "threads", "[limits]", "tls.mode"])
        let proven = try read("chap = 'c'\ntarget-prefix = 'iqn.2026-11.org.example'\nreservations = 'r'")
        #expect(try read("").keysThatNeedRestart(to: proven) == ["target-prefix", "chap", "reservations"])
        #expect(
            try proven.keysThatNeedRestart(
                to: read(
                    "chap = 'd'\nchap-target = 'e'\ntarget-prefix = 'iqn.2026-11.org.example'\nreservations = 'r'")
            )
            .isEmpty)
    }
}
