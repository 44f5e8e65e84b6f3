// The pages of SCSI data that a report can show, under numbers and under the acronyms of sg3-utils.

import SCSI

/// A page of SCSI data: which command asks for it, and how long the answer says it is.
public enum SCSIPage: Equatable, Sendable {
    /// Standard INQUIRY data.
    case inquiry
    /// A VPD page.
    case vitalProductData(UInt8)
    /// MODE SENSE (10) data; page 3Fh is all of them.
    case mode(UInt8, ModePageControl)
    /// READ CAPACITY (10) data.
    case readCapacity10
    /// READ CAPACITY (16) data.
    case readCapacity16
    /// REPORT LUNS data.
    case reportLUNs

    private static let vitalProductDataAcronyms: [String: UInt8] = [
        "sv": 0x00, "sn": 0x80, "di": 0x83, "ai": 0x89, "bl": 0xB0, "bdc": 0xB1, "lbpv": 0xB2, "cpr": 0xB9,
    ]
    private static let modeAcronyms: [String: UInt8] = ["rw": 0x01, "ca": 0x08, "co": 0x0A]
    private static let controls: [String: ModePageControl] = [
        "current": .current, "changeable": .changeable, "default": .defaults, "saved": .saved,
    ]

    /// Takes a name apart: `inquiry`, `vpd-83`, `0x83`, `83`, `di`, `mode`, `mode-08`, `mode-ca-changeable`.
    public init?(_ name: String) {
        let words = name.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        switch (words[0], words.count) {
        case ("inquiry", 1): self = .inquiry
        case ("readcap10", 1): self = .readCapacity10
        case ("readcap16", 1): self = .readCapacity16
        case ("luns", 1): self = .reportLUNs
        case ("mode", 1...3):
            let page = words.count == 1 ? 0x3F : Self.number(words[1], Self.modeAcronyms)
            let control = words.count == 3 ? Self.controls[words[2]] : .current
            guard let page, page <= 0x3F, let control else { return nil }
            self = .mode(page, control)
        case ("vpd", 2):
            guard let page = Self.number(words[1], Self.vitalProductDataAcronyms) else { return nil }
            self = .vitalProductData(page)
        case (let word, 1):
            guard let page = Self.number(word, Self.vitalProductDataAcronyms) else { return nil }
            self = .vitalProductData(page)
        default: return nil
        }
    }

    /// A page code: an acronym, or a byte in hexadecimal, with or without `0x`.
    private static func number(_ text: String, _ acronyms: [String: UInt8]) -> UInt8? {
        if let number = acronyms[text] { return number }
        let digits = text.hasPrefix("0x") ? text.dropFirst(2) : text[...]
        return (1...2).contains(digits.utf8.count) && digits.first != "+" ? UInt8(digits, radix: 16) : nil
    }
}

extension SCSIPage {
    /// Room for the longest page, ATA Information (572 bytes). A DVD-ROM looks only at the low byte of it in INQUIRY,
    /// FCh, which is enough for its pages.
    static let allocationLength: UInt16 = 0x3FC

    /// The page's name in a report's format.
    public var name: String {
        switch self {
        case .inquiry: "inquiry"
        case .readCapacity10: "readcap10"
        case .readCapacity16: "readcap16"
        case .reportLUNs: "luns"
        case .vitalProductData(let page): "vpd-\(page.hex(2))"
        case .mode(0x3F, .current): "mode"
        case .mode(let page, .current): "mode-\(page.hex(2))"
        case .mode(let page, .changeable): "mode-\(page.hex(2))-changeable"
        case .mode(let page, .defaults): "mode-\(page.hex(2))-default"
        case .mode(let page, .saved): "mode-\(page.hex(2))-saved"
        }
    }

    /// The command that asks for the page.
    var command: CommandDescriptorBlock {
        switch self {
        case .inquiry: .inquiry(allocationLength: Self.allocationLength)
        case .vitalProductData(let page): .inquiry(page: page, allocationLength: Self.allocationLength)
        case .mode(let page, let control):
            .modeSense10(page: page, control: control, allocationLength: Self.allocationLength)
        case .readCapacity10: .readCapacity10()
        case .readCapacity16: .readCapacity16(allocationLength: UInt32(Self.allocationLength))
        case .reportLUNs: .reportLUNs(allocationLength: UInt32(Self.allocationLength))
        }
    }

    /// The answer up to its own length. The rest is padding: the translation layer of Linux fills the buffer it was
    /// given.
    func withoutPadding(_ answer: [UInt8]) -> [UInt8] {
        let length =
            switch self {
            case .inquiry: 5 + bigEndian(answer.dropFirst(4).prefix(1))
            case .vitalProductData: 4 + bigEndian(answer.dropFirst(2).prefix(2))
            case .mode: 2 + bigEndian(answer.prefix(2))
            case .readCapacity10: UInt64(8)
            case .readCapacity16: UInt64(32)
            case .reportLUNs: 8 + bigEndian(answer.prefix(4))
            }
        return Array(answer.prefix(Int(length)))
    }
}
