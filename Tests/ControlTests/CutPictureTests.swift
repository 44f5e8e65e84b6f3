// Pictures of drives after a power cut.

import Testing

@testable import Control

@Suite struct CutPictureTests {
    private typealias Write = (lba: UInt64, sectors: UInt64, kept: [[UInt64]])

    private func picture(
        _ writes: [Write], damaged: [[UInt64]] = [], of sectors: UInt64 = .max
    ) throws -> [String] {
        let list = writes.map {
            """
            {"number":1,"kind":"write","lba":\($0.lba),"sectors":\($0.sectors),"fate":"torn","kept":\($0.kept),
            "connection":1,"after-flush":0,"nanoseconds":0}
            """
        }
        let json = """
            {"export":"disk","power":"on","keep":"torn","seed":"1","sectors":\(sectors),"flushes":0,"kept-sectors":0,"lost-sectors":0,
            "writes":[\(list.joined(separator: ","))],"damaged":\(damaged),"connections":[],"command":"again"}
            """
        let text = try ControlTables.powerCut(Array(json.utf8), picture: true)
        // Behind the head is an empty line.
        return text.split(separator: "\n", omittingEmptySubsequences: false).drop { !$0.isEmpty }.dropFirst().map(
            String.init)
    }

    @Test func eachSectorIsACharacter() throws {
        let lines = try picture(
            [(2048, 8, [[2049, 2051]]), (4096, 8, [[4096, 4096], [4103, 4103]]), (4098, 2, [[4098, 4099]])],
            damaged: [[4104, 4104]])
        let expected = [
            "2048 -###----........................................................", "     :",
            "4096 #-%%---#!.......................................................", "",
            "Each character is 1 sector:  . stable  # kept  - lost  % kept and lost  ! damaged", "",
        ]
        #expect(lines == expected)
        #expect(try picture([]) == ["no sector was in doubt", ""])
    }

    /// A write of a line and a half goes on in the next line, which follows at once.
    @Test func linesThatFollowEachOtherHaveNoGap() throws {
        let lines = try picture([(64, 96, [])])
        let half = String(repeating: "-", count: 32)
        #expect(lines[0] == " 64 " + half + half)
        #expect(lines[1] == "128 " + half + String(repeating: ".", count: 32))
    }

    /// What does not exist is not drawn; the last character may stand for fewer sectors than the others.
    @Test func aPictureEndsWithItsDrive() throws {
        #expect(try picture([(0, 1, [])], of: 1)[0] == "0 -")
        #expect(try picture([(0, 1, [[0, 0]])], of: 3)[0] == "0 #..")
        let second = try picture([(60, 8, [])], of: 70)
        #expect(second[0].count == 3 + 64 && second[1] == "64 ----..")
        #expect(try picture([(0, 1, []), (64 * 20, 1, [])], of: 64 * 20 + 1)[0].count == 5 + 64)
        let large = try picture([(0, 64 * 21 + 1, [])], of: 64 * 21 + 1)
        #expect(large[10] == "1280 " + String(repeating: "-", count: 33) && large.count == 11 + 3)
        // Whoever answers.
        #expect(try picture([(0, 4, [])], damaged: [[2, 3]], of: 3) == ["no sector was in doubt", ""])
        #expect(try picture([(0, 4, [])], of: 0) == ["no sector was in doubt", ""])
    }

    /// However large a drive is and however many writes there are, the picture fits on a terminal.
    @Test func aPictureIsNeverLong() throws {
        let far = (0..<200).map { number -> Write in
            let lba = UInt64(number) << 45
            return (lba, 3, [[lba, lba]])
        }
        let whole: [Write] = [(0, .max, [])]
        let large: [Write] = [(0, 1 << 40, []), (7, 1, [[7, 7]])]
        for writes in [far, whole, large] {
            let lines = try picture(writes)
            #expect(lines.count <= 44)
            #expect(lines.allSatisfy { $0.count <= 100 })
            #expect(lines[0].contains { "-%".contains($0) }, "\(lines)")
        }
        let lines = try picture([(0, 64 * 64, [[0, 63]])])
        let (kept, lost) = (String(repeating: "#", count: 16), String(repeating: "-", count: 48))
        #expect(lines[0] == "   0 " + kept + lost)
        #expect(lines.count == 16 + 3 && lines[17].hasPrefix("Each character is 4 sectors:"))
    }

    /// Whoever answers, `spindle ctl` does not trap.
    @Test func runsThatMakeNoSenseAreLeftOut() throws {
        let lines = try picture(
            [(8, 4, [[], [9], [11, 9], [0, 1], [9, 9], [9, 9], [11, 99]]), (.max, 2, [])],
            damaged: [[1], [.max, .max], [3, 2], [0, 0]])
        #expect(lines[0].hasPrefix(" 0 !.......-#--.."))
        #expect(ControlTables.runs([[], [1], [2, 2], [3, 5]]) == " 1 2 3-5")
    }
}
