// Metadata contexts in the handshake, and what becomes of them in transmission (checklist F).

import Support
import Testing

@Suite struct MetadataContextTests {
    private static let allocation = "base:allocation"

    // 56 - 59: a list selects nothing, and its ids are 0.
    @Test(arguments: [
        ([], true), (["base:"], true), ([allocation], true), (["x-other:", "base:", allocation], true),
        (["base:nosuch"], false), (["x-other:"], false),
    ])
    func contextsAreListed(queries: [String], isFound: Bool) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        try client.negotiateStructuredReplies()
        let found = try client.askContexts(OptionNumber.listMetaContext, "disk", queries)
        #expect(found.map(\.1) == (isFound ? [Self.allocation] : []) && found.allSatisfy { $0.0 == 0 })
        try client.go()
        #expect(try client.perform(.status(0, 512)).error == ErrorNumber.invalid)
    }

    // 63 - 66, 147: what is selected last counts.
    @Test(arguments: [Style.structured, .extended])
    func theLastSelectionCounts(style: Style) throws {
        let image = try ServedImage()
        let sequences: [([[String]], Bool)] = [
            ([[Self.allocation]], true), ([["x-other:a", Self.allocation, "base:"]], true), ([["base:"]], false),
            ([[Self.allocation], []], false), ([[], [Self.allocation]], true),
            ([[Self.allocation], ["base:no"]], false),
        ]
        for (sequence, isSelected) in sequences {
            let client = try image.negotiate()
            try client.negotiate(style)
            for queries in sequence { try client.selectContexts("disk", queries) }
            try client.go("disk")
            #expect(try client.perform(.status(0, 512)).error == (isSelected ? 0 : ErrorNumber.invalid), "\(sequence)")
            #expect(try client.read(0, 512) == .zeroes(512))
        }
    }

    // 60, 66, 69: a selection that fails leaves none.
    @Test func aFailedSelectionClears() throws {
        let image = try ServedImage()
        let cases: [([UInt8], UInt32)] = [
            (contextQueries("nowhere", [Self.allocation]), ReplyType.errorUnknown), ([], ReplyType.errorInvalid),
            (contextQueries("disk", [Self.allocation]) + [0], ReplyType.errorInvalid),
            (contextQueries("disk", ["nocolon"]), ReplyType.errorInvalid),
            (contextQueries("disk", Array(repeating: Self.allocation, count: 3000)), ReplyType.errorTooBig),
        ]
        for (data, expected) in cases {
            let client = try image.negotiate()
            try client.negotiateStructuredReplies()
            try client.selectContexts("disk")
            let reply = try client.askOnce(OptionNumber.setMetaContext, data)
            #expect(reply.type == expected && reply.message.count > 10)
            try client.go("disk")
            #expect(try client.perform(.status(0, 512)).error == ErrorNumber.invalid)
        }
    }

    // 67: contexts are for one export, which the empty name may stand for.
    @Test func theSelectionIsForOneExport() throws {
        let image = try ServedImage(options: ["one=memory:1M", "two=null:1M"])
        let cases = [
            ("one", "one", true), ("one", "", true), ("", "one", true), ("", "", true), ("one", "two", false),
            ("two", "two", true), ("two", "one", false), ("disk", "", false),
        ]
        for (selected, opened, isSelected) in cases {
            let client = try image.negotiate()
            try client.negotiateStructuredReplies()
            try client.selectContexts(selected)
            try client.go(opened)
            let error = try client.perform(.status(0, 512)).error
            #expect(error == (isSelected ? 0 : ErrorNumber.invalid), "\(selected), \(opened)")
        }
    }

    // 55, 62
    @Test(arguments: [OptionNumber.listMetaContext, OptionNumber.setMetaContext])
    func contextsNeedChunks(number: UInt32) throws {
        let client = try ServedImage().negotiate()
        #expect(try client.askOnce(number, contextQueries("disk", [Self.allocation])).type == ReplyType.errorInvalid)
        try client.go()
        #expect(try client.perform(.status(0, 512)).error == ErrorNumber.invalid)
    }

    // 48: with a selection before, INFO and GO still tell the same, and BLOCK_STATUS_PAYLOAD only of its export.
    @Test(arguments: [Style.structured, .extended])
    func informationAfterASelection(style: Style) throws {
        let image = try ServedImage(options: ["other=memory:1M"])
        let client = try image.negotiate()
        try client.negotiate(style)
        func flags(_ name: String) throws -> UInt16 {
            try exportFacts(client.ask(OptionNumber.info, informationRequest(name))).flags
        }
        let before = try flags("disk")
        #expect(before & TransmissionFlag.blockStatusPayload == 0)
        try client.selectContexts("disk")
        let told = try flags("disk")
        #expect(told == before | (style == .extended ? TransmissionFlag.blockStatusPayload : 0))
        #expect(try flags("other") & TransmissionFlag.blockStatusPayload == 0)
        #expect(try client.go("disk").flags == told)
    }
}
