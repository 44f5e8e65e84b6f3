// Documents at random, judged by Python's tomllib as well: what one takes the other takes, and both read the same of
// it.

import Seeded
import Support
import TOML
import Testing

@Suite("TOML beside Python's tomllib")
struct PythonTests {
    /// Reads documents, each behind its length on a line; prints one line for each: what it says, or that it is none.
    private static let reader = """
        import sys, tomllib, math
        def say(value):
            if isinstance(value, bool): return 'b' + str(value)
            if isinstance(value, int): return 'i' + str(value) if -2**63 <= value < 2**63 else 'too large'
            if isinstance(value, float): return 'f' + ('nan' if math.isnan(value) else value.hex())
            if isinstance(value, str): return 's' + value.encode().hex()
            if isinstance(value, list): return '[' + ','.join(map(say, value)) + ']'
            if isinstance(value, dict):
                return '{' + ','.join(sorted(key.encode().hex() + '=' + say(value[key]) for key in value)) + '}'
            return 'd'
        data = open(sys.argv[1], 'rb').read()
        while data:
            end = data.index(b'\\n')
            text, data = data[end + 1:end + 1 + int(data[:end])], data[end + 1 + int(data[:end]):]
            try: answer = say(tomllib.loads(text.decode()))
            except ValueError: answer = 'no'
            print('no' if 'too large' in answer else answer)
        """

    private static func say(_ value: TOMLValue) -> String {
        switch value.content {
        case .boolean(let isTrue): "b" + (isTrue ? "True" : "False")
        case .integer(let number): "i\(number)"
        case .float(let number): "f" + (number.isNaN ? "nan" : hexadecimal(number))
        case .string(let text): "s" + hexadecimal(text)
        case .array(let elements): "[" + elements.map(say).joined(separator: ",") + "]"
        case .table(let members):
            "{" + members.map { hexadecimal($0) + "=" + say($1) }.sorted().joined(separator: ",") + "}"
        case .dateTime: "d"
        }
    }

    private static func hexadecimal(_ text: String) -> String {
        text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// As Python's float.hex() writes it.
    private static func hexadecimal(_ number: Double) -> String {
        if number.isInfinite { return number < 0 ? "-inf" : "inf" }
        let sign = number.sign == .minus ? "-" : ""
        if number == 0 { return sign + "0x0.0p+0" }
        let digits = String(number.significandBitPattern, radix: 16)
        let fraction = String(repeating: "0", count: 13 - digits.count) + digits
        let exponent = number.isNormal ? Int(number.exponentBitPattern) - 1023 : -1022
        return sign + "0x\(number.isNormal ? 1 : 0).\(fraction)p\(exponent < 0 ? "" : "+")\(exponent)"
    }

    /// The pieces of documents: sound ones, and some that are so only in some places.
    private static let pieces = [
        "a", "b", "c", "\"a\"", "'b'", "a.b", "b . c", " ", "\t", "\n", "\r\n", "\r", "=", " = ", ",", ".", "[", "]",
        "[[", "]]", "{",
        "}", "[a]\n", "[a.b]\n", "[[a]]\n", "[[a.b]]\n", "a = 1\n", "b.c = 2\n", "a.b.c = 3\n", "c = {", "b = [", "# x",
        "true",
        "false", "0", "1", "-17", "+3", "1_000", "0x1F", "0o17", "0b11", "00", "3.5", "-0.0", "1e5", "6E-3", "inf",
        "-nan", "_", "e",
        "\"x\"", "\"\\n\"", "\"\\u00e9\"", "\"\\uD800\"", "'\\'", "\"\"\"", "'''", "\"", "'", "\\", "\\\n", "\u{1}",
        "é", "\u{7F}",
        "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "T", "Z", "+01:00", ".5", "2021-02-29", "23:59:59",
        "9223372036854775807",
        "9223372036854775808", "1e400", "x = \"\"\"\n", "\"\"\"\n", "y = '''", "'''\n",
    ]

    private static func document(_ random: inout SeededGenerator) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 1...14, using: &random) { text += pieces.randomElement(using: &random)! }
        return text
    }

    @Test("20,000 documents")
    func documents() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let documents = (0..<20_000).map { _ in Self.document(&random) }
        let answers = try Self.answers(to: documents)
        try #require(answers.count == documents.count, "seed \(seed)")
        var sound = 0
        for (document, answer) in zip(documents, answers) {
            let own = (try? TOMLValue(parsing: document)).map(Self.say) ?? "no"
            #expect(own == answer, "seed \(seed): \(document.debugDescription)")
            if own != "no" { sound += 1 }
        }
        // Both kinds have to occur, or the generator does not test what it should.
        #expect((100...19_900).contains(sound), "seed \(seed): \(sound)")
    }

    private static func answers(to documents: [String]) throws -> [String] {
        let folder = try TemporaryFolder()
        let bytes = documents.flatMap { Array("\($0.utf8.count)\n".utf8) + Array($0.utf8) }
        let path = try folder.file("documents", sizeBytes: UInt64(bytes.count), beginning: bytes)
        let result = try Program.tool("python3").run(["-c", reader, path], in: folder)
        try #require(result.status == 0, "\(result)")
        return String(decoding: result.output, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
