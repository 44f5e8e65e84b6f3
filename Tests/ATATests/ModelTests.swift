// Random commands against a model that goes sector by sector: what the drive asks of its medium has to leave the same
// bytes as a disk that does what the standard and QEMU say one sector at a time.

import Blocks
import Seeded
import Testing

@testable import ATA

/// A disk of which one byte stands for a sector.
private struct ModelDisk {
    var sectors: [UInt8]
    var heads: Int
    var sectorsPerTrack: Int
    var multiple = 16
    var writeCache = true

    /// The sector that a command's registers name; nil if there cannot be one.
    func address(_ taskfile: Taskfile, _ form: Form) -> UInt64? {
        let low = taskfile.lba % 256
        let middle = taskfile.lba / 256 % 256
        let high = taskfile.lba / 65536 % 256
        if form != .queued, taskfile.device & 0x40 == 0 {
            guard sectorsPerTrack != 0 else { return nil }
            let track = (high * 256 + middle) * UInt64(heads) + UInt64(taskfile.device % 16)
            let sector = track * UInt64(sectorsPerTrack) + low
            return sector == 0 ? nil : sector - 1
        }
        if form == .short { return UInt64(taskfile.device % 16) * 16_777_216 + high * 65536 + middle * 256 + low }
        return taskfile.lba % 281_474_976_710_656
    }
}

/// How a command uses its registers.
private enum Form {
    case short, extended, queued
}

/// A data command and what the standard says about it.
private struct DataCommand {
    var code: UInt8
    var writes: Bool
    var form: Form
    /// Sectors a block; nil: READ and WRITE MULTIPLE; 0: no blocks, DMA.
    var block: Int?

    static let all = [
        DataCommand(code: 0x20, writes: false, form: .short, block: 1),
        DataCommand(code: 0x21, writes: false, form: .short, block: 1),
        DataCommand(code: 0x24, writes: false, form: .extended, block: 1),
        DataCommand(code: 0x25, writes: false, form: .extended, block: 0),
        DataCommand(code: 0x29, writes: false, form: .extended, block: nil),
        DataCommand(code: 0x30, writes: true, form: .short, block: 1),
        DataCommand(code: 0x31, writes: true, form: .short, block: 1),
        DataCommand(code: 0x34, writes: true, form: .extended, block: 1),
        DataCommand(code: 0x35, writes: true, form: .extended, block: 0),
        DataCommand(code: 0x39, writes: true, form: .extended, block: nil),
        DataCommand(code: 0x3C, writes: true, form: .short, block: 1),
        DataCommand(code: 0x60, writes: false, form: .queued, block: 0),
        DataCommand(code: 0x61, writes: true, form: .queued, block: 0),
        DataCommand(code: 0xC4, writes: false, form: .short, block: nil),
        DataCommand(code: 0xC5, writes: true, form: .short, block: nil),
        DataCommand(code: 0xC8, writes: false, form: .short, block: 0),
        DataCommand(code: 0xC9, writes: false, form: .short, block: 0),
        DataCommand(code: 0xCA, writes: true, form: .short, block: 0),
        DataCommand(code: 0xCB, writes: true, form: .short, block: 0),
    ]
}

/// A drive with its medium beside a model, and commands for both.
private struct Comparison {
    var random: SeededGenerator
    let context: String
    let controller: Controller
    var drive: Drive
    var medium: [UInt8]
    var model: ModelDisk

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        controller = Bool.random(using: &random) ? .piix3IDE : .ich9AHCI
        let size = [1, 63, 300, 2016, 3000].randomElement(using: &random)!
        context = "seed \(seed), \(size) sectors, \(controller)"
        drive = .reference(sectors: UInt64(size), controller: controller)
        medium = []
        for _ in 0..<size { medium.append(UInt8.random(in: 0...255, using: &random)) }
        model = ModelDisk(sectors: medium, heads: 16, sectorsPerTrack: 63)
    }

    /// Executes a command on the drive; its operations are done on the medium.
    /// - Returns: the result, the bytes read, and the operations.
    mutating func execute(
        _ taskfile: Taskfile, written: [UInt8] = [], ranges: [UInt8] = [], failing: Bool = false
    ) -> (result: TaskfileResult, read: [UInt8], asked: [BlockRequest]) {
        var bytes = medium
        var read: [UInt8] = []
        let (result, asked) = drive.execute(taskfile, data: ranges) { operation in
            if failing { return .failed(.unrecovered) }
            switch operation {
            case .read(let lba, let count): read += bytes[Int(lba)..<Int(lba) + Int(count)]
            case .write(let lba, let count):
                bytes.replaceSubrange(Int(lba)..<Int(lba) + Int(count), with: written[..<Int(count)])
            case .discard(let lba, let count), .zeroes(let lba, let count, _):
                bytes.replaceSubrange(Int(lba)..<Int(lba) + Int(count), with: repeatElement(0, count: Int(count)))
            case .prefetch(let lba, let count): #expect(Int(lba) + Int(count) <= bytes.count, "\(context)")
            case .flush: break
            }
            return .done
        }
        medium = bytes
        return (result, read, asked)
    }

    /// Registers that name a sector near the medium, sometimes anything.
    mutating func taskfile(_ code: UInt8, _ form: Form) -> Taskfile {
        var taskfile = Taskfile(command: code, device: Bool.random(using: &random) ? 0xE0 : 0xA0)
        let sector = Int.random(in: 0..<medium.count + 20, using: &random)
        let count = UInt16.random(in: 0...40, using: &random)
        if Int.random(in: 0..<20, using: &random) == 0 {
            taskfile.lba = UInt64.random(in: 0..<1 << 48, using: &random)
            taskfile.device |= UInt8.random(in: 0..<16, using: &random)
        } else if taskfile.device & 0x40 != 0 || form == .queued {
            taskfile.lba = UInt64(sector)
        } else if model.sectorsPerTrack != 0 {
            let track = sector / model.sectorsPerTrack
            taskfile.lba = UInt64(track / model.heads * 256 + sector % model.sectorsPerTrack + 1)
            taskfile.device |= UInt8(track % model.heads)
        }
        if form == .queued {
            taskfile.feature = count
            taskfile.count = UInt16.random(in: 0..<32, using: &random) << 3
        } else {
            taskfile.count = count
        }
        return taskfile
    }

    /// A read or a write.
    mutating func transfer(failing: Bool) {
        let command = DataCommand.all.randomElement(using: &random)!
        let taskfile = taskfile(command.code, command.form)
        let field = Int(command.form == .queued ? taskfile.feature : taskfile.count)
        let count = field == 0 ? (command.form == .short ? 256 : 65536) : field
        let written = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }

        // The model: block by block, until one is not there.
        let address = model.address(taskfile, command.form)
        var moved = 0
        var expectedRead: [UInt8] = []
        let block = command.block ?? model.multiple
        let refused = (command.form == .queued && controller == .piix3IDE) || (command.block == nil && block == 0)
        if let address, !refused {
            while moved < count {
                let part = block == 0 ? count : min(block, count - moved)
                guard address < model.sectors.count, Int(address) + moved + part <= model.sectors.count else { break }
                for index in moved..<moved + part {
                    if command.writes && !failing { model.sectors[Int(address) + index] = written[index] }
                    if !command.writes { expectedRead.append(model.sectors[Int(address) + index]) }
                }
                moved += part
            }
        }

        let (result, read, asked) = execute(taskfile, written: written, failing: failing)
        let text = Comment(rawValue: "\(context), \(taskfile)")
        if failing && moved > 0 {
            #expect(result.status == 0x41 && result.error == 0x04 && result.blockFailure == .unrecovered, text)
            #expect(result.lba == taskfile.lba && result.count == taskfile.count, text)
            #expect(result.sectorsTransferred == 0 && asked.count == 1, text)
            return
        }
        #expect(read == expectedRead, text)
        #expect(result.blockFailure == nil, text)
        #expect(result.sectorsTransferred == UInt32(moved), text)
        #expect(result.status == (moved == count ? 0x50 : 0x41) && result.error == (moved == count ? 0 : 4), text)
        #expect(asked.contains(.flush) == (command.writes && moved > 0 && !model.writeCache), text)
        checkRegisters(result, taskfile, command.form, moved: moved, of: count, text)
    }

    /// The registers name the sector after the last that was moved, and how many are left.
    private func checkRegisters(
        _ result: TaskfileResult, _ taskfile: Taskfile, _ form: Form, moved: Int, of count: Int, _ text: Comment
    ) {
        if moved == 0 || form == .queued {
            #expect(result.lba == taskfile.lba && result.count == taskfile.count, text)
            return
        }
        var end = taskfile
        end.lba = result.lba
        end.device = result.device
        #expect(model.address(end, form) == model.address(taskfile, form).map { $0 + UInt64(moved) }, text)
        #expect(Int(result.count) % 256 == (count - moved) % 256, text)
        #expect(result.count / 256 == taskfile.count / 256, text)
    }

    /// DATA SET MANAGEMENT with some ranges in random places.
    mutating func trim() {
        var list = [UInt8](repeating: 0, count: 1024)
        let blocks = UInt16.random(in: 0...2, using: &random)
        var expected = UInt8(0x50)
        var next = 0
        for index in 0..<128 where Int.random(in: 0..<8, using: &random) == 0 {
            // Half of the ranges begin where the one before ended.
            let follows = Bool.random(using: &random)
            let lba = follows ? next : Int.random(in: 0..<medium.count + (index == 100 ? 8 : 0), using: &random)
            let length = Int.random(in: 0..<min(8, medium.count - min(lba, medium.count) + 2), using: &random)
            list.store(range: UInt64(lba), UInt16(length), at: index)
            next = lba + length
            guard index < Int(blocks) * 64, expected == 0x50, length != 0 else { continue }
            if next <= model.sectors.count {
                model.sectors.replaceSubrange(lba..<next, with: repeatElement(0, count: length))
            } else {
                expected = 0x41
            }
        }
        let taskfile = Taskfile(command: 0x06, feature: 1, count: blocks, device: 0xE0)
        #expect(execute(taskfile, ranges: list).result.status == expected, "\(context), \(blocks) blocks \(list)")
    }

    /// Commands that change how others work, or should not change anything.
    mutating func control() {
        switch Int.random(in: 0..<6, using: &random) {
        case 0:
            let heads = UInt8.random(in: 0..<16, using: &random)
            let sectorsPerTrack = [0, 1, 17, 63, 255].randomElement(using: &random)!
            _ = execute(Taskfile(command: 0x91, count: UInt16(sectorsPerTrack), device: 0xA0 | heads))
            (model.heads, model.sectorsPerTrack) = (Int(heads) + 1, sectorsPerTrack)
        case 1:
            let multiple = Int.random(in: 0...20, using: &random)
            let status = execute(Taskfile(command: 0xC6, count: UInt16(multiple))).result.status
            let good = [0, 1, 2, 4, 8, 16].contains(multiple)
            #expect(status == (good ? 0x50 : 0x41), "\(context), multiple \(multiple)")
            if good { model.multiple = multiple }
        case 2:
            model.writeCache.toggle()
            let (_, _, asked) = execute(Taskfile(command: 0xEF, feature: model.writeCache ? 0x02 : 0x82))
            #expect(asked == (model.writeCache ? [] : [.flush]), "\(context)")
            #expect(drive.writeCacheEnabled == model.writeCache, "\(context)")
        case 3:
            let taskfile = Taskfile(command: Bool.random(using: &random) ? 0xE7 : 0xEA)
            #expect(execute(taskfile).asked == [.flush], "\(context)")
        case 4:
            let form: Form = Bool.random(using: &random) ? .short : .extended
            let taskfile = taskfile(form == .short ? 0x40 : 0x42, form)
            let (result, _, asked) = execute(taskfile, failing: Bool.random(using: &random))
            #expect(result.status == 0x50 && result.blockFailure == nil, "\(context), \(taskfile)")
            let there = model.address(taskfile, form).map { $0 < UInt64(medium.count) } ?? false
            #expect(asked.isEmpty == !there, "\(context), \(taskfile)")
        default:
            _ = execute(taskfile([0x70, 0x10, 0xE0, 0xE5, 0xF8, 0x27, 0xEC].randomElement(using: &random)!, .short))
        }
    }
}

@Suite("Random commands")
struct ModelTests {
    @Test(
        "leave the bytes that a disk going sector by sector has",
        arguments: [1, 2, 3, 4, 5, 6, 7, UInt64.random(in: 0...UInt64.max)])
    func compare(seed: UInt64) {
        var comparison = Comparison(seed: seed)
        for _ in 0..<600 {
            switch Int.random(in: 0..<12, using: &comparison.random) {
            case 0..<8: comparison.transfer(failing: Int.random(in: 0..<16, using: &comparison.random) == 0)
            case 8..<10: comparison.trim()
            default: comparison.control()
            }
            guard comparison.medium == comparison.model.sectors else {
                Issue.record("the bytes differ: \(comparison.context)")
                return
            }
        }
    }
}
