// What may be said about an export (NBD protocol, "Conventions", "Transmission flags", "Size constraints").

import NBD
import Testing

/// 87, 88, 89: powers of two, preferred at least 512 and the minimum, payload at least the preferred size.
@Test func blockSizesThatMayBeAdvertised() throws {
    for (minimum, preferred, payload) in [
        (1, 512, 1 << 20), (1, 4096, 1 << 25), (512, 512, 512), (65536, 65536, 65536), (4096, 1 << 24, 1 << 25),
        (512, 4096, 5000),
    ] as [(UInt32, UInt32, UInt32)] {
        let sizes = try BlockSizes(
            minimumBytes: minimum, preferredBytes: preferred, maximumPayloadBytes: payload)
        #expect(sizes.minimumBytes == minimum && sizes.preferredBytes == preferred)
        #expect(sizes.maximumPayloadBytes == payload)
    }
}

@Test func blockSizesThatMayNotBeAdvertised() {
    for (minimum, preferred, payload, error) in [
        (0, 4096, 1 << 25, .minimumBlockSize(0)),
        (513, 4096, 1 << 25, .minimumBlockSize(513)),
        (1 << 17, 1 << 17, 1 << 25, .minimumBlockSize(1 << 17)),
        (1, 256, 1 << 25, .preferredBlockSize(256, least: 512)),
        (4096, 2048, 1 << 25, .preferredBlockSize(2048, least: 4096)),
        (512, 1000, 1 << 25, .preferredBlockSize(1000, least: 512)),
        (512, 4096, 2048, .maximumPayload(2048, least: 4096)),
        (512, 4096, 1 << 25 + 1, .maximumPayload(1 << 25 + 1, least: 4096)),
    ] as [(UInt32, UInt32, UInt32, ExportInformationError)] {
        #expect(throws: error) {
            try BlockSizes(minimumBytes: minimum, preferredBytes: preferred, maximumPayloadBytes: payload)
        }
    }
}

/// 90: what a client assumes when it was told nothing.
@Test func portableBlockSizes() {
    #expect(BlockSizes.portable.minimumBytes == 1)
    #expect(BlockSizes.portable.preferredBytes == 4096)
    #expect(BlockSizes.portable.maximumPayloadBytes == 33_554_432)
}

@Test func stringsOfTheProtocol() throws {
    let longest = String(repeating: "x", count: 4096)
    let export = try ExportInformation(name: longest, description: longest, sizeBytes: 0, flags: [])
    #expect(export.name.count == 4096 && export.description.count == 4096)
    #expect(throws: ExportInformationError.stringTooLong("name", bytes: 4097)) {
        try ExportInformation(name: longest + "x", description: "", sizeBytes: 0, flags: [])
    }
    // Bytes count, not characters.
    #expect(throws: ExportInformationError.stringTooLong("description", bytes: 4098)) {
        try ExportInformation(
            name: "", description: String(repeating: "ü", count: 2049), sizeBytes: 0, flags: [])
    }
    #expect(throws: ExportInformationError.stringContainsNUL("name")) {
        try ExportInformation(name: "a\0b", description: "", sizeBytes: 0, flags: [])
    }
}

/// 97, 125, 177: bit 0 always set; SEND_DF only where replies are chunks, SEND_FAST_ZERO only with SEND_WRITE_ZEROES,
/// BLOCK_STATUS_PAYLOAD only with extended headers and a context.
@Test func flagsThatAreTold() throws {
    let cases: [(TransmissionFlags, MessageStyle, hasContext: Bool, UInt16)] = [
        ([], .simple, false, 0x0001),
        ([.sendDF], .simple, false, 0x0001),
        ([.sendDF], .structured, false, 0x0081),
        ([.sendDF], .structured, true, 0x0081),
        ([.sendDF], .extended, false, 0x0081),
        ([.sendDF], .extended, true, 0x1081),
        ([.sendFastZero], .structured, false, 0x0001),
        ([.sendFastZero, .sendWriteZeroes, .readOnly], .structured, false, 0x0843),
    ]
    for (flags, messages, hasContext, told) in cases {
        let export = try ExportInformation(name: "", description: "", sizeBytes: 0, flags: flags)
        #expect(export.transmissionFlags(messages: messages, hasAllocationContext: hasContext).rawValue == told)
    }
}
