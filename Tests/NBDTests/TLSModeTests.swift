// STARTTLS and the three modes of a server (NBD protocol, "TLS support"). Numbers in the comments are those of the
// project's conformance checklist.

import NBD
import Testing

private let unsupported: UInt32 = 0x8000_0001
private let policy: UInt32 = 0x8000_0002
private let invalid: UInt32 = 0x8000_0003
private let tlsRequired: UInt32 = 0x8000_0005
private let unknown: UInt32 = 0x8000_0006

/// An export for anybody, and one for those who encrypt.
private let mixed: [ExportInformation] = {
    var secret = archive
    secret.requiresTLS = true
    return [disk, secret]
}()

private let startTLS = option(5)
/// SET_META_CONTEXT with `base:allocation`.
private let setContext = option(
    10, infoData("archive").dropLast(2) + hex("0000 0001 0000 000f") + Array("base:allocation".utf8))

/// The types of the replies.
private func types(_ options: [UInt8]..., tls: TLSPolicy) -> [UInt32] {
    replies(to: options.flatMap { $0 }, exports: mixed, tls: tls).map(\.type)
}

/// 79, 80: an export that wants TLS is opened by nobody else; the others, and names that there are not, are answered as
/// ever.
@Test func exportsThatWantTLS() {
    for number in [6, 7] as [UInt32] {
        #expect(types(option(number, infoData("archive")), tls: .optional) == [tlsRequired])
        #expect(types(option(number, infoData("nowhere")), tls: .optional) == [unknown])
    }
    #expect(types(option(8), setContext, tls: .optional) == [1, tlsRequired])
    #expect(types(option(6, infoData("disk")), tls: .optional) == [3, 1])
    #expect(types(startTLS, option(6, infoData("archive")), tls: .optional) == [1, 3, 1])
    #expect(types(startTLS, option(8), setContext, tls: .optional) == [1, 1, 4, 1])
    let refused = handshake(noZeroes + option(1, Array("archive".utf8)), mixed, tls: .optional)
    #expect(refused.end == .close(reply: [], reason: .tlsRequired))
    let opened = handshake(noZeroes + startTLS + option(1, Array("archive".utf8)), mixed, tls: .optional)
    guard case .transmission(_, 1, _) = opened.end else {
        Issue.record("\(opened)")
        return
    }
}

/// 36: who listens in learns no names.
@Test func listOmitsExportsThatWantTLS() {
    #expect(types(option(3), tls: .optional) == [2, 1])
    #expect(types(startTLS, option(3), tls: .optional) == [1, 2, 2, 1])
}

/// 81: where TLS is a choice, no other option asks for it.
@Test(arguments: [0, 2, 3, 4, 8, 9, 11, 12, 77] as [UInt32])
func otherOptionsDoNotAskForTLS(number: UInt32) {
    let outcome = handshake(noZeroes + option(number), mixed, tls: .optional)
    var sent = outcome.replies
    if case .close(let reply, _) = outcome.end { sent += reply }
    #expect(!optionReplies(sent).contains { $0.type == tlsRequired })
}

/// "Server-side requirements": a client without FIXED_NEWSTYLE meets a server without TLS.
@Test(arguments: ["0000 0000", "0000 0002"])
func withoutFixedNewstyleThereIsNoTLS(flags: String) {
    for (tls, expected) in [(TLSPolicy.unavailable, unsupported), (.optional, policy), (.required, policy)] {
        let outcome = handshake(hex(flags) + startTLS, mixed, tls: tls)
        #expect(!outcome.isEncrypted)
        #expect(optionReplies(outcome.replies).map(\.type) == [expected])
    }
    let archive = handshake(hex(flags) + option(6, infoData("archive")), mixed, tls: .optional)
    #expect(optionReplies(archive.replies).map(\.type) == [policy])
    let list = handshake(hex(flags) + option(3), mixed, tls: .required)
    #expect(optionReplies(list.replies).map(\.type) == [policy])
}

/// 75, 82: a second time, with the same data or others.
@Test(arguments: [TLSPolicy.optional, .required])
func onceIsEnough(tls: TLSPolicy) {
    #expect(types(startTLS, startTLS, option(5, [1]), option(77), tls: tls) == [1, invalid, invalid, unsupported])
}

/// A server that is stopping begins nothing.
@Test func noTLSWhileStopping() {
    let sent = replies(to: startTLS, exports: mixed, tls: .required, shuttingDown: true)
    #expect(sent.map(\.type) == [0x8000_0007])
}
