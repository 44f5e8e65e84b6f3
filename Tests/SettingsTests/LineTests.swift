// Every value has the line of its key, however the document is written.

import Settings
import Testing

@Suite struct LineTests {
    /// The line at a path of keys and, for elements, numbers.
    private func line(_ document: String, _ path: String...) throws -> Int? {
        var value = try SettingsValue(toml: document)
        for step in path {
            switch value.content {
            case .table(let members): value = try #require(members[step])
            case .array(let elements): value = elements[try #require(Int(step))]
            default: Issue.record("\(step) of \(value)")
            }
        }
        return value.line
    }

    @Test func keysAndComments() throws {
        let document = """
            # a = 1
            b = 1  # c = 2

            "c" = 'x'
            'd' = 1979-05-27 07:32:00
            e . f = true
            """
        #expect(try line(document, "b") == 2)
        #expect(try line(document, "c") == 4)
        #expect(try line(document, "d") == 5)
        #expect(try line(document, "e") == 6)
        #expect(try line(document, "e", "f") == 6)
    }

    @Test func stringsThatLookLikeDocuments() throws {
        let document = #"""
            a = """
            [b]
            b = 1 \""" "" # not the end
            """""
            b = '''
            c = "'''
            c = "\\" # "
            d = '\'
            e = ""
            f = ''
            g = """"""
            h = ''''''
            i = "]" # [
            j = 1
            """#
        let a = try SettingsValue(toml: document)
        guard case .table(let members) = a.content else { return }
        let lines = members.mapValues(\.line)
        #expect(
            lines == ["a": 1, "b": 5, "c": 7, "d": 8, "e": 9, "f": 10, "g": 11, "h": 12, "i": 13, "j": 14], "\(lines)")
    }

    @Test func tables() throws {
        let document = """
            [a]
            x = 1
            [ b . "c" ]
            x = 1
            [[d]]
            x = 1
            [[d]]

            x = 1
            [d.e]
            y = 1
            [[d.f]]
            [[d.f]]
            z = 1
            [[d]]
            """
        #expect(try line(document, "a") == 1)
        #expect(try line(document, "a", "x") == 2)
        #expect(try line(document, "b", "c") == 3)
        #expect(try line(document, "b", "c", "x") == 4)
        #expect(try line(document, "d", "0") == 5)
        #expect(try line(document, "d", "0", "x") == 6)
        #expect(try line(document, "d", "1", "x") == 9)
        #expect(try line(document, "d", "1", "e", "y") == 11)
        #expect(try line(document, "d", "1", "f", "1", "z") == 14)
        #expect(try line(document, "d", "2") == 15)
    }

    @Test func listsAndInlineTables() throws {
        let document = """
            a = [ 1, "two", # ]
              [ 3.5,
                { x = 1, y.z = [
                  2,
                  3 ] } ],
            ]
            b = { c = 1, d = "}" }
            c = 0x10
            """
        #expect(try line(document, "a", "1") == 1)
        #expect(try line(document, "a", "2") == 2)
        #expect(try line(document, "a", "2", "1", "x") == 3)
        #expect(try line(document, "a", "2", "1", "y", "z", "1") == 5)
        #expect(try line(document, "b", "d") == 7)
        #expect(try line(document, "c") == 8)
    }

    @Test func windowsLinesAndByteOrderMark() throws {
        #expect(try line("\u{FEFF}a = 1\r\n\r\nb = 2\r\n", "a") == 1)
        #expect(try line("\u{FEFF}a = 1\r\n\r\nb = 2\r\n", "b") == 3)
    }

    @Test func keysWithEscapes() throws {
        #expect(try line("[t]\n\n\"\\u0061\" = 1", "t", "a") == 3)
    }

    @Test(arguments: [
        ("a = 1\nb = = 2\n", 2), ("a = 1\na = 2\n", 2), ("[a]\nb = 1\n[a]\n", 3), ("a = \"x\n", 1), ("a = [1,\n2", 2),
        ("[[a]]\n[a]\n", 2), ("a = 1\n\nb = \"\\u0000\"", 3), ("a = \"\"\"\n\\U00000000\"\"\"", 1),
        ("a = {\"\\u0000\" = 1}", 1),
    ])
    func errorsOfSyntax(document: String, line: Int) throws {
        let error = #expect(throws: SettingsError.self) { try SettingsValue(toml: document) }
        #expect(error?.line == line, "\(document): \(String(describing: error))")
    }

    @Test func aNULInTheFile() {
        #expect(throws: SettingsError("this is no text: there is a NUL byte in it")) {
            try SettingsValue(toml: "a = 1\0\nb =")
        }
    }
}
