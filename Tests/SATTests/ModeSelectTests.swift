// MODE SELECT beyond what the probe session has.

import ATA
import SAT
import SCSI
import Testing

@Suite("MODE SELECT")
struct ModeSelectTests {
    private static let cachingOff: [UInt8] = [0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0]
    private static let blockDescriptor: [UInt8] = [0, 0, 0, 0, 0, 0, 2, 0]

    private static func select6(_ length: Int) -> CommandDescriptorBlock {
        [0x15, 0x10, 0, 0, UInt8(length), 0]
    }

    @Test("switches the write cache of the drive, and the layer asks the drive again")
    func writeCache() {
        var initiator = Initiator()
        let list = [0, 0, 0, 0] + Self.cachingOff
        let response = initiator.send(Self.select6(list.count), data: list)
        #expect(response.status == .good)
        // The drive flushes before its cache is off.
        #expect(response.operations == [.flush])
        #expect(!initiator.drive.writeCacheEnabled)
        #expect(!initiator.layer.identifyData.writeCacheEnabled)
    }

    @Test("what was selected stays when the drive grows, and the layer knows its size")
    func growth() {
        var initiator = Initiator()
        let descriptorSense: [UInt8] = [0x0A, 0x0A, 0x06, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 30]
        for page in [Self.cachingOff, descriptorSense] {
            #expect(initiator.send(Self.select6(4 + page.count), data: [0, 0, 0, 0] + page).status == .good)
        }
        initiator.drive.resize(toSectors: 1 << 33)
        initiator.layer.revalidate(&initiator.drive)
        #expect(!initiator.drive.writeCacheEnabled && !initiator.layer.identifyData.writeCacheEnabled)
        #expect(initiator.layer.descriptorSense)
        // READ CAPACITY (16): the last sector.
        let capacity = initiator.send([0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], length: 32)
        #expect(capacity.data.prefix(8) == [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF])
    }

    @Test("leaves all as it is when the drive fails to")
    func failure() {
        var initiator = Initiator()
        let list = [0, 0, 0, 0] + Self.cachingOff
        let response = initiator.send(Self.select6(list.count), data: list) { _ in .failed(.unrecovered) }
        #expect(response.senseCodes == [0x0B, 0x00, 0x00])
        #expect(response.sense?.information == nil)
    }

    @Test("takes a long header, a block descriptor, and the subpage form of a page")
    func forms() {
        let content = Self.cachingOff.dropFirst(2)
        let lists: [(CommandDescriptorBlock, [UInt8])] = [
            (Self.select6(32), [0, 0, 0, 8] + Self.blockDescriptor + Self.cachingOff),
            ([0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0], [0, 0, 0, 0, 0, 0, 0, 0] + Self.cachingOff),
            (
                [0x55, 0x10, 0, 0, 0, 0, 0, 0, 36, 0],
                [0, 0, 0, 0, 0, 0, 0, 8] + Self.blockDescriptor + Self.cachingOff
            ),
            (Self.select6(26), [0, 0, 0, 0] + [0x48, 0xFF, 0x00, 0x12] + content),
        ]
        for (command, list) in lists {
            var initiator = Initiator()
            #expect(initiator.send(command, data: list).status == .good)
            #expect(!initiator.drive.writeCacheEnabled)
        }
    }

    @Test("with nothing but a header is fine")
    func nothing() {
        var initiator = Initiator()
        #expect(initiator.send(Self.select6(4), data: [0, 0, 0, 0]).status == .good)
        #expect(initiator.send(Self.select6(12), data: [0, 0, 0, 8] + Self.blockDescriptor).status == .good)
    }

    @Test("that is too short for what it says is refused")
    func lengths() {
        let lists: [[UInt8]] = [
            [], [0, 0, 0], [0, 0, 0, 8, 0], [0, 0, 0, 0, 0x08], [0, 0, 0, 0, 0x08, 0x12, 0],
            [0, 0, 0, 0, 0x48, 0xFF, 0], [0, 0, 0, 0xFF],
        ]
        for list in lists {
            var initiator = Initiator()
            #expect(initiator.send(Self.select6(list.count), data: list).senseCodes == [0x05, 0x1A, 0x00])
        }
        // More than the buffer has.
        var initiator = Initiator()
        #expect(initiator.send(Self.select6(24), data: [0, 0, 0, 0]).senseCodes == [0x05, 0x1A, 0x00])
    }

    @Test("points at what is wrong in the list")
    func pointers() {
        let wrong: [(list: [UInt8], byte: UInt16)] = [
            // A block descriptor of 4 bytes.
            ([0, 0, 0, 4, 0, 0, 0, 0], 3 + 4 + 4),
            // Subpage 01h.
            ([0, 0, 0, 0, 0x48, 0x01, 0, 0], 5),
            // A page without changeable bits, and one that is not there.
            ([0, 0, 0, 0, 0x01, 0x0A] + [UInt8](repeating: 0, count: 10), 4),
            ([0, 0, 0, 8] + Self.blockDescriptor + [0x1C, 0x00], 12),
            // A caching page of 16 bytes.
            ([0, 0, 0, 0, 0x08, 0x10] + [UInt8](repeating: 0, count: 16), 4 + 16),
            // A control page with another busy timeout.
            ([0, 0, 0, 0, 0x0A, 0x0A, 0x06, 0, 0, 0, 0, 0, 0xFF, 0xFE, 0, 0x1E], 4 + 7),
            // Two pages.
            ([0, 0, 0, 0] + Self.cachingOff + Self.cachingOff, 0xFFFF),
        ]
        for (list, byte) in wrong {
            var initiator = Initiator()
            let response = initiator.send(Self.select6(list.count), data: list)
            #expect(response.senseCodes == [0x05, 0x26, 0x00])
            #expect(response.sense?.fieldPointer == SenseFieldPointer(isInCommand: false, byte: byte))
            #expect(initiator.drive.writeCacheEnabled)
        }
    }
}
