// Where a request's data are to be: a pure function of what is needed, allowed, offered and known.

import Counters

/// The needs of a request.
struct PayloadNeed: Equatable {
    var kind: CommandKind
    /// The length that the client asks for.
    var lengthBytes: UInt64
    /// The memory that this takes: all sectors touched, and more for ends inside sectors.
    var byteCount: Int
    /// The reply is one piece: nobody looks for zeroes in the data.
    var isInOnePiece: Bool
    /// The data are whole sectors.
    var isWhole: Bool
    /// The reply is encoded once. Else what is encoded later needs the data still, and other replies leave between.
    var isOneReply = true
}

/// The offer of a backend.
struct PayloadOffer: Equatable {
    /// Its pages in the page cache can be sent from.
    var isMapped: Bool
    /// Writing is a copy into the page cache.
    var writesToPageCache: Bool
}

/// Facts that cost something to find out; each is asked for only where it decides.
enum PayloadFact: CaseIterable {
    /// The kernel says now that all of a range is in the page cache, and this process is told the truth.
    case isResident
    /// All of a range is known to be stored: there are no holes to leave out.
    case isStored
    /// All of a range is remembered to be in the page cache, and one more reply may wait to be sent from there.
    case isRemembered
    /// Nothing of the payload has been received, a pipe is free, and so is the worker that writes.
    case hasPipe
}

/// The table of payloads. A kind that is not possible is wrong; one that does not pay is only slow. Sent unseen is what
/// this process neither encrypts nor digests, and clear what the kernel does not encrypt either. For an export with
/// layers it is asked twice: nothing is mapped when a READ comes; its file may be, once the layers have named it.
///
/// | Payload | Possible for | Pays for | Asks |
/// |---|---|---|---|
/// | `none` | requests without data | all | |
/// | `spliced` | READ to 1 MiB in one reply, mapped, clear | from 32 KiB, one piece or local | resident? stored? |
/// | `mapped` | READ to 1 MiB in one reply, mapped, unseen | one piece, or to 32 KiB | remembered? |
/// | `piped` | whole WRITE to 512 KiB, page cache, no TLS | 128 to 256 KiB over TCP | a pipe? |
/// | `pages` | all | whatever is left | |
enum PayloadTable {
    /// Data that cannot be sent from the page cache after all have to be read into memory again, so there is a bound.
    static let largestUnread: UInt64 = 1 << 20
    /// From here on splicing costs less than the copy that it saves.
    static let smallestSpliced: UInt64 = 1 << 15
    /// Of a larger READ that is answered in chunks, zeroes are not sent, and have to be looked for. (But on this
    /// machine sending them costs less than looking, so that only holes of the image count.)
    static let largestUnsearched: UInt64 = 1 << 15
    /// The room of a pipe, if the network brings whole pages.
    static let largestPiped: UInt64 = 1 << 19
    /// Over TCP receiving is what takes the loop most of its time. Over a Unix socket workers that write while the loop
    /// receives are faster, where there is a processor for them.
    static let piped: ClosedRange<UInt64> = (1 << 17)...(1 << 18)

    /// Chooses where a request's data are to be.
    ///
    /// - Parameters:
    ///   - forced: what a test wants wherever it is possible.
    ///   - isTrue: finds a fact out.
    static func choose(
        _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer, forced: Payload.Kind?,
        isTrue: (PayloadFact) -> Bool
    ) -> Payload.Kind {
        guard need.byteCount > 0 else { return .none }
        if let forced { return choose(forced, need, link, offer, isTrue: isTrue) }
        switch need.kind {
        case .read:
            if need.lengthBytes >= smallestSpliced, need.isInOnePiece || !link.isRemote,
                isPossible(.spliced, need, link, offer), isTrue(.isResident), need.isInOnePiece || isTrue(.isStored)
            {
                return .spliced
            }
            if need.isInOnePiece || need.lengthBytes <= largestUnsearched, isPossible(.mapped, need, link, offer),
                isTrue(.isRemembered)
            {
                return .mapped
            }
        case .write:
            if expectsPipe(need, link, offer, forced: nil), isTrue(.hasPipe) { return .piped }
        default: break
        }
        return .pages
    }

    private static func choose(
        _ forced: Payload.Kind, _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer,
        isTrue: (PayloadFact) -> Bool
    ) -> Payload.Kind {
        guard isPossible(forced, need, link, offer) else { return .pages }
        return forced == .piped && !isTrue(.hasPipe) ? .pages : forced
    }

    /// A request's data can be there.
    static func isPossible(_ kind: Payload.Kind, _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer) -> Bool {
        switch kind {
        case .none: need.byteCount == 0
        case .pages: need.byteCount > 0
        case .spliced:
            need.kind == .read && need.lengthBytes <= largestUnread && need.isOneReply && offer.isMapped
                && link.takesPages
        case .mapped:
            need.kind == .read && need.lengthBytes <= largestUnread && need.isOneReply && offer.isMapped
                && link.sendsUnseen
        case .piped:
            need.kind == .write && need.lengthBytes <= largestPiped && need.isWhole && offer.writesToPageCache
                && link.givesPages
        }
    }

    /// A WRITE like this comes through a pipe, if its payload has not been received yet and there is one. So nothing
    /// should be received before its place is known.
    static func expectsPipe(
        _ need: PayloadNeed, _ link: Link, _ offer: PayloadOffer, forced: Payload.Kind?
    ) -> Bool {
        guard isPossible(.piped, need, link, offer) else { return false }
        if let forced { return forced == .piped }
        return link.isRemote && piped.contains(need.lengthBytes)
    }
}
