// A capture file of one SCSI command and its data, as iSCSI carries them (RFC 7143, 11.3 and 11.7): the shortest way of
// giving SCSI data to Wireshark.

/// Two packets: the command to a target, its data and status back.
enum ISCSICapture {
    /// The capture, in the classic pcap format with packets of the link type "raw IP".
    static func bytes(command: [UInt8], data: [UInt8]) -> [UInt8] {
        let request = commandPDU(command, expecting: data.count)
        let response = dataInPDU(data)
        let header =
            big(0xA1B2_C3D4, 4) + big(2, 2) + big(4, 2) + big(0, 8) + big(65535, 4) + big(101, 4)
        let target = 3260
        let initiator = 40000
        return header + packet(request, from: initiator, to: target, sequence: 1, acknowledged: 1)
            + packet(response, from: target, to: initiator, sequence: 1, acknowledged: 1 + request.count)
    }

    /// SCSI Command: final, reads; LUN 0, task tag 1.
    private static func commandPDU(_ command: [UInt8], expecting count: Int) -> [UInt8] {
        [0x01, 0xC0, 0, 0] + big(0, 4) + big(0, 8) + big(1, 4) + big(count, 4) + big(1, 4) + big(1, 4)
            + command + [UInt8](repeating: 0, count: 16 - command.count)
    }

    /// SCSI Data-In: final, with status GOOD; padded to words.
    private static func dataInPDU(_ data: [UInt8]) -> [UInt8] {
        let header = [0x25, 0x81, 0, 0] + big(data.count, 4) + big(0, 8) + big(1, 4) + big(0xFFFF_FFFF, 4)
        // StatSN, ExpCmdSN, MaxCmdSN, DataSN, buffer offset, residual count.
        let numbers = big(1, 4) + big(2, 4) + big(64, 4) + big(0, 12)
        return header + numbers + data + [UInt8](repeating: 0, count: (4 - data.count % 4) % 4)
    }

    /// A record of the capture: IPv4 and TCP headers, checksums left out, and the payload.
    private static func packet(
        _ payload: [UInt8], from source: Int, to destination: Int, sequence: Int, acknowledged: Int
    ) -> [UInt8] {
        let count = 40 + payload.count
        let addresses: [UInt8] = source == 3260 ? [127, 0, 0, 2, 127, 0, 0, 1] : [127, 0, 0, 1, 127, 0, 0, 2]
        let internet = [0x45, 0] + big(count, 2) + big(0, 2) + big(0x4000, 2) + [64, 6] + big(0, 2) + addresses
        let transport =
            big(source, 2) + big(destination, 2) + big(sequence, 4) + big(acknowledged, 4) + [0x50, 0x18]
            + big(65535, 2) + big(0, 4)
        return big(0, 8) + big(count, 4) + big(count, 4) + internet + transport + payload
    }

    private static func big(_ value: Int, _ byteCount: Int) -> [UInt8] {
        (0..<byteCount).reversed().map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> (8 * $0)) : 0 }
    }
}
