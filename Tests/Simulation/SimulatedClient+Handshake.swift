// The client's side of the handshake (NBD protocol, "Fixed newstyle negotiation", "Option haggling").

import Glibc
import Support

extension SimulatedClient {
    /// Takes the next message of the handshake.
    ///
    /// - Returns: false when it is not complete.
    func takeHandshake() throws -> Bool {
        guard hasGreeting else {
            guard inboxCount >= 18 else { return false }
            let isGreeting =
                number(at: 0, as: UInt64.self) == MagicNumber.greeting
                && number(at: 8, as: UInt64.self) == MagicNumber.option
            guard isGreeting else { throw Violation("client \(number) was greeted with something else") }
            consume(18)
            hasGreeting = true
            beginOptions()
            return true
        }
        guard let option = options.first else { throw Violation("client \(number) was answered without a question") }
        return option == OptionNumber.exportName ? takeExport() : try takeOptionReply(option)
    }

    private func beginOptions() {
        outbox.append(number: UInt32(3))
        if style == .structured { ask(OptionNumber.structuredReply, []) }
        if style == .extended { ask(OptionNumber.extendedHeaders, []) }
        if world.chance(100_000) { ask(OptionNumber.list, []) }
        if style != .simple, world.chance(700_000) {
            var data = text(image.name)
            data.append(number: UInt32(1))
            ask(OptionNumber.setMetaContext, data + text("base:allocation"))
        }
        if world.chance(200_000) { ask(OptionNumber.info, text(image.name) + [0, 0]) }
        if style == .simple, world.chance(300_000) {
            ask(OptionNumber.exportName, Array(image.name.utf8))
        } else {
            // A client that asks for the block sizes has to keep to them.
            isAligned = world.chance(400_000)
            ask(OptionNumber.go, text(image.name) + (isAligned ? [0, 1, 0, 3] : [0, 0]))
        }
    }

    private func text(_ words: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(words.utf8.count))
        return bytes + Array(words.utf8)
    }

    private func ask(_ option: UInt32, _ data: [UInt8]) {
        outbox.append(number: MagicNumber.option)
        outbox.append(number: option)
        outbox.append(number: UInt32(data.count))
        outbox += data
        options.append(option)
    }

    /// The answer to NBD_OPT_EXPORT_NAME: size and flags, without zeroes.
    private func takeExport() -> Bool {
        guard inboxCount >= 10 else { return false }
        open(number(at: 0, as: UInt64.self), number(at: 8, as: UInt16.self))
        consume(10)
        return true
    }

    private func takeOptionReply(_ option: UInt32) throws -> Bool {
        guard inboxCount >= 20 else { return false }
        guard number(at: 0, as: UInt64.self) == MagicNumber.optionReply, number(at: 8, as: UInt32.self) == option else {
            throw Violation("client \(number) got another answer than one to option \(option)")
        }
        let type = number(at: 12, as: UInt32.self)
        let length = Int(number(at: 16, as: UInt32.self))
        guard length <= 1 << 20 else { throw Violation("an option reply of \(length) bytes") }
        guard inboxCount >= 20 + length else { return false }
        switch type {
        case ReplyType.ack:
            options.removeFirst()
            if option == OptionNumber.go { phase = .transmission }
        case ReplyType.info:
            if number(at: 20, as: UInt16.self) == InformationNumber.export, length == 12 {
                open(number(at: 22, as: UInt64.self), number(at: 30, as: UInt16.self), begins: false)
            }
        case ReplyType.metaContext:
            contextID = number(at: 20, as: UInt32.self)
        case ReplyType.server: break
        default:
            try refused(option, type)
        }
        consume(20 + length)
        if phase == .transmission { world.note("client \(number) has \(image.name) open") }
        return true
    }

    private func refused(_ option: UInt32, _ type: UInt32) throws {
        options.removeFirst()
        let isKnownReason = isTurnedAway || world.mayEndConnections || image.isLimited
        guard isKnownReason else {
            throw Violation("client \(number): option \(option) was refused with \(String(type, radix: 16))")
        }
        close()
    }

    private func open(_ size: UInt64, _ flags: UInt16, begins: Bool = true) {
        sizeBytes = size
        transmissionFlags = flags
        if begins {
            phase = .transmission
            world.note("client \(number) has \(image.name) open")
        }
    }
}
