// A drive under all its names in Linux and its tools.

import ATA
import SAT
import SCSI

/// Reports on one drive. All of them come from the drive itself: from its IDENTIFY DEVICE or IDENTIFY PACKET DEVICE
/// data, or from what it answers to SCSI commands, itself or by the translation layer above it.
public struct DriveReport: Sendable {
    let drive: Drive
    let placement: Placement
    /// IDENTIFY DEVICE data that the reports show.
    let identifyData: IdentifyData
    private let diskSignature: UInt32?
    private let isPartitioned: Bool
    private let layer: TranslationLayer

    /// Prepares reports on a drive that was just switched on.
    /// - Parameters:
    ///   - drive: the drive; it is not changed, but probed on a copy.
    ///   - placement: where it hangs.
    ///   - atPowerOn: show IDENTIFY DEVICE data as they are before Linux has chosen a transfer mode.
    ///   - diskSignature: that of the partition table of a disc, which lshw tells.
    ///   - isPartitioned: that table has partitions.
    public init(
        drive: Drive, placement: Placement, atPowerOn: Bool = false, diskSignature: UInt32? = nil,
        isPartitioned: Bool = false
    ) {
        var probed = drive
        layer = TranslationLayer(drive: &probed, controller: placement.controller)
        identifyData = atPowerOn ? drive.identifyData : probed.identifyData
        self.drive = probed
        self.placement = placement
        self.diskSignature = diskSignature
        self.isPartitioned = isPartitioned
    }

    /// A report: text that ends in a line feed or, for ``ReportFormat/binary``, 512 bytes.
    public func bytes(_ format: ReportFormat) throws(PageRefused) -> [UInt8] {
        switch format {
        case .binary: identifyData.bytes
        case .summary: Array(SummaryText(drive: drive, identify: identifyData, placement: placement).text.utf8)
        case .words: Array(identifyData.wordsText.utf8)
        case .hdparm: Array(hdparm.utf8)
        case .json: Array((json.text() + "\n").utf8)
        case .kernel: Array(try kernelLines().map { $0 + "\n" }.joined().utf8)
        case .lshw: Array(try lshw().utf8)
        case .scsi(let page): Array(hexDump(try answer(to: page)).utf8)
        }
    }

    private var hdparm: String {
        switch drive.kind {
        case .disk, .hardDisk, .solidState: HdparmText(identify: identifyData, placement: placement).text
        case .dvdROM, .fullDVDROM: HdparmText.ofDVD(placement)
        }
    }

    private func kernelLines() throws(PageRefused) -> [String] {
        switch drive.kind {
        case .disk, .hardDisk, .solidState: try kernelLog().lines
        case .dvdROM, .fullDVDROM: try dvdText().kernelLines
        }
    }

    private func lshw() throws(PageRefused) -> String {
        switch drive.kind {
        case .disk, .hardDisk, .solidState: try lshwDisk().text
        case .dvdROM, .fullDVDROM: try dvdText().lshwText
        }
    }

    private func dvdText() throws(PageRefused) -> DVDText {
        DVDText(
            identify: identifyData, inquiry: try answer(to: .inquiry),
            capabilities: Array(try answer(to: .mode(0x2A, .current)).dropFirst(8)),
            isReady: (try? answer(to: .readCapacity10)) != nil, diskSignature: diskSignature,
            isPartitioned: isPartitioned, placement: placement)
    }

    private func kernelLog() throws(PageRefused) -> KernelLog {
        let pages = ProbedPages(
            inquiry: try answer(to: .inquiry), readCapacity16: try answer(to: .readCapacity16),
            modePages: try answer(to: .mode(ModePage.Code.all, .current)),
            blockLimits: try answer(to: .vitalProductData(0xB0)))
        return KernelLog(identify: identifyData, pages: pages, placement: placement)
    }

    private func lshwDisk() throws(PageRefused) -> LshwText {
        LshwText(
            inquiry: try answer(to: .inquiry), serialNumberPage: try answer(to: .vitalProductData(0x80)),
            readCapacity16: try answer(to: .readCapacity16), placement: placement)
    }

    /// Sends the page's command through the translation layer.
    private func answer(to page: SCSIPage) throws(PageRefused) -> [UInt8] {
        var drive = drive
        var layer = layer
        var buffer = [UInt8](repeating: 0, count: Int(SCSIPage.allocationLength))
        var command = SCSICommandInProgress(
            cdb: page.command, transferLength: UInt32(SCSIPage.allocationLength), origin: .user)
        var span = buffer.mutableSpan
        // Any bytes written there are valid ones of type UInt8.
        var data = unsafe span.mutableBytes
        let step = layer.begin(&command, drive: &drive, data: &data)
        guard case .finished(.good, let dataLength) = step else {
            throw PageRefused(page: page, sense: command.sense)
        }
        return page.withoutPadding(Array(buffer.prefix(Int(dataLength))))
    }
}

/// The drive does not have a page.
public struct PageRefused: Error, Equatable, CustomStringConvertible {
    /// The page.
    public let page: SCSIPage
    /// Why.
    public let sense: SenseData?

    /// The message for a person, with sense key and additional sense code as SPC-5 numbers them.
    public var description: String {
        guard let sense else { return "the drive has no page \(page.name)" }
        let code = sense.additionalSenseCode
        let numbers = "\(sense.senseKey.rawValue.hex(1))/\(code.code.hex(2))/\(code.qualifier.hex(2))"
        return "the drive has no page \(page.name): CHECK CONDITION \(numbers)"
    }
}
