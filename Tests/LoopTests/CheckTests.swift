// The loop's check finds counts that disagree. (That it finds none in a loop that works, every other test shows.)

import Backends
import Glibc
import Listening
import Logging
import Support
import Testing

@testable import Export
@testable import Loop
@testable import LoopSupport
@testable import NBD

/// A server without exports.
private final class NoExports: ExportSource {
    let directory = ExportDirectory()
    func dropMappedPages() {}
    func noteSize(of entry: ExportEntry) {}
    func noteEnd() {}

    func make(_ making: ExportMaking) -> Bool { false }
}

@Suite struct CheckTests {
    /// A loop with one connection and one request of two pages, by hand.
    private func withLoop(_ body: (inout Loop) throws -> Void) throws {
        let folder = try TemporaryFolder()
        let shared = try SharedState(
            exports: NoExports(), entrances: Entrances(listeners: try Listener.open(.unix(path: folder.path + "/s"))),
            loopCount: 1, limits: Limits(), tls: nil,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        defer { for listener in shared.listeners { listener.close() } }
        var loop = try Loop(index: 0, shared: shared)
        let slot = ConnectionSlot(0)
        loop.connections.insert(try Connection(ring: loop.ring, slot: slot, pageCount: 16), at: slot)
        loop.connectionSlots = 1
        loop.activeConnections = 1
        loop.connections[slot].phase = .transmission
        loop.sessions.insert(.nbd(Session()), at: slot)
        let entry = try entryOfNothing()
        loop.use(entry)
        loop.connections[slot].entry = entry
        let page = loop.connections[slot].arena.allocate(2)
        loop.ownPagesInUse = 2
        loop.exports[entry.number].memory[.own].pages = 2
        let free = loop.connections[slot].freeRequests.pop()
        let place = try #require(free)
        let flush = Request(RequestHeader(type: 3), as: .flush, unit: 0)
        loop.put(flush, .flush, blockSize: .smallest, at: place)
        loop.requests[place].payload = .pages(PageRun(memory: .own, first: try #require(page), count: 2))
        loop.connections[slot].busyRequests = 1
        loop.requestsUnderWay = 1
        try body(&loop)
        // The slot ends as it would have.
        loop.connections[slot].phase = .free
    }

    @Test func nothingIsFoundWhereAllAddsUp() throws {
        try withLoop { loop in
            let found = loop.violations()
            #expect(found == [])
        }
    }

    /// What is broken, and a word of what is found.
    private static let breaks: [(String, @Sendable (inout Loop) -> Void)] = [
        ("requests under way: 2 and 1", { $0.requestsUnderWay += 1 }),
        ("sends under way: 1 and 0", { $0.sendsUnderWay += 1 }),
        ("sends under way: 0 and 1", { $0.connections[ConnectionSlot(0)].isSending = true }),
        ("mapped bytes: 4096 and 0", { $0.mappedBytes += 4096 }),
        ("pages of interrupted replies: 1 and 0", { $0.extraPages += 1 }),
        ("pages of connections: 1 and 2", { $0.ownPagesInUse -= 1 }),
        ("pages of own memory of export 0: 3 and 2", { $0.exports[ExportNumber(0)].memory[.own].pages += 1 }),
        ("pages of large memory of export 0: 1 and 0", { $0.exports[ExportNumber(0)].memory[.large].pages += 1 }),
        ("pages of the share of connection 0: 1 and 0", { $0.connections[ConnectionSlot(0)].sharePages += 1 }),
        ("middle pages of connection 0: 5 and 0", { $0.connections[ConnectionSlot(0)].stagePages[.middle] = 5 }),
        ("large pages of connection 0: 5 and 0", { $0.connections[ConnectionSlot(0)].stagePages[.large] = 5 }),
        ("wait to be sent to: 0 and 1", { $0.connections[ConnectionSlot(0)].isQueuedForSend = true }),
        ("wait to be sent to: 1 and 0", { $0.sendQueue.append(ConnectionSlot(0)) }),
        ("wait for own memory: 0 and 1", { $0.connections[ConnectionSlot(0)].line = .own }),
        ("wait for middle memory: 0 and 1", { $0.connections[ConnectionSlot(0)].line = .middle }),
        ("wait for large memory: 0 and 1", { $0.connections[ConnectionSlot(0)].line = .large }),
        ("connections: 0 and 1", { $0.activeConnections = 0 }),
        ("that are no free slots: 0 and 1", { $0.freeConnections.push(ConnectionSlot(0)) }),
        ("requests of connection 0: 2 and 1", { _ = $0.connections[ConnectionSlot(0)].freeRequests.pop() }),
        ("busy requests of connection 0: 2 and 1", { $0.connections[ConnectionSlot(0)].busyRequests = 2 }),
        ("replies in the send of connection 0: 1 and 0", { $0.connections[ConnectionSlot(0)].repliesInSend = 1 }),
        ("pages of connection 0: 3 and 2", { _ = $0.connections[ConnectionSlot(0)].arena.allocate(1) }),
        ("pages of the middle stage: 3 and 0", { $0.takeMiddlePages(3) }),
        ("pages of the large stage: 3 and 0", { $0.takeLargePages(3) }),
        ("pipes: 1 and 0", { _ = $0.pipes.take() }),
        ("connections of export 0: 2 and 1", { $0.exports[ExportNumber(0)].users += 1 }),
        ("operations of export 0 in the ring: 1 and 0", { $0.exports[ExportNumber(0)].ringShare.enter() }),
        ("operations of export 0 in the ring: 0 and 1", { $0.withRequest { $0.isInRing = true } }),
        ("the same, and the export's share: 65 and 64", { $0.overfillRingShare() }),
        ("that wait for a ring with room: 1 and 0", { $0.letRequestWaitForRing() }),
        ("and their bound: 16777216 and 16777215", { $0.sendFromMappedPages([16 << 20, 16 << 20]) }),
        ("that wait for others in layers: 0 and 1", { $0.letRequestWait() }),
        ("that wait for nobody in layers: 1 and 0", { $0.letRequestWait() }),
    ]

    /// One reply is begun while there is room, however large it is.
    @Test func aReplyThatGoesBeyondTheBoundOfMappedBytesIsTheLastOne() throws {
        try withLoop { loop in
            loop.sendFromMappedPages([(16 << 20) - 1, 16 << 20])
            let found = loop.violations()
            #expect(found == [])
        }
    }

    @Test(arguments: breaks.indices) func whatDoesNotAddUpIsFound(_ number: Int) throws {
        let (expected, damage) = Self.breaks[number]
        try withLoop { loop in
            damage(&loop)
            let found = loop.violations()
            #expect(found.contains { $0.contains(expected) }, "\(found)")
            if expected.hasPrefix("pipes") { loop.pipes.release(0) }
        }
    }

    #if DEBUG
        @Test func aLoopWhoseCountsDisagreeTraps() async {
            await #expect(processExitsWith: .failure) {
                try CheckTests().withLoop { loop in
                    loop.requestsUnderWay += 1
                    loop.check()
                }
            }
        }
    #endif
}

extension Loop {
    fileprivate mutating func withRequest(_ body: (inout RequestSlot) -> Void) {
        for place in ConnectionSlot(0).places where requests.contains(place) { body(&requests[place]) }
    }

    /// More operations of the export are with the ring than may be.
    fileprivate mutating func overfillRingShare() {
        for _ in 0...RingShare.capacity { exports[ExportNumber(0)].ringShare.enter() }
    }

    /// The request waits, but nobody has what it waits for.
    fileprivate mutating func letRequestWaitForRing() {
        for place in ConnectionSlot(0).places where requests.contains(place) {
            exports[ExportNumber(0)].ringShare.append(place, &requests)
        }
    }

    /// Replies of these sizes are sent from mapped pages.
    fileprivate mutating func sendFromMappedPages(_ sizes: [Int]) {
        for byteCount in sizes {
            guard let place = connections[ConnectionSlot(0)].freeRequests.pop() else { return }
            let flush = Request(RequestHeader(type: 3), as: .flush, unit: 0)
            put(flush, .flush, blockSize: .smallest, at: place)
            requests[place].payload = .mapped(byteCount)
            connections[ConnectionSlot(0)].busyRequests += 1
            requestsUnderWay += 1
            mappedBytes += byteCount
        }
    }

    /// The request says that it waits for another in layers.
    fileprivate mutating func letRequestWait() {
        for place in ConnectionSlot(0).places where requests.contains(place) {
            layered.insert(LayeredRequest(), at: place)
            layered[place].stage = .waitingForOthers
        }
    }

    /// Memory that no request has. No more is there than in this test.
    fileprivate mutating func takeMiddlePages(_ pages: Int) {
        var share = MemoryShare()
        _ = middle.allocate(pages, &share)
    }

    fileprivate mutating func takeLargePages(_ pages: Int) {
        var share = MemoryShare()
        _ = large.allocate(pages, &share)
    }
}
