// From the settings of an export to what a server serves.

import ATA
import Backends
import Blocks
import Export
import Glibc
import IOUring
import Loop
import Server

extension ExportSettings {
    /// Opens and locks the image, and puts the drive above it together.
    ///
    /// - Parameters:
    ///   - ordinal: which of the drives this is, from 1. A drive without a serial number of its own is numbered as QEMU
    ///     does it, `QM00001` and so on.
    ///   - waits: an image that somebody has is tried for a second.
    ///   - expected: see ``Backend/init(path:cache:readOnly:locking:expected:)``.
    ///   - levels: what an overlay in memory begins with, above its image.
    ///   - holder: the name of the export of the same server that has a file.
    public func open(
        ordinal: Int, waits: Bool = true, expected: FileNumber? = nil, above levels: [FrozenLevel] = [],
        holder: (FileNumber) -> String? = { _ in nil }
    ) throws -> ServedExport {
        let opened = try openImage(waits: waits, expected: expected, above: levels, holder: holder)
        var export = ServedExport(
            name: name, properties: properties(ordinal: ordinal), controller: drive.controller, image: opened)
        do {
            export.blocks.writeCache = try drive.writeCacheModel.cache(of: export.drive.drive)
            try drive.plantFaults(in: &export.drive.drive)
            try checkRecord()
            if let record {
                let file = try RecordingFile(path: record, recordingHeader(export.drive.drive, isNew: opened.isNew))
                (export.recording, export.blocks.recorder) = (file.backend, file.recorder)
                if file.isMade { export.madeFiles.append(file.backend) }
            }
            try openState(of: &export)
        } catch {
            export.close()
            throw error
        }
        if case .overlay(let path) = reference, level == nil {
            export.base = OverlayBase(
                ImageChain.Base(path: path, isQcow2: format == .qcow2, snapshot: drive.imageSnapshot),
                cache: drive.cache,
                locking: drive.isLocked ? .immediate : .off, fileCount: opened.baseFileCount)
        }
        export.image = image
        export.description = drive.description
        export.target = target
        export.copies = copies
        export.lifetime = lifetime
        export.requiresTLS = drive.requiresTLS
        export.access = drive.access
        export.maximumConnections = drive.maximumConnections
        export.isTakenOver = drive.isTakenOver
        return export
    }

    /// The drive becomes the one that its file describes, and the file says that its power has come.
    private func openState(of export: inout ServedExport) throws {
        try checkState()
        guard let state else { return }
        let file = try StateFile(path: state)
        export.state = file
        if !file.text.isEmpty {
            do throws(DiskMemoryError) {
                try export.drive.remember(file.text)
            } catch {
                throw StateFileError.content(state, "\(error)")
            }
        }
        let memory = export.drive.state
        let code = file.write(memory.bytes, number: file.nextNumber(), changes: memory.changes)
        guard code == 0 else { throw StateFileError.system(state, "it cannot be written", errno: code) }
    }

    /// What a recording says of the drive. An image that the drive writes to is none that others can begin with; nor is
    /// an overlay's file that has changes already.
    private func recordingHeader(_ drive: Drive, isNew: Bool) -> RecordingHeader {
        let base: RecordingHeader.Base =
            switch reference {
            case .file(let path): .changed(path: realPath(path) ?? path)
            case .overlay where changes != nil && !isNew: .changed(path: changes.map { realPath($0) ?? $0 } ?? "")
            case .overlay(let path): .image(path: realPath(path) ?? path, isQcow2: format == .qcow2)
            case .memory, .null: .zeroes
            }
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return RecordingHeader(
            blockSize: drive.blockSize,
            sectorsPerPhysical: 1 << UInt64(drive.identifyData.logicalSectorsPerPhysicalExponent),
            sectors: drive.sectors, began: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec), base: base)
    }

    /// Opens and locks the image, and checks that a drive can have it.
    func openImage(
        waits: Bool, expected: FileNumber? = nil, above levels: [FrozenLevel] = [], holder: (FileNumber) -> String?
    ) throws -> ImageChain {
        try checkFormat()
        try checkChanges()
        let opened: ImageChain
        do throws(ImageError) {
            opened = try openFiles(!drive.isLocked ? .off : waits ? .waiting : .immediate, expected, levels)
        } catch {
            throw error.naming(holder)
        }
        do {
            _ = try checked(sectors: drive.device.logicalBlockSize.blocks(holdingBytes: opened.sizeBytes))
        } catch {
            opened.close()
            throw error
        }
        return opened
    }

    private func openFiles(
        _ locking: ImageLocking, _ expected: FileNumber?, _ levels: [FrozenLevel]
    ) throws(ImageError) -> ImageChain {
        switch reference {
        case .file(let path):
            try openFile(path, readOnly: drive.readOnly, locking, expected)
        case .overlay(let path):
            try openOverlay(path, openFile(path, readOnly: true, locking, expected), locking, levels)
        case .memory(let sizeBytes):
            ImageChain(raw: try Backend(memoryOfSize: sizeBytes, readOnly: drive.readOnly))
        case .null(let sizeBytes):
            ImageChain(raw: Backend(nullOfSize: sizeBytes, readOnly: drive.readOnly))
        }
    }

    private func openOverlay(
        _ path: String, _ base: ImageChain, _ locking: ImageLocking, _ levels: [FrozenLevel]
    ) throws(ImageError) -> ImageChain {
        let blockSize = drive.device.logicalBlockSize
        let named = ImageChain.Base(path: path, isQcow2: format == .qcow2)
        guard let changes else {
            let below = try level.map { level throws(ImageError) in
                try ImageChain(
                    changes: level, above: named, base, cache: drive.cache, readOnly: true, locking: locking,
                    blockSize: blockSize)
            }
            return try ImageChain(overlayOf: below ?? base, above: levels, blockSize: blockSize)
        }
        return try ImageChain(
            changes: changes, above: named, base, beginningWith: level, cache: drive.cache, locking: locking,
            blockSize: blockSize)
    }

    private func openFile(
        _ path: String, readOnly: Bool, _ locking: ImageLocking, _ expected: FileNumber?
    ) throws(ImageError) -> ImageChain {
        try ImageChain.Base(path: path, isQcow2: format == .qcow2, snapshot: drive.imageSnapshot).open(
            cache: drive.cache, readOnly: readOnly, locking: locking, expected: expected,
            blockSize: drive.device.logicalBlockSize)
    }

    /// The drive that a look at the image promises: the file is read, but neither locked nor kept open.
    public func preview(ordinal: Int, expected: FileNumber? = nil) throws -> Drive {
        try checkFormat()
        try checkChanges()
        let facts = try ImageFacts(
            reference, format: format, snapshot: drive.imageSnapshot, changes: changes, device: drive.device,
            expected: expected)
        var drive = Drive(
            properties(ordinal: ordinal), sectors: try checked(sectors: facts.sectors),
            bootSector: facts.bootSector, controller: drive.controller)
        try self.drive.plantFaults(in: &drive)
        return drive
    }

    private func checked(sectors: UInt64) throws -> UInt64 {
        // A DVD-ROM without a disc.
        if drive.device.kind.isDisc, reference == .null(sizeBytes: 0) { return 0 }
        guard sectors > 0 else { throw ImageError.empty(image: image) }
        guard sectors <= drive.device.kind.maximumSectors else { throw drive.device.kind.tooLarge(image) }
        return sectors
    }

    func properties(ordinal: Int) -> DriveProperties {
        var properties = drive.device
        if properties.writeCache == .auto { properties.writeCache = drive.cache.hasVolatileWriteCache ? .on : .off }
        // The first one's is by the place that its properties say.
        if properties.serialNumber == nil, ordinal > 1 { properties.serialNumber = SerialNumber.text(ordinal: ordinal) }
        return properties
    }
}

extension WriteCacheModel {
    /// An empty cache; nil if there is none in the drive.
    fileprivate func cache(of drive: Drive) throws(RingError) -> WriteCache? {
        guard case .volatile(let cacheBytes) = self else { return nil }
        let memory = try LayerMemory(mapping: WriteCache.memoryBytes(cacheBytes: cacheBytes))
        return WriteCache(
            cacheBytes: cacheBytes, memory: memory, blockSize: drive.blockSize,
            sectorsPerPhysical: 1 << UInt64(drive.identifyData.logicalSectorsPerPhysicalExponent))
    }
}

/// Serial numbers as QEMU gives them to IDE drives that have none: by their place, from 1.
public enum SerialNumber {
    /// `QM00001` and so on.
    static func text(ordinal: Int) -> String {
        let digits = String(ordinal)
        return "QM" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    /// The place of a drive that comes when these are taken.
    public static func lowestUnused(_ used: some Sequence<Int>) -> Int {
        let used = Set(used)
        var ordinal = 1
        while used.contains(ordinal) { ordinal += 1 }
        return ordinal
    }
}
