// Ranges of addresses: what is in them, what is none.

import Testing

@testable import Listening

@Suite struct AddressRangeTests {
    private func address(_ text: String) throws -> InternetAddress { try #require(InternetAddress(text)) }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.8", false),
        ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
        ("::/0", "2001:db8::1", true), ("::1", "::1", true), ("::1", "::2", false),
        ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
        ("2001:db8::8000:0:0:0/65", "2001:db8::8000:0:0:1", true),
        ("2001:db8::8000:0:0:0/65", "2001:db8::7fff:0:0:1", false),
        // A client of IPv4 on a socket of IPv6.
        ("192.0.2.0/24", "::ffff:192.0.2.1", true), ("::ffff:0:0/96", "192.0.2.1", true),
    ])
    func ranges(range: String, client: String, isIn: Bool) throws {
        #expect(try AddressRange(parsing: range).contains(try address(client)) == isIn)
    }

    @Test(arguments: [
        "", "10", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.1/8", "::/129", "::1/64",
        "localhost",
        "10.0.0.0/8/8", "[::1]",
    ])
    func noRanges(text: String) {
        let error = #expect(throws: AddressRangeError.self) { try AddressRange(parsing: text) }
        #expect(error?.description.contains("'\(text)'") == true)
    }
}
