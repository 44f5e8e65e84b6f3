// A logical unit's memory of its initiators (SAM-5: device server, I_T nexus).

import ATA
import SCSI

/// The number of an I_T nexus at a unit.
public struct NexusNumber: Equatable, Sendable {
    /// Its place among those of the unit.
    let index: UInt16

    init(_ index: Int) { self.index = UInt16(index) }
}

/// The device server of a unit: all that commands of one initiator leave behind for others.
public struct DeviceServer: Sendable {
    /// The most nexuses that a unit has at a time.
    public static let nexusLimit = 256

    /// The longest iSCSI name (RFC 7143 4.2.7.1).
    static let targetNameLimit = 223

    /// An I_T nexus. The unit has one target port, so that is an initiator port, by its name.
    struct Nexus: Sendable {
        let port: [UInt8]
        /// The logical units of the target that the initiator has access to, by their numbers.
        var inventory: [UInt8] = [0]
        var attentions = UnitAttentions.none
        var mediumChange = MediumChange.told
        /// Those that it has not been told of.
        var mediaEvents: MediaEvents
        var standing: Standing
        /// PREVENT ALLOW MEDIUM REMOVAL: it prevents the removal of the medium, as long as it lasts (SPC-4).
        var preventsRemoval = false
    }

    /// By their numbers; nil where there is none.
    private(set) var nexuses: [Nexus?] = []
    /// The registrations, and the reservation.
    public private(set) var reservations: PersistentReservations
    /// Registrations can be kept when the unit loses its power: its server keeps them.
    let keepsReservations: Bool
    /// The reservations that would be left if the unit lost its power now.
    private var kept: PersistentReservations
    /// The nexus that has reserved the unit with RESERVE (6).
    private(set) var reserver: NexusNumber?
    /// The name of the target, for the Device Identification page; empty if it has none.
    let targetName: [UInt8]
    /// Nexuses whose commands PREEMPT AND ABORT ends: the caller aborts these commands, and then empties the list.
    public var aborted: [NexusNumber] = []
    /// SWP of the Control mode page: an initiator has write-protected the unit.
    private(set) var isWriteProtected = false
    /// A nexus has a unit attention condition, or the unit is reserved or write-protected.
    private(set) var hasExceptions = false

    /// A device server that nobody has spoken to.
    /// - Parameters:
    ///   - targetName: the iSCSI name of the target; empty: none.
    ///   - reservations: those that were kept.
    ///   - keepsReservations: ``bytesToKeep`` are kept whenever a command has changed them.
    public init(
        targetName: [UInt8] = [], reservations: PersistentReservations = PersistentReservations(),
        keepsReservations: Bool = false
    ) {
        self.targetName = Array(targetName.prefix(Self.targetNameLimit))
        self.reservations = reservations
        kept = reservations
        self.keepsReservations = keepsReservations
        noteExceptions()
    }

    /// An initiator begins a session. Its first command is told that the unit knows nothing of it.
    /// - Parameters:
    ///   - initiatorPort: its port's name (RFC 7143 4.2.7: iSCSI name, ",i,0x" and ISID).
    ///   - mediaEvents: those that no other one was told of: it may be an initiator that comes back.
    /// - Returns: nil if the unit has as many nexuses as it can have, or the name is too long.
    public mutating func connect(initiatorPort: [UInt8], mediaEvents: MediaEvents = []) -> NexusNumber? {
        let free = nexuses.firstIndex { $0 == nil } ?? nexuses.count
        guard free < Self.nexusLimit, initiatorPort.count <= PersistentReservations.portNameLimit else { return nil }
        var nexus = Nexus(
            port: initiatorPort, mediaEvents: mediaEvents, standing: reservations.standing(of: initiatorPort))
        nexus.attentions.establish(.reset)
        if free == nexuses.count { nexuses.append(nexus) } else { nexuses[free] = nexus }
        noteExceptions()
        return NexusNumber(free)
    }

    /// It has as many nexuses as it can have.
    public var isFull: Bool { nexuses.count == Self.nexusLimit && !nexuses.contains { $0 == nil } }

    /// The initiator has access to these logical units of the target: REPORT LUNS lists them.
    /// - Parameter isNews: it knew of others, and has to be told.
    public mutating func setInventory(_ logicalUnits: [UInt8], of nexus: NexusNumber, isNews: Bool) {
        precondition(self[nexus] != nil, "there is no such nexus")
        nexuses[Int(nexus.index)]?.inventory = logicalUnits
        if isNews { nexuses[Int(nexus.index)]?.attentions.establish(.reportedLUNsChanged) }
        noteExceptions()
    }

    /// The session has ended, and all of its commands have (SAM-5, I_T nexus loss). Registrations stay.
    public mutating func disconnect(_ nexus: NexusNumber) {
        precondition(self[nexus] != nil, "there is no such nexus")
        nexuses[Int(nexus.index)] = nil
        if reserver == nexus { reserver = nil }
        noteExceptions()
    }

    /// The medium has another size.
    public mutating func capacityChanged() { tellAll(.capacityChanged) }

    /// An operator has changed the disc of a DVD-ROM, or wants the one that a locked tray keeps.
    public mutating func operatorActed(on drive: ExportedDrive) {
        let isRequest = drive.drive.mediaEvents.contains(.ejectRequest)
        for index in nexuses.indices {
            // Events of the old disc count no more.
            if !isRequest { nexuses[index]?.mediaEvents = [] }
            nexuses[index]?.mediaEvents.formUnion(drive.drive.mediaEvents)
        }
        if !isRequest, drive.drive.hasMedium { noteMediumChange() }
    }

    /// There may be another disc, of which all nexuses have to be told, but perhaps the one that has closed the tray.
    mutating func noteMediumChange(but nexus: NexusNumber? = nil) {
        for index in nexuses.indices where nexus.map({ Int($0.index) }) != index {
            nexuses[index]?.mediumChange = .untold
            nexuses[index]?.mediaEvents.insert(.newMedia)
        }
        noteExceptions()
    }

    /// A nexus was told of the others.
    mutating func setMediaEvents(_ events: MediaEvents, of nexus: NexusNumber) {
        nexuses[Int(nexus.index)]?.mediaEvents = events
    }

    /// A nexus prevents the removal of the medium, or allows it.
    mutating func setPrevention(_ prevents: Bool, by nexus: NexusNumber) {
        nexuses[Int(nexus.index)]?.preventsRemoval = prevents
    }

    /// Some nexus prevents the removal of the medium.
    public var preventsRemoval: Bool { nexuses.contains { $0?.preventsRemoval == true } }

    /// The next news for a nexus of a disc that is there; nil if there is none.
    mutating func takeMediumChange(of nexus: NexusNumber) -> Objection? {
        let index = Int(nexus.index)
        guard let change = self[nexus]?.mediumChange, let objection = change.objection else { return nil }
        nexuses[index]?.mediumChange = change.next
        noteExceptions()
        return objection
    }

    /// A nexus has asked what there is to be told.
    mutating func tellMediumChange(to nexus: NexusNumber) -> Objection? {
        guard self[nexus]?.mediumChange.objection != nil else { return nil }
        nexuses[Int(nexus.index)]?.mediumChange = .told
        noteExceptions()
        return .mediumMayHaveChanged
    }

    /// A nexus has a condition that REQUEST SENSE tells of.
    func hasSomethingToTell(_ nexus: NexusNumber) -> Bool {
        self[nexus].map { !$0.attentions.isEmpty || $0.mediumChange != .told } ?? false
    }

    /// A LOGICAL UNIT RESET, or a reset of the target (SAM-5): commands were aborted. The drive's own settings stay.
    public mutating func reset() {
        reserver = nil
        isWriteProtected = false
        for index in nexuses.indices { nexuses[index]?.preventsRemoval = false }
        tellAll(.reset)
    }

    /// Another initiator has ended commands of a nexus (SAM-5, CLEAR TASK SET).
    public mutating func noteCommandsCleared(of nexus: NexusNumber) {
        precondition(self[nexus] != nil, "there is no such nexus")
        nexuses[Int(nexus.index)]?.attentions.establish(.commandsCleared)
        noteExceptions()
    }

    /// The unit has lost its power: of its reservations there are those that are kept (SPC-4 5.13, APTPL).
    public mutating func losePower() {
        if !kept.persistsThroughPowerLoss { kept = PersistentReservations() }
        returnToKept()
        reset()
    }

    subscript(nexus: NexusNumber) -> Nexus? {
        Int(nexus.index) < nexuses.count ? nexuses[Int(nexus.index)] : nil
    }

    /// All nexuses have to be told, but perhaps one.
    mutating func tellAll(_ attention: UnitAttention, but nexus: NexusNumber? = nil) {
        for index in nexuses.indices where nexus.map({ Int($0.index) }) != index {
            nexuses[index]?.attentions.establish(attention)
        }
        noteExceptions()
    }

    /// Takes the first unit attention condition of a nexus.
    mutating func takeAttention(of nexus: NexusNumber) -> UnitAttention? {
        guard let attention = self[nexus]?.attentions.first else { return nil }
        nexuses[Int(nexus.index)]?.attentions.removeFirst()
        noteExceptions()
        return attention
    }

    /// RESERVE (6) of a nexus, which nothing speaks against; nil: RELEASE (6).
    mutating func reserve(for nexus: NexusNumber?) {
        reserver = nexus
        noteExceptions()
    }

    /// SWP is set or not.
    mutating func setWriteProtected(_ isProtected: Bool) {
        isWriteProtected = isProtected
        noteExceptions()
    }

    /// The initiator has read which logical units there are, of this unit or another one of the target.
    public mutating func noteInventoryRead(by nexus: NexusNumber) {
        guard self[nexus] != nil else { return }
        nexuses[Int(nexus.index)]?.attentions.clear(.reportedLUNsChanged)
        noteExceptions()
    }

    /// Reservations become others by a command of a nexus, with effects on others.
    mutating func change(
        _ nexus: NexusNumber, _ body: (inout PersistentReservations, [UInt8]) -> PersistentReservations.Outcome
    ) -> PersistentReservations.Outcome {
        guard let port = self[nexus]?.port else { return .conflict }
        let outcome = body(&reservations, port)
        for index in nexuses.indices {
            guard let port = nexuses[index]?.port else { continue }
            nexuses[index]?.standing = reservations.standing(of: port)
            guard case .good(let effects) = outcome else { continue }
            for notice in effects.notices where notice.port == port {
                nexuses[index]?.attentions.establish(notice.attention)
            }
            if effects.aborted.contains(port) {
                nexuses[index]?.attentions.establish(.commandsCleared)
                if !aborted.contains(NexusNumber(index)) { aborted.append(NexusNumber(index)) }
            }
        }
        noteExceptions()
        return outcome
    }

    /// The reservations that PERSISTENT RESERVE IN shows. A change that is to be kept may fail, and then it was never
    /// there: nobody sees it before the command is answered that has made it.
    var answeredReservations: PersistentReservations { keepsReservations ? kept : reservations }

    /// The bytes to keep before a command that has changed the reservations is answered. Empty bytes say that nothing
    /// is kept any more; nil says that no bytes have to be written.
    public var bytesToKeep: [UInt8]? {
        guard keepsReservations, reservations != kept,
            reservations.persistsThroughPowerLoss || kept.persistsThroughPowerLoss
        else { return nil }
        return reservations.keptBytes ?? []
    }

    /// These reservations are what a loss of power would leave.
    public mutating func noteKept(_ reservations: PersistentReservations) { kept = reservations }

    /// The reservations could not be kept, and become again what they were. Conditions that were told stay told.
    public mutating func returnToKept() {
        reservations = kept
        for index in nexuses.indices {
            guard let port = nexuses[index]?.port else { continue }
            nexuses[index]?.standing = reservations.standing(of: port)
        }
        noteExceptions()
    }

    private mutating func noteExceptions() {
        hasExceptions =
            reserver != nil || reservations.type != nil || isWriteProtected
            || nexuses.indices.contains { hasSomethingToTell(NexusNumber($0)) }
    }
}
