// [[template]]: exports that are alike.

import Backends
import Testing

@testable import Settings

@Suite struct TemplateTests {
    private func read(_ text: String) throws -> ServeSettings { try SettingsFile(path: "/etc/f", text: text).settings }

    private func errors(_ text: String) -> [String] {
        do {
            _ = try SettingsFile(path: "f", text: text)
            return []
        } catch {
            return error.lines
        }
    }

    @Test func asManyAsAreCounted() throws {
        let settings = try read(
            """
            [[export]]
            image = "memory:1M"
            [[template]]
            name = "vm-*-a"
            image = "overlay:base.img"
            count = 3
            device = "ide-hd,rotation_rate=1"
            cache = "none"
            write-cache-model = "volatile"
            connections = 2
            access = [{ user = 7 }]
            """)
        #expect(settings.exports.map(\.name) == ["memory", "vm-1-a", "vm-2-a", "vm-3-a"])
        #expect(settings.exports[1...].allSatisfy { $0.reference == .overlay(path: "/etc/base.img") })
        let drive = settings.exports[3].drive
        #expect(drive.device.rotationRate == 1 && drive.cache == .none && drive.maximumConnections == 2)
        #expect(drive.writeCacheModel != .image && drive.access.count == 1)
        #expect(settings.exports[1].drive == drive)
    }

    /// Two templates beside each other, and a disk of its own for each export.
    @Test func disksOfTheirOwn() throws {
        let settings = try read(
            """
            template = [
                { name = "a*", image = "memory:1M", count = 2 }, { name = "b*", image = "null:1M", count = 1 },
            ]
            """)
        #expect(settings.exports.map(\.name) == ["a1", "a2", "b1"])
        let opened = try OpenedExports(settings, file: nil).served
        #expect(opened.map(\.drive.drive.identifyData.serialNumber) == ["QM00001", "QM00002", "QM00003"])
        for export in opened { export.close() }
    }

    /// Without a count one stands for all that clients will ask for.
    @Test func thoseThatAreAskedFor() throws {
        let settings = try read(
            """
            [[template]]
            name = "vm-*"
            image = "memory:1M"
            [[template]]
            name = "job-*"
            image = "overlay:base.img"
            most = 7
            keep-seconds = 0
            per-client = true
            [[export]]
            image = "null:1M"
            per-client = true
            """)
        #expect(settings.exports.map(\.name) == ["null", "vm-*", "job-*"])
        #expect(settings.exports[0].copies == .ownForConnection(nil) && settings.exports[0].template == nil)
        let vm = try #require(settings.exports[1].template)
        #expect(vm.most == 64 && vm.keepSeconds == nil && settings.exports[1].copies == .named(vm.names))
        let job = try #require(settings.exports[2].template)
        #expect(job.most == 7 && job.keepSeconds == 0)
        #expect(settings.exports[2].copies == .ownForConnection(job.names))
        // Each key makes another template of it.
        for key in ["most = 8", "keep-seconds = 1", "per-client = true", "description = 'd'"] {
            let other = try read("[[template]]\nname = 'vm-*'\nimage = 'memory:1M'\n\(key)").exports
            #expect(ReloadPlan(from: [settings.exports[1]], to: other).changed.count == 1, "\(key)")
        }
    }

    @Test(arguments: [
        (
            "image = 'disk.img'",
            "f:4: export 'x'.per-client: clients cannot have disks of their own in one image: 'overlay:disk.img' gives each "
                + "one above it"
        ),
        (
            "image = 'memory:1M'\ntarget = 'iqn.2026-11.org.example:a'",
            "f:5: export 'x'.per-client: only clients of NBD can have disks of their own: leave target and lun out"
        ),
        (
            "image = 'memory:1M'\nrecord = 'r'",
            "f:5: export 'x'.per-client: a recording is of one disk, and each client has its own: leave record out"
        ),
        (
            "image = 'overlay:disk.img'\nchanges = 'c'",
            "f:5: export 'x'.per-client: a disk of a client's own is gone with it, and nothing keeps changes: leave changes out"
        ),
        (
            "image = 'memory:1M'\ntakeover = true",
            "f:5: export 'x'.per-client: there is nothing to take over where each client has a disk of its own: leave takeover "
                + "out"
        ),
    ])
    func disksOfNobodysOwn(keys: String, message: String) {
        #expect(errors("[[export]]\nname = 'x'\n\(keys)\nper-client = true") == [message])
    }

    @Test(arguments: [
        ("count = 1", "f:1: template 1: name is missing", "f:1: template 1: image is missing"),
        (
            "name = 'a'\nimage = 'memory:1M'\ncount = 1",
            "f:2: template 'a'.name: a template's name has one * for what makes its exports differ, as in vm-*", ""
        ),
        (
            "name = 'a**'\nimage = 'memory:1M'\ncount = 1",
            "f:2: template 'a**'.name: a template's name has one * for what makes its exports differ, as in vm-*", ""
        ),
        (
            "name = 'a*'\nimage = 'b.img'\ncount = 1",
            "f:3: template 'a*'.image: the exports of a template cannot write to one image: 'overlay:b.img' gives each a "
                + "disk of its own above it", ""
        ),
        (
            "name = 'a*'\nimage = 'null:0'\ncount = 1",
            "f:3: template 'a*'.image: image 'null:0' is empty; a drive has at least one sector of 512 bytes", ""
        ),
        (
            "name = 'a*'\nimage = 'memory:1M'\ncount = 0",
            "f:4: template 'a*'.count: 0 is not allowed: a number from 1 to 4096 is needed", ""
        ),
        (
            "name = 'a*'\nimage = 'memory:1M'\ncount = 1\nmost = 2\nkeep-seconds = 3",
            "f:5: template 'a*'.most: it is for exports that clients ask for: leave count out, or this",
            "f:6: template 'a*'.keep-seconds: it is for exports that clients ask for: leave count out, or this"
        ),
        (
            "name = 'a*'\nimage = 'memory:1M'\ncount = 1\nlun = 1",
            "f:5: template 'a*'.lun: there is no such key; it belongs in [[export]]", ""
        ),
    ])
    func mistakes(keys: String, first: String, second: String) {
        #expect(errors("[[template]]\n" + keys) == [first, second].filter { !$0.isEmpty })
    }

    /// What is wrong with all of them is said once.
    @Test func oneErrorForAll() throws {
        let text = "[[template]]\nname = 'a*'\nimage = 'overlay:/no.such.file'\ncount = 9\ntls-only = true"
        let file = try SettingsFile(path: "f", text: text)
        #expect(file.dilemmas(ServeSettings()).map(\.line) == [5])
        let error = #expect(throws: SettingsErrors.self) { try OpenedExports(file.settings, file: file) }
        #expect(error?.errors.map(\.line) == [3])
    }

    @Test func namesThatAreThere() {
        let text = "[[export]]\nname = 'a2'\nimage = 'x'\n[[template]]\nname = 'a*'\nimage = 'memory:1M'\ncount = 2"
        #expect(
            errors(text) == ["f:5: export 'a2'.name: an export before it has this name, too; give one another name"])
    }

    /// With another count some come or go, and the others notice nothing.
    @Test func anotherCount() throws {
        func exports(_ count: Int) throws -> [ExportSettings] {
            try read("[[template]]\nname = 'a*'\nimage = 'memory:1M'\ncount = \(count)").exports
        }
        let plan = ReloadPlan(from: try exports(2), to: try exports(3))
        #expect(plan.summary == "added 'a3'" && plan.unchanged == ["a1", "a2"])
        #expect(ReloadPlan(from: try exports(3), to: try exports(1)).removed == ["a2", "a3"])
    }
}
