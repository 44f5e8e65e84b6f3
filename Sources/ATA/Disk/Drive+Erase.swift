// What destroys data on a whole disk: WRITE UNCORRECTABLE EXT, SANITIZE DEVICE, and the work of SECURITY ERASE UNIT
// (ACS-3 4.17 and clause 7, by these names).

import Blocks

/// The Sanitize Device feature set.
struct SanitizeState: Sendable {
    /// SANITIZE DEVICE's feature register.
    enum Function {
        static let status: UInt16 = 0x0000
        static let cryptoScramble: UInt16 = 0x0011
        static let blockErase: UInt16 = 0x0012
        static let freezeLock: UInt16 = 0x0020
    }

    /// The bits of word 59: the feature set, and CRYPTO SCRAMBLE EXT and BLOCK ERASE EXT.
    static func capabilities(_ features: FeatureSet) -> UInt16 { features.contains(.sanitize) ? 0xB000 : 0 }

    /// How long hosts are kept waiting: the medium is erased already.
    static let nanoseconds: UInt64 = 2_000_000_000

    var isFrozen = false
    /// When the running operation began; nil: none runs.
    private(set) var beganAt: UInt64?
    /// The last one has ended well.
    var hasCompleted = false

    func isActive(at now: UInt64) -> Bool { beganAt.map { now < $0 || now - $0 < Self.nanoseconds } ?? false }
    func hasEnded(at now: UInt64) -> Bool { beganAt != nil && !isActive(at: now) }

    mutating func begin(at now: UInt64) {
        beganAt = now
        hasCompleted = false
    }

    mutating func end() {
        beganAt = nil
        hasCompleted = true
    }

    /// How far it has come, in 65536ths; FFFFh: none runs.
    func progress(at now: UInt64) -> UInt16 {
        guard let beganAt, isActive(at: now) else { return 0xFFFF }
        let passed = now > beganAt ? now - beganAt : 0
        return UInt16(min(passed * 65_536 / Self.nanoseconds, 0xFFFE))
    }
}

extension CommandRow {
    /// Commands for which a sanitize operation need not end first (ACS-3 4.17, "Commands allowed during sanitize").
    func isAllowedDuringSanitize(_ taskfile: Taskfile) -> Bool {
        switch command {
        case .identifyDevice, .checkPowerMode, .readLogEXT, .readLogDMAEXT, .sanitizeDevice: true
        case .smart: [0xD0, 0xD5, 0xDA].contains(taskfile.feature & 0x00FF)
        default: false
        }
    }
}

extension Drive {
    /// WRITE UNCORRECTABLE EXT: sectors cannot be read until they are written. Feature 55h is a pseudo-uncorrectable
    /// error with logging, AAh a flagged one without. Both end with UNC here.
    mutating func makeUnreadable(_ command: CommandInProgress) -> Step {
        let feature = command.taskfile.feature & 0x00FF
        guard feature == 0x55 || feature == 0xAA else { return refused(command) }
        let first = chsTranslation.firstSector(of: command.taskfile, .lba48)
        let count = UInt64(TaskfileLayout.lba48.count(in: command.taskfile))
        guard first < sectors, count <= sectors - first else { return notThere(command) }
        guard disk.history.unreadable.insert(first..<first + count) else { return refused(command) }
        return done(command)
    }

    /// SANITIZE DEVICE.
    mutating func sanitize(_ command: inout CommandInProgress) -> Step {
        switch (command.taskfile.feature, command.taskfile.lba & 0xFFFF_FFFF) {
        case (SanitizeState.Function.status, _):
            return tellSanitizeStatus(command)
        case (SanitizeState.Function.cryptoScramble, 0x4372_7970), (SanitizeState.Function.blockErase, 0x426B_4572):
            guard !disk.sanitizing.isFrozen, !disk.security.isFrozen, !disk.sanitizing.isActive(at: disk.now) else {
                return refused(command)
            }
            return zeroEverything(&command)
        case (SanitizeState.Function.freezeLock, 0x4672_4C6B):
            guard !disk.sanitizing.isActive(at: disk.now) else { return refused(command) }
            disk.sanitizing.isFrozen = true
            return tellSanitizeStatus(command)
        default: return refused(command)
        }
    }

    /// SANITIZE STATUS EXT: count 15 completed, 14 in progress, 13 frozen; LBA 15:0 is the progress.
    private mutating func tellSanitizeStatus(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        let sanitizing = disk.sanitizing
        result.count =
            (sanitizing.hasCompleted ? 0x8000 : 0) | (sanitizing.isActive(at: disk.now) ? 0x4000 : 0)
            | (sanitizing.isFrozen ? 0x2000 : 0)
        result.lba = UInt64(sanitizing.progress(at: disk.now))
        return .finished(result)
    }

    /// A sanitize operation has taken its time.
    mutating func finishSanitize() {
        disk.sanitizing.end()
        refreshBar()
    }

    /// The whole medium becomes zeroes, also where hosts cannot address it.
    mutating func zeroEverything(_ command: inout CommandInProgress) -> Step {
        disk.overwrite(0..<disk.maxAddress.nativeSectors)
        if let test = disk.selfTest { finishSelfTest(test, .aborted) }
        command.first = 0
        command.transferred = 0
        return zeroNext(&command)
    }

    /// A piece of the medium is zeroes.
    mutating func haveZeroed(_ command: inout CommandInProgress) -> Step {
        command.first += UInt64(command.transferred)
        return zeroNext(&command)
    }

    /// A sanitize operation has erased everything, and goes on for hosts.
    mutating func haveSanitized(_ command: CommandInProgress) -> Step {
        disk.sanitizing.begin(at: disk.now)
        refreshBar()
        return tellSanitizeStatus(command)
    }

    private mutating func zeroNext(_ command: inout CommandInProgress) -> Step {
        let left = disk.maxAddress.nativeSectors - command.first
        // What was erased must not come back with the power.
        guard left != 0 else { return flush(&command) }
        command.phase = .zeroing
        command.transferred = UInt32(min(left, 1 << 31))
        return .blocks(.zeroes(lba: command.first, count: command.transferred, mayDeallocate: true))
    }
}
