// NBD_OPT_INFO and NBD_OPT_GO (checklist E), the size constraints that they tell (checklist H).

import Support
import Testing

@Suite struct InformationTests {
    private static let both = [OptionNumber.info, OptionNumber.go]

    // 38, 39: EXPORT comes unasked; after GO the next bytes are the reply to the first request, zeroes negotiated or
    // not.
    @Test(arguments: [1, 3] as [UInt32])
    func infoAndGoTellSizeAndFlags(flags: UInt32) throws {
        let content = pattern(512)
        let image = try ServedImage(content: content)
        let client = try image.connect()
        try client.begin(flags: flags)
        let told = try exportFacts(client.ask(OptionNumber.info, informationRequest("disk")))
        #expect(told.sizeBytes == UInt64(image.sizeBytes))
        #expect(told.flags & TransmissionFlag.hasFlags != 0)
        #expect(told.types == [InformationNumber.export])
        #expect(try client.go("disk") == told)
        #expect(try client.read(0, 512) == content)
    }

    // 40: a name that is longer than the data, request counts that do not match, data too short.
    @Test(arguments: both)
    func malformedDataAreInvalid(number: UInt32) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        let sound = informationRequest("disk", [InformationNumber.name])
        var malformed: [[UInt8]] = [
            [], [0], .zeroes(5), sound + [0], sound + [0, 0], sound.dropLast(), sound.dropLast(2),
        ]
        for nameBytes in [5, 7, 100, 0x7FFF_FFFF, 0xFFFF_FFFB, 0xFFFF_FFFF] as [UInt32] {
            var length: [UInt8] = []
            length.append(number: nameBytes)
            malformed.append(length + sound.dropFirst(4))
        }
        for count in [0, 2, 0x7FFF, 0xFFFF] as [UInt16] {
            var data = sound
            var bytes: [UInt8] = []
            bytes.append(number: count)
            data.overwrite(8, with: bytes)
            malformed.append(data)
        }
        for data in malformed {
            #expect(try client.askOnce(number, data).type == ReplyType.errorInvalid, "\(data)")
        }
        #expect(try client.go("disk").sizeBytes == UInt64(image.sizeBytes))
    }

    // 26, 27: names that no string may be.
    @Test(arguments: both)
    func namesThatAreNoStringsAreInvalid(number: UInt32) throws {
        let client = try ServedImage().negotiate()
        for name in [[0xFF, 0xFE], [0x64, 0], [UInt8](repeating: 0x61, count: 4097)] as [[UInt8]] {
            #expect(try client.askOnce(number, informationRequest(bytes: name)).type == ReplyType.errorInvalid)
        }
        try client.go("disk")
    }

    // 26: an unknown name of any allowed length is unknown, and no more.
    @Test(arguments: both, [1, 256, 4096])
    func longUnknownNamesAreUnknown(number: UInt32, length: Int) throws {
        let client = try ServedImage().negotiate()
        let name = String(repeating: "x", count: length)
        #expect(try client.askOnce(number, informationRequest(name)).type == ReplyType.errorUnknown)
        try client.go("disk")
    }

    // 16, 40: data that are longer than any sound ones.
    @Test(arguments: both)
    func dataThatAreTooLongAreRefused(number: UInt32) throws {
        let client = try ServedImage().negotiate()
        let reply = try client.askOnce(number, informationRequest("disk", [UInt16](repeating: 9, count: 20_000)))
        #expect([ReplyType.errorTooBig, ReplyType.errorInvalid].contains(reply.type))
        try client.go("disk")
    }

    // 41, 42: unknown types are ignored, a type that is asked for twice comes once (the client checks that).
    @Test(arguments: both)
    func unknownAndRepeatedTypesDoNoHarm(number: UInt32) throws {
        let client = try ServedImage().negotiate()
        let facts = try exportFacts(client.ask(number, informationRequest("disk", [0x1234, 1, 0xFFFF, 1, 0, 0, 3, 3])))
        #expect(Set(facts.types) == [InformationNumber.export, InformationNumber.name, InformationNumber.blockSize])
    }

    // 43: the empty name is the first export's, and NAME says which one that is.
    @Test(arguments: both)
    func theEmptyNameIsTheFirstExport(number: UInt32) throws {
        let image = try ServedImage(options: ["first=memory:3M"])
        let client = try image.negotiate()
        let facts = try exportFacts(client.ask(number, informationRequest("", [InformationNumber.name])))
        #expect(facts.name == Array("first".utf8))
        #expect(facts.sizeBytes == 3 << 20)
    }

    // 44: the description says what the drive is.
    @Test func descriptionIsTheDrive() throws {
        let image = try ServedImage(sizeBytes: 8 << 20, options: ["--device", "ide-hd,serial=918a6997-1928-38a1-9"])
        let facts = try image.negotiate().go("disk", [InformationNumber.description])
        let text = String(decoding: facts.description ?? [], as: UTF8.self)
        #expect(text == "QEMU HARDDISK 2.5+, serial 918a6997-1928-38a1-9, 16384 sectors")
    }

    // 45, 46, 87, 88, 89: powers of two in their bounds; 32 MiB of payload; the size is a multiple of the smallest
    // block.
    @Test(arguments: ["ide-hd", "ide-hd,physical_block_size=4096", "ide-hd,physical_block_size=16384"])
    func blockSizesKeepToTheRules(device: String) throws {
        let facts = try ServedImage(options: ["--device", device]).negotiate().go("disk", [InformationNumber.blockSize])
        let sizes = try #require(facts.blockSizes)
        #expect(sizes[0].nonzeroBitCount == 1 && sizes[0] <= 65536)
        #expect(sizes[1].nonzeroBitCount == 1 && sizes[1] >= max(sizes[0], 512))
        #expect(sizes[2] >= sizes[1] && sizes[2] >= 1 << 20)
        #expect(facts.sizeBytes % UInt64(sizes[0]) == 0)
        if device.contains("16384") { #expect(sizes[1] == 16384) }
    }

    // 47, 49: no information before ERR_UNKNOWN; the next GO works.
    @Test(arguments: both)
    func anUnknownExportIsRefusedAndAnotherCanBeOpened(number: UInt32) throws {
        let client = try ServedImage().negotiate()
        for name in ["nowhere", "DISK", "disk.img", "disk "] {
            #expect(try client.askOnce(number, informationRequest(name)).type == ReplyType.errorUnknown)
        }
        try client.go("disk")
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 48, 50: the same question has the same answer, whatever is asked for; BLOCK_SIZE is never required.
    @Test func goTellsWhatInfoTold() throws {
        let image = try ServedImage()
        for types in [[], [0], [3], [1, 2, 3], [3, 2, 1, 0]] as [[UInt16]] {
            let client = try image.negotiate()
            try client.negotiateStructuredReplies()
            let told = try exportFacts(client.ask(OptionNumber.info, informationRequest("disk", types)))
            #expect(try client.go("disk", types) == told)
            #expect(Set(told.types) == Set(types).union([0]))
        }
    }

    // 96: a size that is no multiple of a sector is rounded up; what is behind the file's end reads as zeroes, and
    // writing there extends the file.
    @Test(arguments: [1, 511, 513, 1000, 1_048_575])
    func oddSizesAreRoundedUpToASector(bytes: Int) throws {
        let content = pattern(bytes)
        let image = try ServedImage(sizeBytes: bytes, content: content)
        let client = try image.negotiate()
        let sizeBytes = Int(try client.go().sizeBytes)
        #expect(sizeBytes == (bytes + 511) / 512 * 512)
        let whole = content + .zeroes(sizeBytes - bytes)
        #expect(try client.read(sizeBytes - 512, 512) == whole.bytes(sizeBytes - 512, 512))
        try client.performSuccessfully(.write(sizeBytes - 1, [7]))
        #expect(try client.read(sizeBytes - 512, 512) == whole.bytes(sizeBytes - 512, 511) + [7])
        #expect(try image.server.stop() == 0)
        #expect(try image.folder.bytes(ServedImage.fileName) == whole.dropLast() + [7])
    }
}
