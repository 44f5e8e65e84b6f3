// NBD_OPT_LIST (checklist D).

import Support
import Testing

@Suite struct ListTests {
    /// Names and descriptions of what LIST answered.
    private func exports(_ replies: [OptionReply]) throws -> [(name: String, description: String)] {
        #expect(replies.last?.type == ReplyType.ack)
        return try replies.dropLast().map { reply in
            guard reply.type == ReplyType.server, reply.data.count >= 4 else { throw Breach("\(reply) in a list") }
            let length = Int(reply.data.number(at: 0, as: UInt32.self))
            guard length <= reply.data.count - 4 else { throw Breach("a name of \(length) bytes") }
            let name = reply.data.bytes(4, length)
            let description = [UInt8](reply.data[(4 + length)...])
            try checkString(name, "a name")
            try checkString(description, "a description")
            return (String(decoding: name, as: UTF8.self), String(decoding: description, as: UTF8.self))
        }
    }

    // 32, 34
    @Test func listNamesEveryExport() throws {
        let image = try ServedImage(options: ["a=memory:1M", "b c=memory:2M", "Ångström=null:1G"])
        let client = try image.negotiate()
        #expect(try exports(client.ask(OptionNumber.list)).map(\.name) == ["a", "b c", "Ångström", "disk"])
        for (name, sizeBytes) in [("a", 1 << 20), ("b c", 2 << 20), ("Ångström", 1 << 30), ("disk", image.sizeBytes)] {
            #expect(
                try exportFacts(client.ask(OptionNumber.info, informationRequest(name))).sizeBytes == UInt64(sizeBytes))
        }
    }

    // 34, 44: the text behind the name is the description.
    @Test func listDescribesEveryExportAsInfoDoes() throws {
        let image = try ServedImage(options: ["a=memory:1M", "--device", "ide-hd,serial=XYZZY"])
        let client = try image.negotiate()
        for (name, description) in try exports(client.ask(OptionNumber.list)) {
            #expect(description.contains("XYZZY"))
            let facts = try exportFacts(
                client.ask(OptionNumber.info, informationRequest(name, [InformationNumber.description])))
            #expect(facts.description == Array(description.utf8))
        }
    }

    // 33
    @Test func listWithDataIsInvalid() throws {
        let client = try ServedImage().negotiate()
        #expect(try client.askOnce(OptionNumber.list, [0]).type == ReplyType.errorInvalid)
        #expect(try client.ask(OptionNumber.list).map(\.type) == [ReplyType.server, ReplyType.ack])
    }

    // 37: more than one send takes.
    @Test func listNamesHundredsOfExports() throws {
        let names = (0..<500).map { "export-\($0)-" + String(repeating: "n", count: 300) }
        let image = try ServedImage(options: names.map { "\($0)=null:512" })
        let client = try image.negotiate()
        #expect(try exports(client.ask(OptionNumber.list)).map(\.name) == names + ["disk"])
        #expect(try client.go(names[499]).sizeBytes == 512)
    }
}
