// The table of payloads, row by row and at the borders of each row, without I/O.

import Counters
import Testing

@testable import Loop

@Suite struct PayloadTableTests {
    private static let clear = Link()
    private static let remote = Link(isRemote: true)
    private static let tlsHere = Link(encryption: .here)
    private static let tlsInKernel = Link(encryption: .kernel, isRemote: true)
    private static let cached = PayloadOffer(isMapped: true, writesToPageCache: true)
    private static let direct = PayloadOffer(isMapped: false, writesToPageCache: false)

    private func read(_ length: UInt64, inOnePiece: Bool = true) -> PayloadNeed {
        PayloadNeed(
            kind: .read, lengthBytes: length, byteCount: Int(length), isInOnePiece: inOnePiece, isWhole: true)
    }

    private func write(_ length: UInt64, isWhole: Bool = true) -> PayloadNeed {
        PayloadNeed(
            kind: .write, lengthBytes: length, byteCount: Int(length), isInOnePiece: true, isWhole: isWhole)
    }

    /// A kind, and what was asked for it.
    private struct Choice: Equatable {
        var kind: Payload.Kind
        var asked: [PayloadFact]
    }

    private func choose(
        _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer = cached, _ facts: Set<PayloadFact> = [],
        forced: Payload.Kind? = nil
    ) -> Choice {
        var asked: [PayloadFact] = []
        let kind = PayloadTable.choose(need, link, offer, forced: forced) { fact in
            asked.append(fact)
            return facts.contains(fact)
        }
        return Choice(kind: kind, asked: asked)
    }

    @Test func requestsWithoutDataHaveNoPayload() {
        for kind in [CommandKind.flush, .cache, .trim] {
            let need = PayloadNeed(
                kind: kind, lengthBytes: 1 << 20, byteCount: 0, isInOnePiece: true, isWhole: true)
            for forced in [nil, Payload.Kind.pages, .spliced, .piped] {
                #expect(choose(need, Self.clear, forced: forced) == Choice(kind: .none, asked: []))
            }
        }
    }

    /// TRIM, WRITE_ZEROES and BLOCK_STATUS need a sector, whatever is forced.
    @Test func allOthersThanReadAndWriteHavePages() {
        for kind in [CommandKind.trim, .writeZeroes, .blockStatus] {
            let need = PayloadNeed(
                kind: kind, lengthBytes: 1 << 18, byteCount: 512, isInOnePiece: true, isWhole: true)
            for forced in [nil] + Payload.Kind.allCases.filter({ $0 != .none }).map(Optional.init) {
                let choice = choose(need, Self.remote, Self.cached, Set(PayloadFact.allCases), forced: forced)
                #expect(choice == Choice(kind: .pages, asked: []))
            }
        }
    }

    @Test func readsAreSplicedFrom32KiBOn() {
        let resident: Set<PayloadFact> = [.isResident]
        for link in [Self.clear, Self.remote] {
            #expect(choose(read(32_767), link, Self.cached, resident).kind == .pages)
            #expect(choose(read(1 << 15), link, Self.cached, resident) == Choice(kind: .spliced, asked: [.isResident]))
            #expect(choose(read(1 << 20), link, Self.cached, resident).kind == .spliced)
            #expect(choose(read(1 << 20 + 1), link, Self.cached, resident) == Choice(kind: .pages, asked: []))
        }
        for link in [Self.tlsHere, Self.tlsInKernel, Link(refusesSplice: true)] {
            #expect(!choose(read(1 << 18), link, Self.cached, resident).asked.contains(.isResident))
        }
        #expect(choose(read(1 << 18), Self.clear, Self.direct, resident) == Choice(kind: .pages, asked: []))
    }

    /// What is encoded in several goes needs its data longer than one reply is on its way.
    @Test func readsOfSeveralRepliesHavePages() {
        var need = read(1 << 18)
        need.isOneReply = false
        for forced in [nil, Payload.Kind.spliced, .mapped] {
            let choice = choose(need, Self.clear, Self.cached, Set(PayloadFact.allCases), forced: forced)
            #expect(choice == Choice(kind: .pages, asked: []))
        }
    }

    /// In chunks only what is stored, to clients of this machine.
    @Test func readsInChunks() {
        let need = read(1 << 18, inOnePiece: false)
        #expect(
            choose(need, Self.clear, Self.cached, [.isResident])
                == Choice(kind: .pages, asked: [.isResident, .isStored]))
        #expect(choose(need, Self.clear, Self.cached, [.isResident, .isStored]).kind == .spliced)
        #expect(choose(need, Self.clear, Self.cached, [.isStored]) == Choice(kind: .pages, asked: [.isResident]))
        #expect(choose(need, Self.remote, Self.cached, Set(PayloadFact.allCases)) == Choice(kind: .pages, asked: []))
    }

    @Test func readsAreMappedWhereOnlyTheKernelLooks() {
        let remembered: Set<PayloadFact> = [.isRemembered]
        for link in [Self.clear, Self.remote, Self.tlsInKernel] {
            for length: UInt64 in [1, 4096, 1 << 15, 1 << 20] {
                #expect(choose(read(length), link, Self.cached, remembered).kind == .mapped)
                #expect(choose(read(length), link, Self.cached, []).kind == .pages)
            }
            #expect(choose(read(1 << 20 + 1), link, Self.cached, remembered) == Choice(kind: .pages, asked: []))
            let chunked = choose(read(1 << 15, inOnePiece: false), link, Self.cached, remembered)
            #expect(chunked.kind == .mapped)
            #expect(choose(read(1 << 15 + 1, inOnePiece: false), link, Self.cached, remembered).kind == .pages)
        }
        #expect(choose(read(4096), Self.tlsHere, Self.cached, remembered) == Choice(kind: .pages, asked: []))
        #expect(choose(read(4096), Self.clear, Self.direct, remembered) == Choice(kind: .pages, asked: []))
    }

    @Test func largeWritesOverTCPArePiped() {
        let pipe: Set<PayloadFact> = [.hasPipe]
        for length: UInt64 in [1 << 17, 200_704, 1 << 18] {
            #expect(choose(write(length), Self.remote, Self.cached, pipe) == Choice(kind: .piped, asked: [.hasPipe]))
            #expect(choose(write(length), Self.remote, Self.cached, []) == Choice(kind: .pages, asked: [.hasPipe]))
            #expect(PayloadTable.expectsPipe(write(length), Self.remote, Self.cached, forced: nil))
        }
        for (need, link, offer) in [
            (write(1 << 17 - 512), Self.remote, Self.cached), (write(1 << 18 + 512), Self.remote, Self.cached),
            (write(1 << 17), Self.clear, Self.cached), (write(1 << 17), Self.tlsInKernel, Self.cached),
            (write(1 << 17, isWhole: false), Self.remote, Self.cached), (write(1 << 17), Self.remote, Self.direct),
            (read(1 << 17, inOnePiece: false), Self.remote, Self.direct),
        ] {
            #expect(choose(need, link, offer, pipe) == Choice(kind: .pages, asked: []))
            #expect(!PayloadTable.expectsPipe(need, link, offer, forced: nil))
        }
    }

    /// A forced kind is taken wherever it is possible, and nowhere else.
    @Test func forcedKinds() {
        #expect(choose(read(1), Self.clear, forced: .spliced) == Choice(kind: .spliced, asked: []))
        #expect(choose(read(1, inOnePiece: false), Self.remote, forced: .spliced).kind == .spliced)
        #expect(choose(read(1), Self.tlsInKernel, forced: .spliced).kind == .pages)
        #expect(choose(read(1 << 20), Self.tlsInKernel, forced: .mapped) == Choice(kind: .mapped, asked: []))
        #expect(choose(read(1), Self.tlsHere, forced: .mapped).kind == .pages)
        #expect(choose(read(1 << 20 + 1), Self.clear, forced: .mapped).kind == .pages)
        #expect(choose(read(1 << 18), Self.clear, Self.cached, [.isResident], forced: .pages).kind == .pages)
        #expect(choose(write(512), Self.clear, Self.cached, [.hasPipe], forced: .piped).kind == .piped)
        #expect(choose(write(512), Self.clear, forced: .piped).kind == .pages)
        #expect(choose(write(1 << 19 + 512), Self.clear, Self.cached, [.hasPipe], forced: .piped).kind == .pages)
        #expect(choose(write(1 << 18), Self.remote, Self.cached, [.hasPipe], forced: .pages).kind == .pages)
        #expect(PayloadTable.expectsPipe(write(512), Self.clear, Self.cached, forced: .piped))
        #expect(!PayloadTable.expectsPipe(write(1 << 18), Self.remote, Self.cached, forced: .pages))
    }

    /// What a link allows.
    @Test func links() {
        #expect(Self.clear.sendsUnseen && Self.clear.takesPages && Self.clear.givesPages && !Self.clear.mayAskKernel)
        #expect(!Self.tlsHere.sendsUnseen && !Self.tlsHere.takesPages && !Self.tlsHere.givesPages)
        #expect(!Self.tlsHere.mayAskKernel && Link(encryption: .here, isRemote: true).mayAskKernel)
        #expect(Self.tlsInKernel.sendsUnseen && !Self.tlsInKernel.takesPages && !Self.tlsInKernel.givesPages)
        #expect(!Self.tlsInKernel.mayAskKernel)
        #expect(!Link(refusesSplice: true).takesPages && Link(refusesSplice: true).givesPages)
        #expect(Link(comesInPieces: true).takesPages && !Link(comesInPieces: true).givesPages)
        #expect(!Link(isDigested: true).sendsUnseen && !Link(isDigested: true).takesPages)
    }
}
