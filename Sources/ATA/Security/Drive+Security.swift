// The Security feature set of a whole disk (ACS-3 4.19 and clause 7, SECURITY): a password locks user data away when
// the power comes; erasing gives the disk back, and nothing that was on it.

/// Passwords, which last.
struct SecurityHistory: Sendable {
    /// The user's; nil: security is disabled.
    var userPassword: [UInt8]?
    /// The master's. It is there from the beginning, and all zeroes.
    var masterPassword = [UInt8](repeating: 0, count: SecurityState.passwordBytes)
    /// Master Password Identifier, word 92.
    var masterIdentifier: UInt16 = 0xFFFE
    /// Master Password Capability is Maximum: the master's password only erases.
    var isMaximum = false

    /// A password unlocks the disk, and disables security.
    fileprivate func isOpened(by given: PasswordData) -> Bool {
        guard given.isMaster else { return given.password == userPassword }
        return !isMaximum && given.password == masterPassword
    }
}

/// What the power takes with it.
struct SecurityState: Sendable {
    static let passwordBytes = 32
    /// Wrong passwords until the power has to come anew.
    static let attempts = 5

    var isLocked = false
    var isFrozen = false
    var attemptsLeft = Self.attempts
    var isErasePrepared = false
    /// Until the power comes anew no password is right.
    var hasExpired: Bool { attemptsLeft == 0 }

    /// The power comes.
    mutating func begin(with history: SecurityHistory) {
        self = SecurityState()
        isLocked = history.userPassword != nil
    }
}

/// The data of a command with a password (ACS-3, SECURITY SET PASSWORD, data structure).
private struct PasswordData {
    let control: UInt16
    let password: [UInt8]
    let masterIdentifier: UInt16

    /// IDENTIFIER: the password is compared with the master's.
    var isMaster: Bool { control & 0x0001 != 0 }
    /// MASTER PW CAP, of SECURITY SET PASSWORD.
    var isMaximum: Bool { control & 0x0100 != 0 }

    init?(_ data: RawSpan) {
        guard data.byteCount >= IdentifyData.byteCount else { return nil }
        control = data.word(at: 0)
        password = (0..<SecurityState.passwordBytes).map { data.byte(at: 2 + $0) }
        masterIdentifier = data.word(at: 34)
    }
}

extension Drive {
    /// Words 82, 85, 89, 90, 92 and 128. Erasing takes no time that a host could know before: words 89 and 90 say the
    /// least.
    mutating func refreshSecurityWords() {
        guard disk.features.contains(.security) else { return }
        let security = disk.security
        let isEnabled = disk.history.security.userPassword != nil
        identifyData.setEnabled(.security, isEnabled)
        identifyData[word: 89] = 1
        identifyData[word: 90] = 1
        identifyData[word: 92] = disk.history.security.masterIdentifier
        identifyData[word: 128] =
            0x0021 | (isEnabled ? 0x0002 : 0) | (security.isLocked ? 0x0004 : 0) | (security.isFrozen ? 0x0008 : 0)
            | (security.hasExpired ? 0x0010 : 0) | (isEnabled && disk.history.security.isMaximum ? 0x0100 : 0)
    }

    private mutating func refreshSecurity() {
        refreshBar()
        refreshIdentity()
    }

    /// SECURITY SET PASSWORD.
    mutating func setPassword(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        guard !disk.security.isLocked, !disk.security.isFrozen, let given = PasswordData(data) else {
            return refused(command)
        }
        if given.isMaster {
            disk.history.security.masterPassword = given.password
            if given.masterIdentifier != 0x0000, given.masterIdentifier != 0xFFFF {
                disk.history.security.masterIdentifier = given.masterIdentifier
            }
        } else {
            disk.history.security.userPassword = given.password
            disk.history.security.isMaximum = given.isMaximum
        }
        refreshSecurity()
        return done(command)
    }

    /// SECURITY UNLOCK.
    mutating func unlock(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        let security = disk.history.security
        guard !disk.security.isFrozen, !disk.security.hasExpired, security.userPassword != nil,
            let given = PasswordData(data)
        else { return refused(command) }
        let isRight = security.isOpened(by: given)
        if isRight {
            disk.security.isLocked = false
            disk.security.attemptsLeft = SecurityState.attempts
        } else if disk.security.isLocked {
            disk.security.attemptsLeft -= 1
        }
        refreshSecurity()
        return isRight ? done(command) : refused(command)
    }

    /// SECURITY DISABLE PASSWORD.
    mutating func disablePassword(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        let security = disk.history.security
        guard !disk.security.isLocked, !disk.security.isFrozen, security.userPassword != nil,
            let given = PasswordData(data)
        else { return refused(command) }
        guard security.isOpened(by: given) else { return refused(command) }
        disk.history.security.userPassword = nil
        refreshSecurity()
        return done(command)
    }

    /// SECURITY FREEZE LOCK: until the power goes, nothing of this changes.
    mutating func freezeLock(_ command: CommandInProgress) -> Step {
        guard !disk.security.isLocked else { return refused(command) }
        disk.security.isFrozen = true
        refreshSecurity()
        return done(command)
    }

    /// SECURITY ERASE PREPARE: the next command may be SECURITY ERASE UNIT.
    mutating func prepareErase(_ command: CommandInProgress) -> Step {
        guard !disk.security.isFrozen else { return refused(command) }
        disk.security.isErasePrepared = true
        return done(command)
    }

    /// SECURITY ERASE UNIT: all of the medium becomes zeroes, and gives its space back. The enhanced one is no
    /// different.
    mutating func eraseUnit(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        defer { disk.security.isErasePrepared = false }
        let security = disk.history.security
        guard disk.security.isErasePrepared, !disk.security.isFrozen, !disk.security.hasExpired,
            let given = PasswordData(data),
            given.password == (given.isMaster ? security.masterPassword : security.userPassword)
        else { return refused(command) }
        return zeroEverything(&command)
    }

    /// SECURITY ERASE UNIT is done: the user's password is none any more.
    mutating func haveErased(_ command: CommandInProgress) -> Step {
        disk.history.security.userPassword = nil
        disk.history.security.isMaximum = false
        disk.security.isLocked = false
        refreshSecurity()
        return done(command)
    }
}
