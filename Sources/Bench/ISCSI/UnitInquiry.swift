// From a link to a logical unit that can be loaded: the login, and questions to the unit (SPC-5, SBC-4).

import Glibc
import ISCSI
import SCSI

extension Load {
    /// The wishes of a connection at its login.
    func wishes(for address: ServerAddress, connection: Int) -> InitiatorWishes {
        // A random ISID (RFC 7143, 11.12.5): type 2h, 24 bits that other runs do not have, and the connection.
        var random = Xorshift(seed: UInt64(getpid()) &+ now())
        let isid = 0x8000_0000_0000 | random.below(1 << 24) << 16 | UInt64(connection)
        var wishes = InitiatorWishes(targetName: address.export, isid: ISID(rawValue: isid))
        wishes.usesDigests = usesDigests
        wishes.credentials = credentials
        return wishes
    }
}

extension Link {
    /// Logs in.
    mutating func logIn(_ wishes: InitiatorWishes, _ inbox: inout Inbox) throws(BenchError) -> InitiatorLogin {
        var login = InitiatorLogin(wishes)
        try send(login.begin())
        while true {
            var position = 0
            let bytes = unsafe RawSpan(_unsafeStart: inbox.start, byteCount: inbox.byteCount)
            let step = login.next(bytes, at: &position)
            inbox.drop(position)
            switch step {
            case .needMoreBytes:
                do throws(BenchError) {
                    try inbox.receiveMore(from: &self)
                } catch {
                    throw login.isAnswered ? error : error.beforeFirstWord(of: .iscsi)
                }
            case .say(let request): try send(request)
            case .open: return login
            case .failed(let error): throw error
            }
        }
    }
}

extension InitiatorSession {
    /// A new session has a unit attention or two to tell.
    private static let maximumAttentions = 16

    /// Waits until the unit has no unit attentions any more, and asks for its size and what it can do.
    mutating func inquire(_ link: inout Link, _ inbox: inout Inbox) throws(BenchError) -> ChosenExport {
        var outbox = Outbox(requestCapacity: Self.maximumPings)
        for attempt in 1... {
            let failure = try ask(.testUnitReady(), 0, &link, &inbox, &outbox)
            if failure == .none { break }
            guard failure.isUnitAttention, attempt < Self.maximumAttentions else {
                throw .unsuitable("the unit is not ready: \(failure.words)")
            }
        }
        let capacityFailure = try ask(.readCapacity16(allocationLength: 32), 32, &link, &inbox, &outbox)
        guard capacityFailure == .none, answer.count >= 12 else {
            throw .unsuitable(
                "the unit does not tell its size by READ CAPACITY (16), as disks do"
                    + (capacityFailure == .none ? "" : ": \(capacityFailure.words)"))
        }
        let (lastBlock, length) = (number(answer[0..<8]), UInt32(number(answer[8..<12])))
        let (blocks, overflows) = lastBlock.addingReportingOverflow(1)
        let (size, isTooLarge) = blocks.multipliedReportingOverflow(by: UInt64(length))
        guard !overflows, !isTooLarge, (512...65536).contains(length) else {
            throw .violation("the unit has \(lastBlock) blocks of \(length) bytes")
        }
        blockBytes = length
        var export = ChosenExport(sizeBytes: size, flags: [.sendFlush, .sendWriteZeroes])
        export.minimumBlockBytes = length
        // LBPME (SBC-4 5.20): logical block provisioning management is there.
        if answer.count >= 15, answer[14] & 0x80 != 0 { export.flags.insert(.sendTrim) }
        // WP (SBC-4 6.5.1). A unit without mode pages takes writes.
        let mode = CommandDescriptorBlock.modeSense6(page: 0x3F, control: .current, allocationLength: 192)
        if try ask(mode, 192, &link, &inbox, &outbox) == .none, answer.count >= 3, answer[2] & 0x80 != 0 {
            export.flags.insert(.readOnly)
        }
        return export
    }

    /// Asks, and waits for the answer.
    private mutating func ask(
        _ cdb: CommandDescriptorBlock, _ answerBytes: UInt32, _ link: inout Link, _ inbox: inout Inbox,
        _ outbox: inout Outbox
    ) throws(BenchError) -> SCSIFailure {
        ask(cdb, answerBytes, into: &outbox)
        while true {
            if case .reply(_, let error, _) = try converse(&link, &inbox, &outbox) {
                return SCSIFailure(rawValue: error)
            }
            if outbox.isEmpty { try inbox.receiveMore(from: &link) }
        }
    }
}
