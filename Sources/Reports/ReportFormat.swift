// The names of the reports: what `spindle identify --format` takes.

/// A kind of report on a drive.
public enum ReportFormat: Equatable, Sendable {
    /// For people.
    case summary
    /// The lines that Linux logs when it finds the drive.
    case kernel
    /// IDENTIFY DEVICE data as `hdparm --Istdin` reads them.
    case words
    /// IDENTIFY DEVICE data, 512 bytes.
    case binary
    /// The output of `hdparm -I`.
    case hdparm
    /// The output of lshw.
    case lshw
    /// A JSON object.
    case json
    /// A page of SCSI data in hexadecimal.
    case scsi(SCSIPage)

    /// Takes a name apart; nil if there is no such format or page.
    public init?(_ name: String) {
        switch name {
        case "summary": self = .summary
        case "kernel": self = .kernel
        case "words": self = .words
        case "binary": self = .binary
        case "hdparm": self = .hdparm
        case "lshw": self = .lshw
        case "json": self = .json
        default:
            guard name.hasPrefix("scsi:"), let page = SCSIPage(String(name.dropFirst(5))) else { return nil }
            self = .scsi(page)
        }
    }

    /// The names of all formats, for help and messages.
    public static let names = ["summary", "kernel", "words", "binary", "hdparm", "lshw", "json", "scsi:PAGE"]
    /// The values of PAGE, for help and messages.
    public static let pageNames =
        "inquiry, readcap10, readcap16, luns, vpd-XX (sv, sn, di, ai, bl, bdc, lbpv), "
        + "mode or mode-XX (rw, ca, co) with -changeable, -default or -saved"
}
