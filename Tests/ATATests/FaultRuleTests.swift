// Rules of faults as people write them.

import Testing

@testable import ATA

@Suite("A rule of a fault")
struct FaultRuleTests {
    @Test(
        "is printed as it is read",
        arguments: [
            "unreadable lba=81920..81927", "unreadable lba=7", "unreadable probability=0.001 seed=42", "idnf lba=1..2",
            "write-fault lba=0..281474976710655 every=3", "icrc command=write after=5 count=1", "abort command=smart",
            "abort command=all", "device-fault command=flush for=60", "device-fault", "unreadable command=verify",
            "icrc every=100 seed=18446744073709551615", "slow seconds=2", "slow lba=5 every=9 seconds=0.25",
        ])
    func text(rule: String) throws {
        #expect(try FaultRule(parsing: rule).description == rule)
    }

    @Test("may have its words in any order, and says nothing that goes without saying")
    func order() throws {
        #expect(
            try FaultRule(parsing: " abort  seed=7 command=write,read lba=5..5 every=1 after=0 probability=1")
                .description
                == "abort lba=5 command=read,write seed=7")
        // Without an address only commands that have one.
        #expect(try FaultRule(parsing: "abort lba=5").commands == [.read, .verify, .write])
        #expect(try FaultRule(parsing: "abort").commands == [.read, .verify, .write, .flush, .trim])
    }

    @Test(
        "that makes no sense is refused in words that help",
        arguments: [
            ("", "a fault begins with its kind, one of unreadable, write-fault, idnf, icrc, abort, device-fault, slow"),
            (
                "broken",
                "'broken' is no kind of fault: it is one of unreadable, write-fault, idnf, icrc, abort, device-fault, slow"
            ),
            (
                "icrc 5",
                "'5' says nothing about a fault: words behind the kind are KEY=VALUE, the keys lba, command, after, every, "
                    + "probability, seed, count, for, seconds"
            ),
            (
                "icrc ever=5",
                "'ever=5' says nothing about a fault: words behind the kind are KEY=VALUE, the keys lba, command, after, "
                    + "every, probability, seed, count, for, seconds"
            ),
            ("icrc every=5 every=6", "'every' is there more than once"),
            (
                "unreadable lba=9..8",
                "'lba=9..8' names no sectors: FIRST..LAST, or one number, as in lba=81920..81927; the last is below 2^48"
            ),
            (
                "unreadable lba=281474976710656",
                "'lba=281474976710656' names no sectors: FIRST..LAST, or one number, as in lba=81920..81927; the last is "
                    + "below 2^48"
            ),
            (
                "unreadable lba=+1",
                "'lba=+1' names no sectors: FIRST..LAST, or one number, as in lba=81920..81927; the last is below 2^48"
            ),
            ("icrc every=0", "'every=0' is not right: it is a number from 1 to 281474976710656"),
            ("slow", "how slow is missing: seconds=0.5"),
            ("abort seconds=1", "'abort' takes no time: seconds is for slow"),
            ("slow seconds=3601", "'seconds=3601' is not right: it is a number from 0.001 to 3600"),
            ("slow seconds=nan", "'seconds=nan' is not right: it is a number from 0.001 to 3600"),
            ("icrc for=0", "'for=0' is not right: it is a number from 1 to 1000000000"),
            ("icrc seed=-1", "'seed=-1' is not right: it is a number from 0 to 18446744073709551615"),
            ("icrc probability=1.5", "'probability=1.5' is no probability: it is above 0 and at most 1"),
            ("icrc probability=nan", "'probability=nan' is no probability: it is above 0 and at most 1"),
            (
                "abort command=eject",
                "'eject' is no group of commands: it is one of read, verify, write, flush, trim, smart, other, all"
            ),
            ("unreadable command=read,write", "'unreadable' does not happen to write: it happens to read,verify"),
            ("abort lba=5 command=read,flush", "flush commands have no address here: leave lba out, or them"),
        ])
    func refusals(text: String, message: String) {
        do {
            _ = try FaultRule(parsing: text)
            Issue.record("'\(text)' was taken")
        } catch {
            #expect(error.description == message)
        }
    }
}
