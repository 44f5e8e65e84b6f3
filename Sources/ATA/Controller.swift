// The controllers that a drive hangs on.

/// The IDE controller that the drive hangs on.
public enum Controller: String, CaseIterable, Sendable {
    /// The PIIX3 of QEMU's `pc` machine: parallel ATA, Linux chooses multiword DMA 2.
    case piix3IDE = "piix3-ide"
    /// The ICH9 AHCI of QEMU's `q35` machine: the same drive as SATA, with NCQ announced; Linux chooses UDMA/100.
    case ich9AHCI = "ich9-ahci"
}
