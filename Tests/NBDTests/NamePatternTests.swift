// Facts that stand for several exports: which names they have, and what a handshake says of them (NBD protocol, "Option
// types").

import NBD
import Testing

@Suite struct NamePatternTests {
    @Test(arguments: [
        ("vm-*", "vm-a", true), ("vm-*", "vm-A.b_c-9", true), ("vm-*", "vm-", false), ("vm-*", "vm", false),
        ("vm-*", "wm-a", false), ("vm-*", "vm-a/b", false), ("vm-*", "vm-*", false), ("vm-*", "vm-a b", false),
        ("vm-*", "vm-\u{E4}", false), ("vm-*", "", false), ("*", "a", true), ("*", "", false),
        ("a*z", "amz", true), ("a*z", "az", false), ("a*a", "a", false), ("a*z", "am", false),
        ("\u{E4}*", "\u{E4}1", true), ("*", String(repeating: "n", count: 64), true),
        ("x*y", "x" + String(repeating: "n", count: 65) + "y", false),
    ])
    func names(pattern: String, name: String, isOne: Bool) throws {
        #expect(try #require(NamePattern(pattern)).matches(Array(name.utf8)) == isOne)
    }

    @Test func patterns() {
        #expect(NamePattern("vm") == nil && NamePattern("v**") == nil && NamePattern("*v*") == nil)
        #expect(NamePattern("vm-*-x")?.name("7") == "vm-7-x")
        #expect(NamePattern("vm-*-x")?.longestNameBytes == 69)
    }

    /// `disk`, and whatever is called `vm-*`, without CAN_MULTI_CONN.
    private var withPattern: [ExportInformation] {
        var pattern = archive
        pattern.pattern = NamePattern("vm-*")
        return [pattern, disk]
    }

    @Test func noListNamesThem() {
        let listed = replies(to: option(3), exports: withPattern)
        #expect(listed.map(\.type) == [2, 1])
        #expect(listed.first?.data.dropFirst(4).starts(with: Array("disk".utf8)) == true)
    }

    /// The answer has the name that was asked for, and so has the session, which is told to open the pattern's place.
    @Test func whatIsAskedFor() throws {
        let asked = replies(to: option(6, infoData("vm-x", [1])), exports: withPattern)
        let name = asked.first { $0.type == 3 && $0.data.starts(with: [0, 1]) }
        #expect(name?.data.dropFirst(2) == Array("vm-x".utf8)[...])
        var session = Session()
        session.directory = withPattern
        let stream = noZeroes + option(7, infoData("vm-x"))
        let (_, event) = session.advance(stream.span.bytes)
        guard case .open(unit: 0) = event else {
            Issue.record("\(event)")
            return
        }
        #expect(session.chosenName == Array("vm-x".utf8))
    }

    @Test(arguments: ["vm-", "vm-a/b", "vm-*", "archive", "wm-a"]) func whatIsUnknown(name: String) {
        let answers = replies(to: option(7, infoData(name)), exports: withPattern)
        #expect(answers.map(\.type) == [0x8000_0006])
    }

    /// A pattern is nobody's default.
    @Test func theEmptyName() {
        let outcome = handshake(noZeroes + option(7, infoData("")), withPattern)
        guard case .transmission(_, export: 1, _) = outcome.end else {
            Issue.record("\(outcome)")
            return
        }
        #expect(replies(to: option(7, infoData("")), exports: [withPattern[0]]).map(\.type) == [0x8000_0006])
    }

    /// A context that was selected for one of them is not another one's.
    @Test(arguments: [("vm-a", "vm-a", true), ("vm-a", "vm-b", false)])
    func contexts(selected: String, opened: String, hasContext: Bool) {
        let query = Array("base:allocation".utf8)
        let data =
            bigEndian(UInt64(selected.utf8.count), bytes: 4) + Array(selected.utf8) + bigEndian(1, bytes: 4)
            + bigEndian(UInt64(query.count), bytes: 4) + query
        let outcome = handshake(
            noZeroes + option(8) + option(10, data) + option(7, infoData(opened)), withPattern)
        guard case .transmission(_, export: 0, let parameters) = outcome.end else {
            Issue.record("\(outcome)")
            return
        }
        #expect(parameters.hasAllocationContext == hasContext)
    }
}
