// What is wrong with a whole disk, in its own terms: which commands fail, where, when and how. Nothing of it is on the
// medium, and a fault that is lifted gives the true data back.

/// A rule: what happens to which commands of a drive, and when.
public struct FaultRule: Equatable, Sendable {
    /// The kinds of faults.
    public enum Kind: String, CaseIterable, Sendable {
        /// A sector cannot be read until it is written: UNC. What a command has read before it is delivered.
        case unreadable
        /// A sector cannot be written: DF and ABRT. What a command has written before it is on the medium.
        case writeFault = "write-fault"
        /// A sector is not found: IDNF. What comes before it is transferred.
        case idNotFound = "idnf"
        /// The transfer was damaged on the way: ICRC and ABRT. Nothing is transferred.
        case interfaceCRC = "icrc"
        /// The drive does not want to: ABRT.
        case abort
        /// The drive cannot: DF and ABRT.
        case deviceFault = "device-fault"
        /// The drive takes its time for the command, and does it.
        case slow

        /// It happens to a sector, and not to the command as a whole.
        var isOfSector: Bool { self == .unreadable || self == .writeFault || self == .idNotFound }

        /// The commands that it may happen to.
        var possibleCommands: Commands {
            switch self {
            case .unreadable: [.read, .verify]
            case .writeFault: [.write]
            case .idNotFound: [.read, .verify, .write]
            case .interfaceCRC: [.read, .write]
            case .abort, .deviceFault, .slow: .all
            }
        }

        /// Those that it happens to unless the rule says something else.
        var usualCommands: Commands { possibleCommands.intersection([.read, .verify, .write, .flush, .trim]) }
    }

    /// Groups of commands.
    public struct Commands: OptionSet, Sendable {
        /// A bit for each.
        public let rawValue: UInt8
        /// Some of them.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// All that bring data from the medium.
        static let read = Commands(rawValue: 1)
        /// READ VERIFY SECTOR(S).
        static let verify = Commands(rawValue: 1 << 1)
        /// All that take data to the medium, and ZERO EXT.
        static let write = Commands(rawValue: 1 << 2)
        /// FLUSH CACHE.
        static let flush = Commands(rawValue: 1 << 3)
        /// DATA SET MANAGEMENT.
        static let trim = Commands(rawValue: 1 << 4)
        /// SMART and the commands of logs.
        static let smart = Commands(rawValue: 1 << 5)
        /// All others.
        static let other = Commands(rawValue: 1 << 6)

        /// Those with an address.
        static let addressed: Commands = [.read, .verify, .write]
        static let all: Commands = [.read, .verify, .write, .flush, .trim, .smart, .other]

        static let names: [(name: String, commands: Commands)] = [
            ("read", .read), ("verify", .verify), ("write", .write), ("flush", .flush), ("trim", .trim),
            ("smart", .smart), ("other", .other), ("all", .all),
        ]
    }

    /// The most rules that a drive has at a time.
    public static let limit = 16
    /// An hour.
    static let longestDelay: UInt32 = 3_600_000
    /// Addresses have 48 bits (ACS-3 4.1.1).
    static let everywhere: Range<UInt64> = 0..<1 << 48

    /// The kind of the fault.
    public let kind: Kind
    /// The sectors that it happens to; nil: it is for all commands, also those without an address.
    public internal(set) var sectors: Range<UInt64>?
    /// The commands that it happens to.
    public internal(set) var commands: Commands
    /// So many commands that it could happen to pass first.
    var after: UInt64 = 0
    /// It happens to every so many of them.
    var every: UInt64 = 1
    /// How often it happens to one of these; nil: always.
    var probability: Double?
    /// The number that decides where there is a choice.
    var seed: UInt64 = 0
    /// How often it happens at the most; nil: for ever.
    var count: UInt64?
    /// After so many seconds it is over; nil: never.
    var seconds: UInt64?
    /// So long a slow drive takes; 0: it is not slow.
    var delayMilliseconds: UInt32 = 0

    /// A fault of a kind, everywhere and always.
    init(_ kind: Kind) {
        self.kind = kind
        commands = kind.usualCommands
    }

    /// It happens now and then, to some sector of a command, and not to the same ones each time.
    var isOccasional: Bool { every != 1 || probability != nil }
}
