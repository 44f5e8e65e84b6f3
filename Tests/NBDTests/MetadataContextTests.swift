// LIST_META_CONTEXT and SET_META_CONTEXT (NBD protocol, "Metadata querying"). Numbers in the comments are those of the
// project's conformance checklist.

import NBD
import Testing

/// The data of both options. `count` is the number of queries that is claimed.
private func queries(_ name: String, _ queries: [String], count: Int? = nil) -> [UInt8] {
    queryData(Array(name.utf8), queries.map { Array($0.utf8) }, count: count)
}

private func queryData(_ name: [UInt8], _ queries: [[UInt8]], count: Int? = nil) -> [UInt8] {
    bigEndian(UInt64(name.count), bytes: 4) + name + bigEndian(UInt64(count ?? queries.count), bytes: 4)
        + queries.flatMap { bigEndian(UInt64($0.count), bytes: 4) + $0 }
}

private let allocation = "base:allocation"

/// Replies after STRUCTURED_REPLY, of which the first one is for that.
private func answers(_ options: [UInt8]...) -> [OptionReply] {
    Array(replies(to: option(8), options.flatMap { $0 }, exports: exports).dropFirst())
}

/// 56 - 59, 61: what a list finds, with an id of 0.
@Test(arguments: [
    ([], true), ([allocation], true), (["base:"], true), (["base:", allocation, "base:"], true),
    (["x-other:thing", "qemu:dirty-bitmap:b", allocation], true),
    (["base:nosuch"], false), (["base:Allocation"], false), (["base:allocation "], false), (["x-other:"], false),
    (["qemu:"], false), ([":"], false), (["base:allocation:"], false),
])
func listOfContexts(_ asked: [String], isFound: Bool) {
    for name in ["disk", "archive", ""] {
        let found = OptionReply(option: 9, type: 4, data: hex("00000000") + Array(allocation.utf8))
        let ack = OptionReply(option: 9, type: 1)
        #expect(answers(option(9, queries(name, asked))) == (isFound ? [found, ack] : [ack]))
    }
}

/// 63 - 65: what SET selects, with an id that is not 0; no wildcard, and a name that is there twice once.
@Test(arguments: [
    ([allocation], true), ([allocation, allocation], true), (["base:", "x-other:thing", allocation], true),
    ([], false), (["base:"], false), (["base:nosuch"], false), (["x-other:thing"], false),
])
func selectedContexts(_ asked: [String], isSelected: Bool) {
    let selected = OptionReply(option: 10, type: 4, data: hex("00000001") + Array(allocation.utf8))
    let ack = OptionReply(option: 10, type: 1)
    #expect(answers(option(10, queries("disk", asked))) == (isSelected ? [selected, ack] : [ack]))
    #expect(hasContext(option(10, queries("disk", asked))) == isSelected)
}

/// What a GO for `disk` begins with after some options: whether BLOCK_STATUS can be used.
private func hasContext(_ options: [UInt8]..., name: String = "disk") -> Bool? {
    let outcome = handshake(noZeroes + option(8) + options.flatMap { $0 } + option(7, infoData(name)), exports)
    guard case .transmission(_, _, let parameters) = outcome.end else { return nil }
    return parameters.hasAllocationContext
}

/// 65, 66, 67, 69: the selection is for one export, and is replaced by the next even if that fails.
@Test func theLastSelectionCounts() {
    let set = option(10, queries("disk", [allocation]))
    #expect(hasContext() == false)
    #expect(hasContext(set) == true)
    #expect(hasContext(set, name: "archive") == false)
    #expect(hasContext(option(10, queries("archive", [allocation]))) == false)
    #expect(hasContext(option(10, queries("archive", [allocation])), set) == true)
    // The empty name stands for the first export, by whichever name that is opened.
    #expect(hasContext(option(10, queries("", [allocation]))) == true)
    #expect(hasContext(set, name: "") == true)
    for second in [
        queries("disk", []), queries("disk", ["base:"]), queries("archive", [allocation]),
        queries("nosuch", [allocation]), queries("disk", [allocation], count: 2), hex("00"),
        queries("disk", ["no colon"]), Array(repeating: 0, count: 9000),
    ] {
        #expect(hasContext(set, option(10, second)) == false)
        #expect(hasContext(set, option(10, second), set) == true)
    }
    // Other options leave it as it is, and so does a GO that fails.
    #expect(hasContext(set, option(9, queries("disk", [])), option(8), option(3)) == true)
    #expect(hasContext(set, option(7, infoData("nosuch")), option(6, infoData("archive"))) == true)
}

/// EXPORT_NAME begins with the same selection as GO.
@Test func exportNameHasTheContextsToo() {
    let start = noZeroes + option(8) + option(10, queries("disk", [allocation]))
    for (name, expected) in [("disk", true), ("archive", false)] {
        guard case .transmission(_, _, let parameters) = handshake(start + option(1, Array(name.utf8)), exports).end
        else {
            Issue.record("no transmission")
            return
        }
        #expect(parameters.hasAllocationContext == expected)
    }
}

/// 60: ERR_INVALID, and the session goes on.
@Test(arguments: [
    "", "00000004", "00000004 6469736b", "00000004 6469736b 000000",  // too short for what has to be there
    "00000005 6469736b 00000000", "ffffffff 6469736b 00000000",  // the name is longer than the data
    "00000004 6469736b 00000001", "00000004 6469736b 00000001 00000001", "00000004 6469736b 00000001 ffffffff 61",
    "00000004 6469736b ffffffff 00000005 626173653a",  // fewer queries than announced
    "00000004 6469736b 00000000 00", "00000004 6469736b 00000001 00000005 626173653a 00",  // more
    "00000004 6469736b 00000001 00000000", "00000004 6469736b 00000001 00000004 62617365",  // no colon
    "00000004 6469736b 00000001 00000003 ff3a61",  // no UTF-8
    "00000003 64ff6b 00000000",  // neither is the name
])
func malformedQueries(_ data: String) {
    for number in [9, 10] as [UInt32] {
        let replies = answers(option(number, hex(data)), option(8))
        #expect(replies.map(\.type) == [0x8000_0003, 1])
        #expect(replies.first?.option == number)
    }
}

/// 68, 26: strings up to 4,096 bytes; what is longer than the data of an option may be is refused, and read away.
@Test func longQueries() {
    let longest = "x:" + String(repeating: "q", count: 4094)
    #expect(answers(option(9, queries("disk", [longest, allocation]))).map(\.type) == [4, 1])
    #expect(answers(option(9, queries("disk", [longest + "q"]))).map(\.type) == [0x8000_0003])
    #expect(answers(option(9, queries(longest + "q", []))).map(\.type) == [0x8000_0003])
    let many = queries("disk", Array(repeating: "base:", count: 900))
    #expect(answers(option(9, many)).map(\.type) == [4, 1])
    #expect(answers(option(9, many + many), option(8)).map(\.type) == [0x8000_0009, 1])
}

/// 69: an export that does not exist.
@Test(arguments: [9, 10] as [UInt32])
func contextsOfNoExport(_ number: UInt32) {
    #expect(answers(option(number, queries("nosuch", [allocation]))).map(\.type) == [0x8000_0006])
}

/// 55, 62: only after replies in chunks were agreed on, of either kind.
@Test(arguments: [9, 10] as [UInt32])
func contextsNeedChunks(_ number: UInt32) {
    let ask = option(number, queries("disk", [allocation]))
    #expect(replies(to: ask, exports: exports).map(\.type) == [0x8000_0003])
    #expect(replies(to: option(8), ask, exports: exports).map(\.type) == [1, 4, 1])
    #expect(replies(to: option(11), ask, exports: exports).map(\.type) == [1, 4, 1])
}
