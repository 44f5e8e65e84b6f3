// An initiator that says nothing any more, with a clock that a test turns (RFC 7143, 11.19).

import Glibc
import Logging
import Seeded
import SimulatedKernel
import Support
import Testing

@testable import Loop
@testable import Server

@Suite struct SilentInitiatorTests {
    private static let second: UInt64 = 1_000_000_000
    private let kernel: SimulatedKernel
    private let folder: TemporaryFolder
    private let trace = Trace()
    private let server: SimulatedServer

    init() throws {
        kernel = try SimulatedKernel(seed: 1)
        folder = try TemporaryFolder()
        var numbers = SeededGenerator(seed: 1)
        var profile = Profile(&numbers)
        profile.loops = 1
        profile.initiators = 100
        profile.areRemote = false
        profile.maximumConnections = nil
        profile.behaviour = Behaviour()
        let (trace, clock) = (trace, kernel.clock)
        let logger = Logger(label: "test") { _ in TraceHandler(trace: trace, now: { clock.now() }) }
        let image = try SimulatedImage("disk", sizeBytes: 1 << 20, cellBytes: 512, writesThrough: false)
        server = try SimulatedServer(
            profile, [image], kernel: kernel, path: folder.path + "/silent", reservations: nil, logger: logger)
    }

    /// All that can be done is done, now and then each time until so many seconds are over.
    private func go(seconds: UInt64) throws {
        let end = kernel.now + seconds * Self.second
        while true {
            if server.isAwake(0) {
                try server.turn(0)
            } else if let busy = server.busyWorkers().first {
                _ = server.work(busy.loop, busy.worker, lasting: 0)
            } else if !kernel.performAny() {
                guard let moment = kernel.nextMoment(), moment < end else {
                    return kernel.advance(to: max(end, kernel.now))
                }
                kernel.advance(to: moment)
            }
        }
    }

    /// Has logged in, and has nothing to say.
    private func initiator(_ number: UInt8) throws -> RawConnection {
        let connection = try RawConnection(unix: server.sessionPath)
        let text = Array(
            "InitiatorName=iqn.2026-11.org.example:silent\0TargetName=iqn.2026-11.org.spindle:disk\0".utf8)
        var login = [UInt8](repeating: 0, count: 48)
        login.replaceSubrange(0..<2, with: [0x43, 0x87])
        login[7] = UInt8(text.count)
        login.replaceSubrange(8..<14, with: [0x80, 0, 0, 0, 0, number])
        try connection.send(login + text + [UInt8](repeating: 0, count: -text.count & 3))
        try go(seconds: 1)
        let header = try #require(try pdu(connection))
        try #require(header[0] == 0x23 && header[36] == 0)
        return connection
    }

    /// The header of the next PDU, if there is one; empty when the server has closed.
    private func pdu(_ connection: RawConnection) throws -> [UInt8]? {
        var byte: UInt8 = 0
        switch recv(connection.descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) {
        case 0: return []
        case 1:
            let header = try connection.receive(48)
            _ = try connection.receive((Int(header[6]) << 8 | Int(header[7]) + 3) & ~3)
            return header
        default: return nil
        }
    }

    /// Waits for something of the server.
    private func wait(for connection: RawConnection) throws -> (header: [UInt8], seconds: UInt64) {
        for seconds: UInt64 in 0..<300 {
            if let header = try pdu(connection) { return (header, seconds) }
            try go(seconds: 1)
        }
        throw Violation("nothing has come for 300 s")
    }

    private func stop() throws {
        server.shared.loops.postToAll(.stop)
        try go(seconds: 60)
        #expect(server.areAllOver)
        try server.close()
    }

    private func answer(_ header: [UInt8], _ connection: RawConnection) throws {
        var answer = [UInt8](repeating: 0, count: 48)
        answer.replaceSubrange(0..<2, with: [0x40, 0x80])
        answer.replaceSubrange(16..<20, with: [0xFF, 0xFF, 0xFF, 0xFF])
        answer.replaceSubrange(20..<24, with: header[20..<24])
        try connection.send(answer)
        try go(seconds: 0)
    }

    /// It is asked for a sign of life after half a minute, once, and has another half to give it.
    @Test func aNOPInThatIsNotAnsweredEndsTheSession() throws {
        let silent = try initiator(1)
        let (asked, seconds) = try wait(for: silent)
        #expect(asked[0] == 0x20 && Array(asked[16..<20]) == [0xFF, 0xFF, 0xFF, 0xFF], "\(asked)")
        #expect(Array(asked[20..<24]) != [0xFF, 0xFF, 0xFF, 0xFF], "\(asked)")
        #expect((28...31).contains(seconds), "\(seconds)")
        let (end, later) = try wait(for: silent)
        #expect(end == [] && (29...31).contains(later), "\(end) after \(later) s")
        let line = trace.last(100).last { $0.contains("client cut off") } ?? ""
        #expect(line.contains("reason=it has not answered a NOP-In within 30 s"), "\(line)")
        #expect(!server.hasConnections)
        try server.checkIdle()
        try stop()
    }

    /// One that answers stays, however little it says, beside one that does not.
    @Test func aNOPInThatIsAnsweredKeepsTheSession() throws {
        let (quiet, silent) = (try initiator(1), try initiator(2))
        for _ in 0..<10 {
            let (asked, seconds) = try wait(for: quiet)
            #expect(asked.first == 0x20 && (27...31).contains(seconds), "\(asked) after \(seconds) s")
            try answer(asked, quiet)
        }
        #expect(try pdu(silent)?.first == 0x20)
        #expect(try pdu(silent) == [])
        #expect(server.hasConnections)
        try stop()
    }
}
