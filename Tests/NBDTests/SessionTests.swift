// Whole sessions, from the client flags to DISC, with what has to happen written down from the document. Each stream is
// cut into packets in every way (`course`).

import NBD
import Testing

/// An ACK, and an error without its text.
private func ack(_ option: String) -> [UInt8] { hex("0003e889045565a9 \(option) 00000001 00000000") }

/// REP_INFO with the size and the flags of `disk`, and the ACK.
private func openDisk(_ option: String, flags: String) -> [UInt8] {
    hex("0003e889045565a9 \(option) 00000003 0000000c 0000 00000000c0000000 \(flags)") + ack(option)
}

private let goDisk = option(7, infoData("disk"))
private let setContext = option(
    10, hex("00000004") + Array("disk".utf8) + hex("00000001 0000000f") + Array("base:allocation".utf8))
private let contextReply =
    hex("0003e889045565a9 0000000a 00000004 00000013 00000001") + Array("base:allocation".utf8) + ack("0000000a")

/// How a client with a style of messages begins, and what happens until its first request.
private func beginning(_ style: MessageStyle) -> (stream: [UInt8], happenings: [Happening]) {
    switch style {
    case .simple:
        (noZeroes + goDisk, [.open(0), .say(openDisk("00000007", flags: "0d75"))])
    case .structured:
        (
            noZeroes + option(8) + setContext + goDisk,
            [.say(ack("00000008")), .say(contextReply), .open(0), .say(openDisk("00000007", flags: "0df5"))]
        )
    case .extended:
        (
            noZeroes + option(11) + setContext + goDisk,
            [.say(ack("0000000b")), .say(contextReply), .open(0), .say(openDisk("00000007", flags: "1df5"))]
        )
    }
}

private func header(
    _ style: MessageStyle, _ type: UInt64, flags: UInt64 = 0, cookie: UInt64 = 1, offset: UInt64 = 0,
    length: UInt64 = 0
) -> [UInt8] {
    style == .extended
        ? extended(type, flags: flags, cookie: cookie, offset: offset, length: length)
        : compact(type, flags: flags, cookie: cookie, offset: offset, length: length)
}

@Suite struct SessionTests {
    @Test func oldClientWithOneRead() {
        let reply = hex("0102030405060708 0003") + [UInt8](repeating: 0, count: 124)
        let course = course(
            of: fixedNewstyle + option(1, Array("archive".utf8)) + compact(0, cookie: 9, offset: 3, length: 5)
                + compact(2))
        #expect(
            course
                == Course(happenings: [
                    .open(1), .say(reply), .begin(request(.read, cookie: 9, offset: 3, length: 5, unit: 101)),
                    .end(.disconnected),
                ]))
    }

    /// Every command, with headers of each kind.
    @Test(arguments: [MessageStyle.simple, .structured, .extended])
    func everyCommand(_ style: MessageStyle) {
        var (stream, happenings) = beginning(style)
        let isExtended = style == .extended
        func request(
            _ command: Command, _ flags: CommandFlags, _ cookie: UInt64, offset: UInt64 = 0, length: UInt64 = 0
        ) -> Happening {
            .begin(
                NBDTests.request(
                    command, flags: flags, cookie: cookie, offset: offset, length: length, isExtended: isExtended))
        }
        stream += header(style, 0, cookie: 1, offset: 512, length: 1024)
        happenings.append(request(.read, [], 1, offset: 512, length: 1024))
        // An extended WRITE says that it has a payload; QEMU's does not, and has one.
        stream += header(style, 1, flags: isExtended ? 32 : 0, cookie: 2, offset: 7, length: 5) + [1, 2, 3, 4, 5]
        happenings.append(request(.write, isExtended ? .payloadLength : [], 2, offset: 7, length: 5))
        happenings.append(.payload([1, 2, 3, 4, 5]))
        stream += header(style, 1, cookie: 3, offset: 8, length: 1) + [6]
        happenings += [request(.write, [], 3, offset: 8, length: 1), .payload([6])]
        stream += header(style, 3, cookie: 4)
        happenings.append(request(.flush, [], 4))
        stream += header(style, 4, cookie: 5, length: 4096) + header(style, 5, cookie: 6, length: 4096)
        happenings += [request(.trim, [], 5, length: 4096), request(.cache, [], 6, length: 4096)]
        stream += header(style, 6, flags: 18, cookie: 7, offset: 1, length: 2)
        happenings.append(request(.writeZeroes, [.noHole, .fastZero], 7, offset: 1, length: 2))
        stream += header(style, 7, flags: 8, cookie: 8, length: 1 << 30)
        if style == .simple {
            happenings.append(.refuse(cookie: 8, error: EINVAL))
        } else {
            happenings.append(request(.blockStatus, .reqOne, 8, length: 1 << 30))
        }
        stream += header(style, 2, cookie: 9) + header(style, 0, cookie: 10, length: 512)
        happenings.append(.end(.disconnected))
        #expect(course(of: stream) == Course(happenings: happenings))
    }

    /// A payload that nobody wants is read before the answer; the next request begins behind it.
    @Test func refusedRequests() {
        let (stream, happenings) = beginning(.extended)
        let course = course(
            of: stream + extended(1, flags: 32, cookie: 1, offset: 3 << 30, length: 3) + [9, 9, 9]
                + extended(0, cookie: 2) + extended(99, flags: 32, cookie: 3, length: 2) + [8, 8]
                + extended(0, cookie: 4, length: 1 << 26) + extended(3, cookie: 5, length: 1) + extended(3, cookie: 6))
        #expect(
            course
                == Course(
                    happenings: happenings + [
                        .refuse(cookie: 1, error: ENOSPC), .refuse(cookie: 2, error: EINVAL),
                        .refuse(cookie: 3, error: EINVAL), .refuse(cookie: 4, error: EOVERFLOW),
                        .refuse(cookie: 5, error: EINVAL),
                        .begin(request(.flush, cookie: 6, isExtended: true)),
                    ], missing: 32))
    }

    @Test func readOnlyExport() {
        let stream = noZeroes + option(1, Array("archive".utf8)) + compact(1, length: 4) + [1, 2, 3, 4]
        let course = course(of: stream + compact(6, cookie: 2, length: 4) + compact(0, cookie: 3, length: 4))
        #expect(
            course.happenings.dropFirst(2) == [
                .refuse(cookie: 1, error: EPERM), .refuse(cookie: 2, error: EPERM),
                .begin(request(.read, cookie: 3, length: 4, unit: 101)),
            ])
    }

    /// BLOCK_STATUS with a payload: effect length and context ids.
    @Test func blockStatusPayload() {
        let (stream, happenings) = beginning(.extended)
        func status(_ cookie: UInt64, _ payload: String) -> [UInt8] {
            let bytes = hex(payload)
            return extended(7, flags: 40, cookie: cookie, offset: 512, length: UInt64(bytes.count)) + bytes
        }
        let course = course(
            of: stream + status(1, "0000000000000400 00000001") + status(2, "0000000000000400 00000002")
                + status(3, "0000000000000000 00000001") + status(4, "0000000000000400 00000001 00000001")
                + status(5, "0000000080000000 00000001"))
        let flags = CommandFlags.reqOne
        #expect(
            course
                == Course(
                    happenings: happenings + [
                        .begin(
                            request(.blockStatus, flags: flags, cookie: 1, offset: 512, length: 1024, isExtended: true)),
                        .refuse(cookie: 2, error: EINVAL), .refuse(cookie: 3, error: EINVAL),
                        .refuse(cookie: 4, error: EINVAL),
                        .begin(
                            request(
                                .blockStatus, flags: flags, cookie: 5, offset: 512, length: 1 << 31, isExtended: true)),
                    ], missing: 32))
    }

    /// STARTTLS forgets what was agreed on before; bytes behind it belong to TLS, and here to the options inside.
    @Test func startTLS() {
        let course = course(
            of: noZeroes + option(3) + option(5) + option(5) + goDisk + compact(3), tls: .required)
        #expect(course.happenings.count == 6)
        guard case .say(_, refusing: 0x8000_0005) = course.happenings.first else {
            Issue.record("\(course)")
            return
        }
        #expect(course.happenings[1] == .startTLS(ack("00000005")))
        guard case .say(_, refusing: 0x8000_0003) = course.happenings[2] else {
            Issue.record("\(course)")
            return
        }
        #expect(
            course.happenings[3...] == [
                .open(0), .say(openDisk("00000007", flags: "0d75")), .begin(request(.flush)),
            ])
    }

    /// One option after the other that is answered with an ACK or an error, and never ends the session.
    @Test func everyOption() {
        let tooBig = [UInt8](repeating: 1, count: 8193)
        let options: [([UInt8], UInt32?)] = [
            (option(3), nil), (option(6, infoData("archive", [3, 2])), nil),
            (option(6, infoData("nowhere")), 0x8000_0006),
            (option(8), nil), (option(9, hex("00000000 00000000")), nil), (setContext, nil), (option(11), nil),
            (option(8), 0x8000_000a), (option(4, [1, 2, 3]), 0x8000_0001), (option(5), 0x8000_0001),
            (option(77, [0]), 0x8000_0001), (option(3, [0]), 0x8000_0003), (option(7, hex("00000004")), 0x8000_0003),
            (option(7, tooBig), 0x8000_0009), (option(6, infoData([0xff])), 0x8000_0003),
        ]
        let course = course(of: noZeroes + options.flatMap { $0.0 })
        #expect(course.missing == 16 && course.happenings.count == options.count)
        for (happening, (_, error)) in zip(course.happenings, options) {
            guard case .say(let bytes, let refusing) = happening else {
                Issue.record("\(happening)")
                continue
            }
            #expect(refusing == error)
            #expect(optionReplies(bytes).last?.type == error ?? 1)
        }
    }

    @Test func abort() {
        let course = course(of: noZeroes + option(2, [1, 2]) + option(3))
        #expect(course == Course(happenings: [.end(.aborted, ack("00000002"))]))
    }

    /// Streams after which nothing can be said any more.
    @Test(
        arguments: [
            (hex("00000004"), Session.End.handshakeFailed, "0x4"),
            (noZeroes + hex("4948415645 4f5055 00000003 00000000"), .handshakeFailed, "0x49484156454f5055"),
            (noZeroes + option(99, claimedBytes: 65537), .handshakeFailed, "65537"),
            (noZeroes + option(1, Array("no".utf8)), .handshakeFailed, "no"),
            (noZeroes + option(1, claimedBytes: 4097), .handshakeFailed, "4097"),
            (noZeroes + goDisk + extended(0, length: 512), .violation, "0x21e41c71"),
            (
                noZeroes + goDisk + hex("25609513 0000 0001") + [UInt8](repeating: 0xff, count: 20), .violation,
                "4294967295"
            ),
            (noZeroes + option(11) + goDisk + compact(0, length: 512) + [0, 0, 0, 0], .violation, "0x25609513"),
            (
                noZeroes + option(11) + goDisk + extended(1, flags: 32, length: 1 << 25 + 1), .violation, "33554433"
            ),
        ])
    func streamsThatEnd(stream: [UInt8], end: Session.End, reason: String) {
        let course = course(of: stream)
        #expect(course.happenings.last == .end(end))
        var session = Session()
        session.directory = exports
        var rest = stream
        while true {
            let (consumed, event) = session.advance(rest.span.bytes)
            rest.removeFirst(consumed)
            if case .open(let unit) = event { session.opened(as: Int32(unit)) }
            if case .end = event { break }
        }
        #expect(session.reason?.contains(reason) == true)
    }

    @Test func openingsThatWait() {
        let go = course(of: noZeroes + goDisk + compact(3), openings: [.held, .held, .held])
        #expect(
            go
                == Course(
                    happenings: [
                        .open(0), .say(openDisk("00000007", flags: "0d75")), .begin(request(.flush)),
                    ], missing: 28))
        let refused = course(
            of: noZeroes + goDisk + option(7, infoData("archive")), openings: [.held, .refused("the export is full")])
        #expect(
            Array(refused.happenings.prefix(3)) == [
                .open(0),
                .say(
                    hex("0003e889045565a9 00000007 80000002 00000012") + Array("the export is full".utf8)),
                .open(1),
            ])
        #expect(refused.missing == 28)
        let name = course(of: noZeroes + option(1) + compact(3), openings: [.refused("the export is full")])
        #expect(name.happenings == [.open(0), .end(.openingRefused)])
    }
}

/// What the caller is told between two packets.
@Suite struct SessionStateTests {
    private func conversation(_ stream: [UInt8], tls: TLSPolicy = .unavailable) -> Conversation {
        var conversation = Conversation(
            exports, tls: tls, openings: [], postpones: false, #_sourceLocation)
        conversation.feed(stream)
        return conversation
    }

    /// The client may close between two requests, and loses one that is not complete.
    @Test func endOfFileInsideARequest() {
        let requests = compact(0, length: 512) + compact(1, length: 3) + [1, 2, 3] + compact(3, length: 1)
        for place in 0...requests.count {
            let course = conversation(noZeroes + goDisk + requests[..<place]).course
            #expect(course.isInsideRequest == ![0, 28, 59, 87].contains(place), "after \(place)")
            #expect(!course.owesReply)
        }
        let refused = compact(1, offset: 3 << 30, length: 3) + [1, 2, 3]
        for place in 0...refused.count {
            let course = conversation(noZeroes + goDisk + refused[..<place]).course
            #expect(course.isInsideRequest == ![0, 31].contains(place), "after \(place)")
            #expect(course.owesReply == (28..<31).contains(place), "after \(place)")
        }
    }

    /// A caller that receives no more than what is missing leaves the rest in the socket.
    @Test func whatIsMissing() {
        let stream = noZeroes + option(6, infoData("disk")) + option(99, [1, 2, 3])
        let ends = [4, 20, 30, 46, 49]
        for place in 0..<stream.count {
            let missing = (ends.first { $0 > place } ?? 0) - place
            #expect(conversation(Array(stream[..<place])).course.missing == missing, "after \(place)")
        }
        let requests =
            extended(7, flags: 32, length: 12) + hex("0000000000000200 00000001")
            + extended(1, length: 5) + [1, 2, 3, 4, 5] + extended(99, flags: 32, length: 3) + [1, 2, 3]
        let requestEnds = [32, 44, 76, 81, 113, 116]
        for place in 0..<requests.count {
            let missing = (requestEnds.first { $0 > place } ?? 0) - place
            let course = conversation(noZeroes + option(11) + setContext + goDisk + requests[..<place]).course
            #expect(course.missing == missing, "after \(place)")
        }
    }

    /// What waits for a place when the server begins to stop is refused.
    @Test func shutdown() {
        var running = conversation(noZeroes + goDisk + compact(1, cookie: 1, length: 2) + [1])
        running.beginShutdown()
        running.feed([2] + compact(1, cookie: 2, length: 2) + [3, 4] + compact(0, cookie: 3, length: 512))
        running.feed(compact(2))
        #expect(
            running.course.happenings.dropFirst(2) == [
                .begin(request(.write, length: 2)), .payload([1, 2]), .refuse(cookie: 2, error: ESHUTDOWN),
                .refuse(cookie: 3, error: ESHUTDOWN), .end(.disconnected),
            ])
        var options = conversation(noZeroes)
        options.beginShutdown()
        options.feed(option(3))
        options.feed(option(1))
        guard case .say(_, refusing: 0x8000_0007) = options.course.happenings.first else {
            Issue.record("\(options.course)")
            return
        }
        #expect(options.course.happenings.last == .end(.shuttingDown))
    }

    /// A request is judged when there is a place for it, not when it came.
    @Test(arguments: [0, 1, 3] as [UInt64])
    func heldRequestIsJudgedAnew(_ type: UInt64) {
        let length: UInt64 = type == 3 ? 0 : 2
        let bytes = compact(type, cookie: 7, length: length) + (type == 1 ? [1, 2] : [])
        var session = Session()
        session.directory = exports
        var rest = noZeroes + goDisk + bytes
        var refused: UInt32?
        while refused == nil {
            let (consumed, event) = session.advance(rest.span.bytes)
            rest.removeFirst(consumed)
            switch event {
            case .open: session.opened(as: 0)
            case .begin:
                session.postpone()
                #expect(session.isHeld && !session.awaitsPayload)
                session.beginShutdown()
            case .refuse(let refusal):
                #expect(refusal.request.cookie == 7)
                refused = refusal.error.rawValue
            default:
                Issue.record("\(event)")
                return
            }
        }
        #expect(refused == ESHUTDOWN && rest.isEmpty)
    }

    /// An export that was opened while the server stops is one that refuses.
    @Test func openedWhileStopping() {
        var session = Session()
        session.directory = exports
        let stream = noZeroes + goDisk
        let (consumed, _) = session.advance(stream.span.bytes)
        #expect(consumed == stream.count)
        session.beginShutdown()
        session.opened(as: 0)
        guard case (28, .refuse(let refusal)) = session.advance(compact(3).span.bytes) else {
            Issue.record("the request was not refused")
            return
        }
        #expect(refusal.error == .shutdown && refusal.type == 3)
    }

    /// The drive has grown: what lies beyond the old end is served.
    @Test func resize() {
        var grown = conversation(noZeroes + goDisk + compact(0, cookie: 1, offset: 3 << 30, length: 512))
        grown.resize(4 << 30)
        grown.feed(compact(0, cookie: 2, offset: 3 << 30, length: 512))
        #expect(
            grown.course.happenings.dropFirst(2) == [
                .refuse(cookie: 1, error: EINVAL), .begin(request(.read, cookie: 2, offset: 3 << 30, length: 512)),
            ])
    }

    /// A disc is gone. What is on its way to it is no mistake of the client's: the drive says that there is none.
    @Test func resizeToNothing() {
        var empty = conversation(noZeroes + goDisk)
        empty.resize(0)
        empty.feed(compact(0, cookie: 2, offset: 1 << 20, length: 512))
        #expect(
            empty.course.happenings.dropFirst(2) == [
                .begin(request(.read, cookie: 2, offset: 1 << 20, length: 512))
            ])
    }

    /// A refusal says what the client asked for, and its reply only who is answered.
    @Test func refusals() {
        var session = Session()
        session.directory = exports
        var rest = noZeroes + goDisk + compact(300, flags: 5, cookie: 8, offset: 9, length: 10)
        while true {
            let (consumed, event) = session.advance(rest.span.bytes)
            rest.removeFirst(consumed)
            if case .open = event { session.opened(as: 4) }
            guard case .refuse(let refusal) = event else { continue }
            #expect(refusal.type == 300 && refusal.lengthBytes == 10 && refusal.error == .invalidArgument)
            #expect(refusal.request.cookie == 8 && refusal.request.offsetBytes == 9)
            #expect(refusal.request.lengthBytes == 0 && refusal.request.unit == 4 && refusal.request.payloadBytes == 0)
            return
        }
    }
}
