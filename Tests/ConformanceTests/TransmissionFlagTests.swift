// Transmission flags: what they say, and that the commands and command flags keep to it (checklist I).

import Support
import Testing

@Suite struct TransmissionFlagTests {
    private static let always = TransmissionFlag.hasFlags | TransmissionFlag.canMultiConn | TransmissionFlag.sendCache
    private static let writable =
        always | TransmissionFlag.sendFlush | TransmissionFlag.sendTrim | TransmissionFlag.sendWriteZeroes
        | TransmissionFlag.sendFastZero | TransmissionFlag.rotational

    /// A drive, and the flags that follow from it without structured replies.
    struct Drive: CustomTestStringConvertible {
        let options: [String]
        let flags: UInt16
        var testDescription: String { options.joined(separator: " ") }

        /// Serves it from memory, which is fast at zeroing everywhere.
        func serve() throws -> ServedImage {
            try ServedImage(options: options + ["memory:1M"])
        }
    }

    private static let drives = [
        Drive(options: [], flags: writable),
        Drive(options: ["--cache", "writethrough"], flags: writable & ~TransmissionFlag.sendFlush),
        Drive(options: ["--device", "ide-hd,write-cache=off"], flags: writable & ~TransmissionFlag.sendFlush),
        Drive(options: ["--device", "ide-hd,discard_granularity=0"], flags: writable & ~TransmissionFlag.sendTrim),
        Drive(options: ["--device", "ide-hd,rotation_rate=1"], flags: writable & ~TransmissionFlag.rotational),
        Drive(options: ["--device", "ide-hd,rotation_rate=7200"], flags: writable),
        Drive(options: ["--read-only"], flags: always | TransmissionFlag.readOnly | TransmissionFlag.rotational),
    ]

    // 97, 111, 112, 125
    @Test(arguments: drives)
    func flagsFollowFromTheDrive(drive: Drive) throws {
        #expect(try drive.serve().negotiate().go("memory").flags == drive.flags)
    }

    // 54: DF is there if, and only if, structured replies were negotiated before.
    @Test func theDFFlagNeedsStructuredReplies() throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        let before = try exportFacts(client.ask(OptionNumber.info, informationRequest()))
        #expect(before.flags & TransmissionFlag.sendDF == 0)
        try client.negotiateStructuredReplies()
        #expect(try client.go().flags == before.flags | TransmissionFlag.sendDF)
    }

    // 97, 101, 104, 110: a command is served if its flag was told, and otherwise refused with EINVAL.
    @Test(arguments: drives, [false, true])
    func commandsWorkIfTheirFlagIsThere(drive: Drive, structured: Bool) throws {
        let client = try drive.serve().server.open("memory", structured: structured)
        let isReadOnly = drive.flags & TransmissionFlag.readOnly != 0
        for (request, flag) in [
            (.flush, TransmissionFlag.sendFlush), (.cache(0, 4096), TransmissionFlag.sendCache),
            (.trim(0, 4096), TransmissionFlag.sendTrim), (.zero(0, 4096), TransmissionFlag.sendWriteZeroes),
            (.zero(0, 4096, flags: CommandFlag.fastZero), TransmissionFlag.sendFastZero),
            (Request(type: CommandNumber.resize, offset: 1 << 21), TransmissionFlag.sendResize),
        ] as [(Request, UInt16)] {
            let writes = [CommandNumber.trim, CommandNumber.writeZeroes].contains(request.type)
            let refusal = isReadOnly && writes ? ErrorNumber.notPermitted : ErrorNumber.invalid
            #expect(
                try client.perform(request).error == (drive.flags & flag != 0 ? 0 : refusal), "command \(request.type)")
        }
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 102, 104, 126: a flag that was not advertised, is not known or belongs to another command is EINVAL; a refused
    // WRITE's payload is stepped over.
    @Test(arguments: [false, true])
    func flagsThatDoNotFitAreRefused(structured: Bool) throws {
        let content = pattern(8192)
        let image = try ServedImage(content: content)
        let client = try image.open(structured: structured)
        let fitting: [(Request, UInt16)] = [
            (.read(0, 1024), structured ? CommandFlag.df : 0), (.write(0, pattern(1024, seed: 9)), 0),
            (.trim(0, 1024), 0), (.flush, 0), (.cache(0, 1024), 0),
            (.zero(0, 1024), CommandFlag.noHole | CommandFlag.fastZero),
        ]
        for (request, allowed) in fitting {
            for bit in 0..<16 where allowed & 1 << UInt16(bit) == 0 {
                var request = request
                request.flags = 1 << UInt16(bit)
                #expect(try client.perform(request).error == ErrorNumber.invalid, "command \(request.type), bit \(bit)")
            }
        }
        #expect(try client.read(0, 8192).difference(from: content) == nil)
    }

    // 101, 129, 147: unknown commands, RESIZE, and BLOCK_STATUS without a metadata context.
    @Test(arguments: [false, true])
    func unknownCommandsAreRefused(structured: Bool) throws {
        let content = pattern(4096)
        let client = try ServedImage(content: content).open(structured: structured)
        for type in [7, 8, 9, 100, 0x8000, 0xFFFF] as [UInt16] {
            let reply = try client.perform(Request(type: type, offset: 512, length: 512))
            #expect(reply.error == ErrorNumber.invalid, "command \(type)")
            if structured { #expect(reply.message.count > 10) }
            #expect(try client.read(0, 4096) == content)
        }
    }
}
