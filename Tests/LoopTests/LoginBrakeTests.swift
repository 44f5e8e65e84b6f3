// The brake on guesses at secrets, with a clock that the test turns.

import Listening
import Testing

@testable import Loop

@Suite struct LoginBrakeTests {
    private static let second: UInt64 = 1_000_000_000

    private func attempt(
        _ address: String = "192.0.2.1", user: String = "alice", initiator: String = "iqn.2026-11.org.example:x"
    ) throws -> LoginAttempt {
        LoginAttempt(
            origin: .internet(try #require(InternetAddress(address))), user: user, initiator: initiator)
    }

    /// Fails as often as it is free.
    private func begin(_ brake: LoginBrake, _ attempt: LoginAttempt, now: UInt64) {
        for number in 1...LoginBrake.freeFailures {
            #expect(brake.turn(of: attempt, now: now) == .now(isSlow: false))
            #expect(brake.noteFailure(attempt, now: now) == (number == LoginBrake.freeFailures))
        }
    }

    /// A thousand connections that all guess get no further than one.
    @Test func guessesAreBounded() throws {
        let brake = LoginBrake()
        var now: UInt64 = 100 * Self.second
        let end = now + 60 * Self.second
        var (waiting, judged): ([UInt64], Int) = ([], 0)
        while now < end {
            for number in 0..<1000 {
                let guess = try attempt(user: "user\(number % 7)", initiator: "iqn.a:\(number)")
                switch brake.turn(of: guess, now: now) {
                case .now:
                    judged += 1
                    _ = brake.noteFailure(guess, now: now)
                case .at(let turn):
                    #expect(turn > now && turn <= now + LoginBrake.longestPause)
                    waiting.append(turn)
                case .never: break
                }
            }
            now += Self.second / 4
            for turn in waiting where turn <= now {
                judged += 1
                #expect(!brake.noteFailure(try attempt(), now: turn))
            }
            waiting.removeAll { $0 <= now }
        }
        #expect((LoginBrake.freeFailures + 14...LoginBrake.freeFailures + 20).contains(judged), "\(judged)")
    }

    @Test func pausesGrowAndEnd() throws {
        let brake = LoginBrake()
        let guess = try attempt()
        var now: UInt64 = 100 * Self.second
        begin(brake, guess, now: now)
        for pause: UInt64 in [1, 2, 4, 4, 4] {
            #expect(brake.turn(of: guess, now: now) == .at(now + pause * Self.second))
            now += pause * Self.second
            #expect(!brake.noteFailure(guess, now: now))
        }
        now += LoginBrake.longestPause + LoginBrake.memory + 1
        begin(brake, guess, now: now)
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.2", false), ("192.0.2.1", "2001:db8::1", false),
        ("2001:db8::1", "2001:db8:0:1::1", false), ("2001:db8::1", "2001:db8::2", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
    ])
    func othersDoNotWait(address: String, other: String, isSame: Bool) throws {
        let brake = LoginBrake()
        begin(brake, try attempt(address), now: Self.second)
        let turn = brake.turn(of: try attempt(other), now: Self.second)
        #expect(turn == (isSame ? .at(2 * Self.second) : .now(isSlow: false)))
    }

    /// Who was there before is known by its names. Who knows one of them only is not.
    @Test func whoHasLoggedInBeforeDoesNotWait() throws {
        let brake = LoginBrake()
        let honest = try attempt(initiator: "iqn.2026-11.org.example:honest")
        #expect(brake.turn(of: honest, now: 1) == .now(isSlow: false))
        brake.noteSuccess(honest, now: 1)
        begin(brake, try attempt(), now: Self.second)
        #expect(brake.turn(of: honest, now: Self.second) == .now(isSlow: false))
        let bob = try attempt(user: "bob", initiator: honest.initiator)
        #expect(brake.turn(of: bob, now: Self.second) == .at(2 * Self.second))
        // Its own lane has its own failures, and one success ends them.
        begin(brake, honest, now: Self.second)
        #expect(brake.turn(of: honest, now: Self.second) == .at(2 * Self.second))
        brake.noteSuccess(honest, now: 2 * Self.second)
        #expect(brake.turn(of: honest, now: 2 * Self.second) == .now(isSlow: false))
    }

    /// Guesses with both names of an initiator are in its lane, and its right answer waits as they do.
    @Test func whoGuessesWithTheNamesOfAnotherShutsItOut() throws {
        let brake = LoginBrake()
        let honest = try attempt()
        brake.noteSuccess(honest, now: 1)
        begin(brake, honest, now: Self.second)
        // Guesses one after the other, until pauses are as long as they get: another one waits then.
        for turn: UInt64 in [2, 4, 8] {
            #expect(brake.turn(of: honest, now: turn / 2 * Self.second) == .at(turn * Self.second))
            #expect(!brake.noteFailure(honest, now: turn * Self.second))
        }
        #expect(brake.turn(of: honest, now: 8 * Self.second) == .at(12 * Self.second))
        #expect(brake.turn(of: honest, now: 9 * Self.second) == .never)
        for other in [try attempt(user: "bob"), try attempt("192.0.2.2")] {
            #expect(brake.turn(of: other, now: 9 * Self.second) == .now(isSlow: false))
        }
        // The guesses end.
        #expect(!brake.noteFailure(honest, now: 12 * Self.second))
        #expect(brake.turn(of: honest, now: 12 * Self.second) == .at(16 * Self.second))
        brake.noteSuccess(honest, now: 16 * Self.second)
        #expect(brake.turn(of: honest, now: 16 * Self.second) == .now(isSlow: false))
    }

    /// Many addresses take the places of others, and no more memory.
    @Test func theTableIsFixed() throws {
        let brake = LoginBrake()
        for number in 0..<100_000 {
            let guess = try attempt("10.\(number >> 16).\(number >> 8 & 255).\(number & 255)")
            #expect(brake.turn(of: guess, now: UInt64(number)) == .now(isSlow: false))
            #expect(!brake.noteFailure(guess, now: UInt64(number)))
        }
        begin(brake, try attempt(), now: Self.second)
        #expect(brake.turn(of: try attempt(), now: Self.second) == .at(2 * Self.second))
    }
}
