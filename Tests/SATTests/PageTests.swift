// Pages that no session of the reference drive has asked for (SBC-3, 6.5.3; SPC-4, 7.5).

import SAT
import SCSI
import Testing

@Suite("Pages")
struct PageTests {
    @Test("say how much one WRITE SAME may unmap")
    func blockLimits() {
        var initiator = Initiator()
        let response = initiator.send([0x12, 1, 0xB0, 0, 64, 0], length: 64)
        // MAXIMUM WRITE SAME LENGTH: 64 ranges of 65,535 sectors.
        #expect(response.data.dropFirst(36).prefix(8).elementsEqual([0, 0, 0, 0, 0, 0x3F, 0xFF, 0xC0]))
    }

    @Test("of changeable values have nothing but these")
    func changeable() {
        var initiator = Initiator()
        // MODE SENSE (6) without a block descriptor: the Control page, D_SENSE.
        let response = initiator.send([0x1A, 0x08, 0x4A, 0, 16, 0], length: 16)
        let page: [UInt8] = [15, 0, 0, 0, 0x0A, 0x0A, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(response.data == page)
    }
}
