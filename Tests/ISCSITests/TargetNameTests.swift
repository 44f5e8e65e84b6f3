// Names of targets (RFC 7143, 4.2.7; RFC 3722).

import ISCSI
import Testing

/// The checksums were made bit by bit from the polynomial (RFC 3720, B.4) in Python.
@Test(arguments: [
    ("disk", "disk"), ("vm-a", "vm-a"), ("a.b:c-1", "a.b:c-1"), ("vm-A", "vm-a-308d9726"), ("VM-a", "vm-a-2651f667"),
    ("my disk", "my-disk-6f1fa847"), ("my_disk", "my-disk-a1d513b8"), ("h\u{E9}", "h--94de1c7c"),
])
func targetOfAnExport(export: String, end: String) throws {
    let name = try #require(TargetName(export: export, prefix: .standardPrefix))
    #expect(name.text == "iqn.2026-11.org.spindle:" + end)
    #expect(try TargetName(name.text) == name)
}

/// Whatever exports are called, none has another's target because it came first.
@Test func targetsOfExportsThatLookAlike() {
    let exports = ["vm-a", "vm-A", "VM-A", "vm a", "vm_a", "vm/a", "vm\u{E4}a", "vm--a"]
    let names = Set(exports.compactMap { TargetName(export: $0, prefix: .standardPrefix)?.text })
    #expect(names.count == exports.count)
}

@Test func exportsWithoutATarget() {
    #expect(TargetName(export: "", prefix: .standardPrefix) == nil)
    let room = TargetName.maximumBytes - TargetName.standardPrefix.text.utf8.count - 1
    #expect(TargetName(export: String(repeating: "a", count: room), prefix: .standardPrefix) != nil)
    #expect(TargetName(export: String(repeating: "a", count: room + 1), prefix: .standardPrefix) == nil)
    #expect(TargetName(export: String(repeating: "A", count: room), prefix: .standardPrefix) == nil)
}
