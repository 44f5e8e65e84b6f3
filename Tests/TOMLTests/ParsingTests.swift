// What documents say, what is no document, and where it stops being one (TOML 1.0.0).

import TOML
import Testing

@Suite("TOML documents")
struct ParsingTests {
    /// The value at a path of keys and, for elements, numbers.
    private func value(_ document: String, _ path: String...) throws -> TOMLValue.Content {
        var value = try TOMLValue(parsing: document)
        for step in path {
            switch value.content {
            case .table(let members): value = try #require(members[step])
            case .array(let elements): value = elements[try #require(Int(step))]
            default: Issue.record("\(step) of \(value)")
            }
        }
        return value.content
    }

    @Test("strings of four kinds")
    func strings() throws {
        #expect(try value(#"a = "\b\t\n\f\r\"\\\u00e9\U0001F600""#, "a") == .string("\u{8}\t\n\u{C}\r\"\\é😀"))
        #expect(try value(#"a = 'C:\n'"#, "a") == .string(#"C:\n"#))
        #expect(
            try value("a = \"\"\"\r\none\r\n  two\\   \n\n   three\"\"\"\"\"", "a") == .string("one\n  twothree\"\""))
        #expect(try value("a = '''\none\\\n''two'''''", "a") == .string("one\\\n''two''"))
        #expect(try value("a = \"\"", "a") == .string(""))
        #expect(try value("\u{FEFF}\"a b\".'' = 1", "a b", "") == .integer(1))
    }

    @Test(
        "numbers of all forms",
        arguments: [
            ("+99", .integer(99)), ("-0", .integer(0)), ("1_000", .integer(1000)),
            ("0xDead_beef", .integer(0xDEAD_BEEF)),
            ("0o755", .integer(0o755)), ("0b1101", .integer(13)), ("9223372036854775807", .integer(.max)),
            ("-9223372036854775808", .integer(.min)), ("3.1415", .float(3.1415)), ("-2E-2", .float(-0.02)),
            ("6.626e-34", .float(6.626e-34)), ("1e06", .float(1e6)), ("9_224.5", .float(9224.5)),
            ("-inf", .float(-.infinity)),
        ] as [(String, TOMLValue.Content)])
    func numbers(_ text: String, _ expected: TOMLValue.Content) throws {
        #expect(try value("a = \(text)", "a") == expected)
    }

    @Test(
        "dates and times are checked, and kept as they are",
        arguments: [
            "1979-05-27T07:32:00Z", "1979-05-27 00:32:00.999999-07:00", "1979-05-27t07:32:00", "2000-02-29",
            "07:32:00.5",
        ])
    func dates(_ text: String) throws {
        #expect(try value("a = [\(text)]", "a", "0") == .dateTime(text))
    }

    @Test("tables, dotted keys, arrays of tables, inline tables")
    func tables() throws {
        let document = """
            x.y = 1
            x."z" = 2
            [a.b]
            c = { d.e = [1, 2, # two
              3,
            ], f = {} }
            [a]
            [[list]]
            n = 1
            [list.of]
            m = true
            [[list]]
            [x.w]
            """
        #expect(try value(document, "x", "z") == .integer(2))
        #expect(try value(document, "x", "w") == .table([:]))
        #expect(try value(document, "a", "b", "c", "d", "e", "2") == .integer(3))
        #expect(try value(document, "list", "0", "of", "m") == .boolean(true))
        #expect(try value(document, "list", "1") == .table([:]))
        #expect(try value("# nothing") == .table([:]))
    }

    @Test(
        "what is no document, and in which line",
        arguments: [
            // Lines that end too early or too late.
            ("a", 1), ("a =", 1), ("a = 1 b = 2", 1), ("\n[a", 2), ("[a] b = 1", 1), ("[[a]", 1), ("[]", 1),
            ("a.. = 1", 1),
            ("= 1", 1), ("a = [1 2]", 1), ("a = [1,\n\n,]", 3), ("a = { b = 1, }", 1), ("a = { b = 1\n}", 1),
            ("a = [", 1),
            ("a = 1\r", 1), ("a \n= 1", 1),
            // Strings.
            ("a = \"x", 1), ("a = \"x\ny\"", 1), ("a = '''x\n\n", 3), (#"a = "\x41""#, 1), (#"a = "\ud800""#, 1),
            (#"a = "\u12""#, 1), ("a = \"\u{1}\"", 1), ("# \u{7F}", 1), ("'''a''' = 1", 1), (#"a = "\U00110000""#, 1),
            // Numbers.
            ("a = 01", 1), ("a = 1__0", 1), ("a = _1", 1), ("a = 1.", 1), ("a = .5", 1), ("a = 1e", 1), ("a = 0x", 1),
            ("a = +0x1", 1), ("a = 9223372036854775808", 1), ("a = 0b2", 1), ("a = 1.e5", 1), ("a = yes", 1),
            ("a = Inf", 1),
            // Dates. The first ended the process that a library parsed it in.
            ("a = 1979-05-27Tlistls07:32:00Z", 1), ("a = 1979-13-01", 1), ("a = 2001-02-29", 1), ("a = 1900-02-29", 1),
            ("a = 24:00:00", 1),
            ("a = 07:32", 1), ("a = 1979-05-27 07", 1), ("a = 1979-05-27T07:32:00+24:00", 1), ("a = 07:32:00.", 1),
            // Tables that are there already.
            ("a = 1\na = 2", 2), ("[a]\n[a]", 2), ("a.b = 1\n[a]", 2), ("a = {}\n[a.b]", 2), ("a = []\n[[a]]", 2),
            ("[[a]]\n[a]", 2), ("[a]\n[[a]]", 2), ("[a.b.c]\nz = 1\n[a]\nb.c.t = 2", 4), ("a = 1\na.b = 2", 2),
            ("[a]\nb.c = 1\n[a.b]", 3), ("a = { b = 1, b = 2 }", 1), ("a = { b = {}, b.c = 1 }", 1),
            ("[[a.b]]\n[a]\nb.c = 1", 3), ("a = { b = 1 }\na.c = 2", 2),
        ])
    func errors(_ document: String, _ line: Int) {
        let error = #expect(throws: TOMLError.self) { try TOMLValue(parsing: document) }
        #expect(error?.line == line && error?.description.isEmpty == false, "\(String(describing: error))")
    }

    @Test(
        "nothing is nested deeper than the limit, and everything up to it is",
        arguments: [
            ("a = ", "[", "", "]", ""), ("a = ", "{ b = ", "1", "}", ""), ("", "a.", "a", "", " = 1"),
            ("[", "a.", "a", "", "]"), ("[[", "a.", "a", "", "]]"), ("x = { ", "a.", "a", "", " = 1 }"),
        ])
    func depth(_ start: String, _ open: String, _ middle: String, _ close: String, _ end: String) throws {
        let document = { (count: Int) in
            start + String(repeating: open, count: count) + middle + String(repeating: close, count: count) + end
        }
        // What a library's recursion, or ours, would not have survived.
        for count in [TOMLValue.maximumDepth + 1, 200_000] {
            let error = #expect(throws: TOMLError.self) { try TOMLValue(parsing: document(count)) }
            #expect(error?.line == 1)
            #expect(error?.description == "tables and lists are nested more than 64 deep")
        }
        _ = try TOMLValue(parsing: document(TOMLValue.maximumDepth - 4))
    }

    @Test("a long document takes no longer for each of its lines")
    func length() throws {
        let tables = String(repeating: "[[a]]\nb = 1\n", count: 20_000)
        guard case .array(let elements) = try value(tables, "a") else { return #expect(Bool(false), "no array") }
        #expect(elements.count == 20_000 && elements[19_999].line == 39_999)
    }
}
