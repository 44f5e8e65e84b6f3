// A brake on guesses at the secrets of CHAP.

import Listening
import Synchronization

/// The initiator that answers a challenge.
struct LoginAttempt: Sendable {
    /// Where it comes from.
    let origin: Peer.Origin
    /// CHAP_N.
    let user: String
    /// InitiatorName.
    let initiator: String
}

/// When an answer to a challenge is judged.
enum LoginTurn: Equatable, Sendable {
    /// At once; as one of many that were wrong, if it is slow.
    case now(isSlow: Bool)
    /// At this time.
    case at(UInt64)
    /// Not at all: too many of its lane wait already.
    case never
}

/// How often logins of an address have failed lately. The first failures cost nothing; after them, the answers of that
/// address are judged one after the other, with a growing pause between them. The right answers wait, too: else those
/// who guess would not have to wait for the wrong ones.
///
/// All initiators of an address share a lane, and of IPv6 all of a network of 64 bits, of which one host may have any.
/// An initiator that has logged in before has a lane of its own: its address, its CHAP name and its InitiatorName. So
/// it comes back at once while somebody guesses from behind the same NAT.
///
/// All loops share it. It takes as much memory as it ever will when it is made. No request asks.
final class LoginBrake: Sendable {
    /// So many failures are free.
    static let freeFailures = 5
    /// The longest pause, and the longest wait, in nanoseconds. It is shorter than a handshake may take.
    static let longestPause: UInt64 = 4_000_000_000
    /// After so many quiet nanoseconds failures are forgotten.
    static let memory: UInt64 = 60_000_000_000
    /// Lanes; the oldest of four goes for a new one.
    static let laneCount = 1024
    private static let ways = 4

    private struct Lane: Sendable {
        /// 0: it is free.
        var key: UInt64 = 0
        var failures: UInt8 = 0
        /// When its next answer is judged.
        var nextTurn: UInt64 = 0
        var lastUse: UInt64 = 0
    }
    private let lanes = Mutex([Lane](repeating: Lane(), count: laneCount))

    /// An answer has come, and has its turn.
    func turn(of attempt: LoginAttempt, now: UInt64) -> LoginTurn {
        lanes.withLock { lanes in
            guard let place = Self.find(attempt, in: lanes) else { return .now(isSlow: false) }
            lanes[place].lastUse = now
            if now > lanes[place].nextTurn &+ Self.memory { lanes[place].failures = 0 }
            guard let pause = Self.pause(lanes[place].failures) else { return .now(isSlow: false) }
            let turn = max(now, lanes[place].nextTurn)
            guard turn - now <= Self.longestPause else { return .never }
            lanes[place].nextTurn = turn + pause
            return turn == now ? .now(isSlow: true) : .at(turn)
        }
    }

    /// An answer was wrong.
    ///
    /// - Returns: whether the next ones have to wait, and those before did not.
    func noteFailure(_ attempt: LoginAttempt, now: UInt64) -> Bool {
        lanes.withLock { lanes in
            let place = Self.find(attempt, in: lanes) ?? Self.make(attempt.addressKey, &lanes)
            let wasFree = Self.pause(lanes[place].failures) == nil
            lanes[place].failures = min(lanes[place].failures + 1, 100)
            lanes[place].lastUse = now
            let pause = Self.pause(lanes[place].failures)
            lanes[place].nextTurn = max(lanes[place].nextTurn, now + (pause ?? 0))
            return wasFree && pause != nil
        }
    }

    /// An answer was right: from now on this initiator does not wait for others of its address.
    func noteSuccess(_ attempt: LoginAttempt, now: UInt64) {
        lanes.withLock { lanes in
            let place = Self.find(attempt.initiatorKey, in: lanes) ?? Self.make(attempt.initiatorKey, &lanes)
            lanes[place].failures = 0
            lanes[place].lastUse = now
        }
    }

    /// 1, 2, 4 seconds; nil: none.
    private static func pause(_ failures: UInt8) -> UInt64? {
        guard failures >= freeFailures else { return nil }
        return min(1_000_000_000 << UInt64(min(Int(failures) - freeFailures, 8)), longestPause)
    }

    private static func find(_ attempt: LoginAttempt, in lanes: [Lane]) -> Int? {
        find(attempt.initiatorKey, in: lanes) ?? find(attempt.addressKey, in: lanes)
    }

    private static func places(of key: UInt64) -> Range<Int> {
        let start = Int(key % UInt64(laneCount / ways)) * ways
        return start..<start + ways
    }

    private static func find(_ key: UInt64, in lanes: [Lane]) -> Int? {
        places(of: key).first { lanes[$0].key == key }
    }

    private static func make(_ key: UInt64, _ lanes: inout [Lane]) -> Int {
        var oldest = places(of: key).lowerBound
        for place in places(of: key) where lanes[place].lastUse < lanes[oldest].lastUse { oldest = place }
        lanes[oldest] = Lane(key: key)
        return oldest
    }
}

extension LoginAttempt {
    /// Hashes have a seed of this process, so nobody can choose the lanes that go for new ones.
    fileprivate var addressKey: UInt64 { key { _ in } }

    fileprivate var initiatorKey: UInt64 {
        key {
            $0.combine(user)
            $0.combine(initiator)
        }
    }

    private func key(_ more: (inout Hasher) -> Void) -> UInt64 {
        var hasher = Hasher()
        if case .internet(let address) = origin { hasher.combine(address.network) }
        more(&hasher)
        return UInt64(bitPattern: Int64(hasher.finalize())) | 1
    }
}
