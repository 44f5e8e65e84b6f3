// NBD_OPT_EXPORT_NAME (checklist C).

import Support
import Testing

@Suite struct ExportNameTests {
    /// Chooses an export, and takes the answer: size, flags, and 124 zeroes if they were not negotiated away.
    private func choose(_ name: String, flags: UInt32, on client: Client) throws -> (UInt64, UInt16) {
        try client.begin(flags: flags)
        try client.send(option(OptionNumber.exportName, Array(name.utf8)))
        let answer = try client.receive(flags & 2 == 0 ? 134 : 10)
        #expect(answer.dropFirst(10).allSatisfy { $0 == 0 })
        return (answer.number(at: 0, as: UInt64.self), answer.number(at: 8, as: UInt16.self))
    }

    // 22, 23, 25: the answer is followed by the reply to the first request, not by a byte more.
    @Test(arguments: [1, 3] as [UInt32], ["disk", ""])
    func exportNameOpensAnExport(flags: UInt32, name: String) throws {
        let content = pattern(512)
        let image = try ServedImage(content: content)
        let client = try image.connect()
        let (sizeBytes, told) = try choose(name, flags: flags, on: client)
        #expect(sizeBytes == UInt64(image.sizeBytes))
        #expect(told & TransmissionFlag.hasFlags != 0)
        #expect(try client.read(0, 512) == content)
    }

    // 22, 48: what EXPORT_NAME tells is what GO tells.
    @Test func exportNameTellsTheSameAsGo() throws {
        let image = try ServedImage()
        let (sizeBytes, flags) = try choose("disk", flags: 3, on: image.connect())
        let facts = try image.negotiate().go("disk")
        #expect(sizeBytes == facts.sizeBytes)
        #expect(flags == facts.flags)
    }

    // 24, 26, 27: without a way to say no, the server closes: an unknown name, one that is longer than a string may be,
    // one that is no UTF-8, one with NUL.
    @Test(arguments: [
        Array("nowhere".utf8), Array("Disk".utf8), [UInt8](repeating: 0x61, count: 4096),
        [UInt8](repeating: 0x61, count: 4097), [0xFF, 0xFE], [0x64, 0x69, 0x73, 0x6B, 0],
    ])
    func exportNameWithANameThatNoExportHasClosesTheConnection(name: [UInt8]) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        try client.send(option(OptionNumber.exportName, name))
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 26: names up to the longest string work.
    @Test(arguments: [1, 256, 4096])
    func exportNameTakesLongNames(length: Int) throws {
        let name = String(repeating: "é", count: length / 2) + (length % 2 == 1 ? "e" : "")
        let image = try ServedImage(options: ["\(name)=memory:8M"])
        let (sizeBytes, _) = try choose(name, flags: 3, on: image.connect())
        #expect(sizeBytes == 8 << 20)
        let facts = try image.negotiate().go(name, [InformationNumber.name])
        #expect(facts.sizeBytes == 8 << 20)
        #expect(facts.name == Array(name.utf8))
    }

    // 28: a client that cannot ask for the block sizes is served any request.
    @Test func exportNameDoesNotBindTheClientToABlockSize() throws {
        let content = pattern(4096)
        let client = try ServedImage(content: content).connect()
        _ = try choose("disk", flags: 3, on: client)
        #expect(try client.read(3, 1001) == content.bytes(3, 1001))
    }

    // 54: DF needs structured replies, which may be negotiated before EXPORT_NAME as well.
    @Test func exportNameHonoursStructuredReplies() throws {
        let image = try ServedImage(content: pattern(512))
        let client = try image.negotiate()
        try client.negotiateStructuredReplies()
        try client.send(option(OptionNumber.exportName, Array("disk".utf8)))
        let flags = try client.receive(10).number(at: 8, as: UInt16.self)
        #expect(flags & TransmissionFlag.sendDF != 0)
        #expect(try client.perform(.read(0, 512, flags: CommandFlag.df)).data == pattern(512))
    }
}
