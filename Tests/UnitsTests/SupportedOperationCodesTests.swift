// REPORT SUPPORTED OPERATION CODES: it agrees with what the device server does.

import ATA
import SCSI
import Testing
import Units

@Suite("REPORT SUPPORTED OPERATION CODES")
struct SupportedOperationCodesTests {
    /// A command descriptor.
    private struct Descriptor: Equatable {
        var code: UInt8
        var action: UInt16
        var hasActions: Bool
        var length: Int
    }

    private func ask(
        _ bench: inout Bench, _ option: UInt8, _ code: UInt8 = 0, _ action: UInt16 = 0, length: UInt16 = .max
    ) throws -> Answered {
        let cdb: CommandDescriptorBlock = [
            0xA3, 0x0C, option, code, UInt8(action >> 8), UInt8(action & 0xFF), 0, 0, UInt8(length >> 8),
            UInt8(length & 0xFF), 0, 0,
        ]
        return try bench.send(cdb, expecting: Int(length))
    }

    private func all(_ bench: inout Bench) throws -> [Descriptor] {
        let data = try ask(&bench, 0).data
        let length = Int(data[2]) << 8 | Int(data[3])
        #expect(data.count == 4 + length && length % 8 == 0)
        var list: [Descriptor] = []
        for start in stride(from: 4, to: data.count, by: 8) {
            let flags = data[start + 5]
            list.append(
                Descriptor(
                    code: data[start], action: UInt16(data[start + 2]) << 8 | UInt16(data[start + 3]),
                    hasActions: flags & 1 != 0,
                    length: Int(data[start + 7])))
        }
        return list
    }

    @Test("lists all commands, and tells the same of each")
    func list() throws {
        var bench = Bench(sectors: 300)
        let list = try all(&bench)
        let codes = Set(list.map(\.code))
        #expect(
            codes.isSuperset(of: [0x00, 0x12, 0x28, 0x2A, 0x42, 0x5E, 0x5F, 0x85, 0x88, 0x89, 0x93, 0x9E, 0xA0, 0xA3]))
        #expect(codes.isDisjoint(with: [0x48, 0x04, 0x8B, 0x9C, 0x83, 0x84, 0x9F]))
        for one in list {
            let data = try ask(&bench, one.hasActions ? 2 : 1, one.code, one.action).data
            #expect(data[1] == 3 && data.count == 4 + one.length && Int(data[3]) == one.length && data[4] == one.code)
            let isLong = one.length == 32
            let action = isLong ? UInt16(data[12]) << 8 | UInt16(data[13]) : UInt16(data[5] & 0x1F)
            #expect(!one.hasActions || action == one.action)
            #expect(try ask(&bench, 3, one.code, one.action).data == data)
            #expect(try ask(&bench, one.hasActions ? 1 : 2, one.code, one.action).codes == Bench.invalidField)
            #expect(one.hasActions || one.action == 0)
        }
    }

    @Test("each bit outside of the usage data is refused, and operation codes that are not listed are unknown")
    func usage() throws {
        var bench = Bench(sectors: 300)
        let list = try all(&bench) + [Descriptor(code: 0x7F, action: 0x1FF0, hasActions: true, length: 32)]
        for one in list {
            let usage = try ask(&bench, 3, one.code, one.action).data.dropFirst(4)
            for bit in 8..<one.length * 8 where usage[usage.startIndex + bit / 8] & 0x80 >> UInt8(bit % 8) == 0 {
                // Other service actions are other commands.
                let isLong = one.length == 32
                if one.hasActions, (isLong ? 56..<80 : 11..<16).contains(bit) { continue }
                var cdb = [UInt8](repeating: 0, count: one.length)
                cdb[0] = one.code
                // ADDITIONAL CDB LENGTH and SERVICE ACTION, or this alone.
                if isLong { cdb.replaceSubrange(7..<10, with: usage.dropFirst(7).prefix(3)) }
                if one.hasActions, !isLong { cdb[1] = UInt8(one.action) }
                cdb[bit / 8] |= 0x80 >> UInt8(bit % 8)
                bench.rest = isLong ? CommandDescriptorBlock(Array(cdb.dropFirst(16))) : nil
                let answer = try bench.send(CommandDescriptorBlock(cdb))
                #expect(answer.codes == Bench.invalidField, "\(cdb)")
                #expect(answer.sense?.fieldPointer?.byte == UInt16(bit / 8), "\(cdb)")
            }
        }
        bench.rest = nil
        // ATA PASS-THROUGH (32) is not in the list, which libiscsi could not read.
        for code in UInt8.min...UInt8.max where code != 0x7F && !list.contains(where: { $0.code == code }) {
            #expect(try bench.send(CommandDescriptorBlock([code])).codes == Bench.unknownCommand, "\(code)")
            #expect(try ask(&bench, 1, code).data == [0, 1, 0, 0])
            #expect(try ask(&bench, 2, code, 3).data == [0, 1, 0, 0])
        }
        #expect(try ask(&bench, 2, 0x9E, 0x1F).data == [0, 1, 0, 0])
        #expect(try ask(&bench, 4).codes == Bench.invalidField)
    }

    @Test("timeouts come if they are wanted")
    func timeouts() throws {
        var bench = Bench(sectors: 300)
        let plain = try ask(&bench, 0).data
        let timed = try ask(&bench, 0x80).data
        #expect(timed.count - 4 == (plain.count - 4) / 8 * 20)
        for start in stride(from: 4, to: timed.count, by: 20) {
            #expect(timed[start + 5] & 0x02 != 0 && timed[start + 8] == 0 && timed[start + 9] == 0x0A)
        }
        let one = try ask(&bench, 0x81, 0x28).data
        #expect(one[1] == 0x83 && one.count == 4 + 10 + 12)
        #expect(try ask(&bench, 0, length: 100).transferBytes == 100)
    }

    @Test("a disk without TRIM has no UNMAP")
    func withoutTrim() throws {
        var bench = Bench(sectors: 300, change: { $0.supportsTrim = false })
        let codes = try all(&bench).map(\.code)
        #expect(!codes.contains(0x42) && codes.contains(0x93))
        #expect(try ask(&bench, 1, 0x93).data[5] == 0x01)
    }
}
