// An image with what it needs beside its file: the layers of its format, and the backing files of a qcow2 image.

import Blocks
import Glibc
import IOUring

/// An image that is open, and all that belongs to it.
public struct ImageChain: Sendable {
    /// The image's own file.
    public internal(set) var backend: Backend
    /// Its backing file, that one's, and so on.
    public internal(set) var backings: [Backend] = []
    /// The layers that find the disk in these files; empty if the image is raw.
    public var blocks = BlockStack()

    /// Between the two, what an overlay in memory has of others, the newest first.
    public var levels: [FrozenLevel] = []
    /// Its own file has the changes of an overlay; nil: it is none, or has them in memory.
    public internal(set) var changes: ChangesFile?
    /// That file was made just now: the disk is as its base.
    public private(set) var isNew = false
    /// Files that are not its own any more: whoever has exchanged them closes them.
    public internal(set) var retired: [Backend] = []
    /// Its own file before, which has no name any more: the file system may take long to give its room back.
    public internal(set) var replaced: Backend?
    /// Its own file was dirty, and has new refcounts.
    public private(set) var isRepaired = false

    /// How many backing files an image may have, one behind the other.
    public static let maximumBackings = 16

    /// The image below an overlay.
    public struct Base: Sendable {
        let path: String
        let isQcow2: Bool
        /// The internal snapshot that it is as; nil: it is as it is now.
        let snapshot: String?

        /// An image by its name.
        public init(path: String, isQcow2: Bool, snapshot: String? = nil) {
            self.path = path
            self.isQcow2 = isQcow2
            self.snapshot = snapshot
        }
    }

    /// A raw image: the disk is the file.
    public init(raw backend: Backend) {
        self.backend = backend
    }

    /// Opens and locks a qcow2 image, and its backing files for reading. They have to be in the folders of the images
    /// that name them, and no links: else an image could name any file of this machine, and show it to clients.
    ///
    /// - Parameters:
    ///   - readOnly: the image is not written either.
    ///   - snapshot: the disk is as it was at this internal snapshot, which is only read; nil: as it is.
    ///   - blockSize: of the unit that has it.
    ///   - expected: see ``Backend/init(path:cache:readOnly:locking:expected:)``.
    public init(
        qcow2 path: String, cache: CacheMode, readOnly: Bool = true, snapshot: String? = nil, locking: ImageLocking,
        expected: FileNumber?, blockSize: BlockSize
    ) throws(ImageError) {
        precondition(readOnly || snapshot == nil, "a snapshot stays as it is")
        self.init(
            raw: try Backend(path: path, cache: cache, readOnly: readOnly, locking: locking, expected: expected))
        do {
            try openBackings(path, snapshot, cache, locking, blockSize)
        } catch {
            close()
            throw error
        }
    }

    /// A disk that begins as another image is, or as what is frozen above that. Changes are kept in memory, and are
    /// gone with the export.
    ///
    /// - Parameter base: open for reading; it is closed with this one, or if there is no memory.
    public init(
        overlayOf base: ImageChain, above levels: [FrozenLevel] = [], blockSize: BlockSize
    ) throws(ImageError) {
        let sizeBytes = blockSize.bytes(ofBlocks: blockSize.blocks(holdingBytes: base.sizeBytes))
        guard levels.allSatisfy({ $0.backend.sizeBytes == sizeBytes }) else {
            base.close()
            throw .cannotFreeze("its image has another size now")
        }
        do {
            backend = try Backend(memoryOfSize: sizeBytes, readOnly: false)
            backings = [base.backend] + base.backings
            blocks = base.blocks
            blocks.overlay = try Overlay(sizeBytes: sizeBytes, blockSize: blockSize, above: levels.map(\.map))
            self.levels = levels
        } catch {
            base.close()
            throw .noAddressSpace(sizeBytes: sizeBytes, purpose: "the changes of an overlay, as many as its disk has")
        }
    }

    /// A disk that begins as another image is. Changes are kept in a qcow2 image above it, which is made if it is
    /// missing.
    ///
    /// - Parameters:
    ///   - path: where that is; its folder need not be the base's.
    ///   - chain: the base, open for reading; it is closed with this one, or if that cannot be opened.
    ///   - level: what is below one that is made, a file that is above the base itself; nil: the base.
    ///   - readOnly: it is only looked at, and has to be there.
    public init(
        changes path: String, above base: Base, _ chain: ImageChain, beginningWith level: String? = nil,
        cache: CacheMode, readOnly: Bool = false, locking: ImageLocking, blockSize: BlockSize
    ) throws(ImageError) {
        let own: Backend
        var file: ChangesFile
        do throws(ImageError) {
            file = try ChangesFile(path: path, above: base, chain, cache: cache, locking: locking)
            if !readOnly { try file.make() }
            own = try Backend(path: path, cache: cache, readOnly: readOnly, locking: locking)
        } catch {
            chain.close()
            throw error
        }
        backend = own
        backings = [chain.backend] + chain.backings
        changes = file
        do throws(ImageError) {
            try openChanges(file, chain, level, blockSize)
        } catch {
            close()
            throw error
        }
    }

    private mutating func openChanges(
        _ file: ChangesFile, _ chain: ImageChain, _ level: String?, _ blockSize: BlockSize
    ) throws(ImageError) {
        var header: Qcow2Header
        // Whole blocks: what the drive writes there is in the image.
        let sizeBytes = blockSize.bytes(ofBlocks: blockSize.blocks(holdingBytes: chain.sizeBytes))
        let isEmpty = backend.sizeBytes == 0 ? true : try file.isUnfinished(backend, sizeBytes: sizeBytes)
        if !backend.isReadOnly, isEmpty {
            guard backend.canBegin else { throw .changes(path: file.path, "it is no file") }
            header = try file.begin(in: backend, sizeBytes: sizeBytes, above: level)
            isNew = level == nil
        } else {
            header = try file.header(of: backend)
        }
        changes?.snapshotCount = header.snapshotCount
        changes?.findSnapshots(isOwn: !backend.isReadOnly)
        if !backend.isReadOnly { try makeWritable(&header, file.path) }
        let levels = try file.openLevels(below: header, of: file.path, isNew ? nil : backend.fileNumber)
        backings.insert(contentsOf: levels.files, at: 0)
        guard backings.count <= Self.maximumBackings else {
            throw .changes(
                path: file.path,
                "there would be \(backings.count) files below it, and there can be no more than \(Self.maximumBackings)"
            )
        }
        let below = chain.blocks.qcow2
        try setLayer(
            [header] + levels.headers + (below?.headers ?? []),
            rawBytes: below == nil ? chain.backend.sizeBytes : below?.rawBytes, blockSize)
    }

    /// How many of the files behind an overlay are its image's.
    public var baseFileCount: Int { changes?.baseFileCount ?? backings.count }

    /// The size of the disk in bytes.
    public var sizeBytes: UInt64 { blocks.diskBytes ?? backend.sizeBytes }

    /// Closes all files.
    public func close() {
        for backing in backings { backing.close() }
        backend.close()
    }

    private mutating func openBackings(
        _ path: String, _ snapshot: String?, _ cache: CacheMode, _ locking: ImageLocking, _ blockSize: BlockSize
    ) throws(ImageError) {
        var headers = [try Qcow2Header(of: backend, path)]
        if !backend.isReadOnly { try makeWritable(&headers[0], path) }
        if let snapshot { headers[0] = try backend.header(headers[0], atSnapshot: snapshot, of: path) }
        var rawBytes: UInt64?
        let image = path
        var path = path
        var numbers = [backend.fileNumber]
        while rawBytes == nil, let backing = headers[headers.count - 1].backing {
            guard backings.count < Self.maximumBackings else {
                throw .qcow2(path: image, "it has more than \(Self.maximumBackings) backing files")
            }
            let (next, number) = try Self.find(backing.name, of: path)
            guard !numbers.contains(number) else {
                throw .qcow2(path: path, "its backing file '\(backing.name)' is in front of it already")
            }
            let file = try Backend(path: next, cache: cache, readOnly: true, locking: locking, expected: number)
            backings.append(file)
            numbers.append(number)
            path = next
            if backing.isQcow2 {
                headers.append(try Qcow2Header(of: file, path))
            } else {
                rawBytes = file.sizeBytes
            }
        }
        try setLayer(headers, rawBytes: rawBytes, blockSize)
    }

    private mutating func setLayer(
        _ headers: [Qcow2Header], rawBytes: UInt64?, _ blockSize: BlockSize
    ) throws(ImageError) {
        blocks.qcow2 = Qcow2(
            headers, rawBytes: rawBytes, memory: try Self.tableMemory(headers, isWritable: !backend.isReadOnly),
            blockSize: blockSize, isWritable: !backend.isReadOnly)
    }

    /// Memory for the tables of a chain of images.
    static func tableMemory(_ headers: [Qcow2Header], isWritable: Bool) throws(ImageError) -> LayerMemory {
        let byteCount = Qcow2.memoryBytes(headers, isWritable: isWritable)
        do throws(RingError) {
            return try LayerMemory(mapping: byteCount)
        } catch {
            throw .noAddressSpace(sizeBytes: UInt64(byteCount), purpose: "the tables of a qcow2 image")
        }
    }

    /// Refuses to write what cannot be written, and repairs the refcounts of a dirty image.
    private mutating func makeWritable(_ header: inout Qcow2Header, _ path: String) throws(ImageError) {
        try backend.checkWritable(header, path)
        if header.needsRepair {
            header = try Qcow2Header(of: backend, path, fileBytes: backend.repair(header, path))
            isRepaired = true
        }
        do throws(Qcow2Error) {
            try header.checkWritable()
        } catch {
            throw .qcow2(path: path, "\(error)")
        }
    }

    /// Where a backing file is.
    static func find(_ name: String, of image: String) throws(ImageError) -> (String, FileNumber) {
        let own = folder(of: image)
        let path = name.hasPrefix("/") ? name : own + "/" + name
        guard let real = realPath(own), realPath(folder(of: path)) == real else {
            throw .qcow2(
                path: image,
                "its backing file '\(name)' is not in its folder; 'qemu-img rebase -u' changes the name when you have moved it there"
            )
        }
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw .cannotOpen(path: path, errno: errno, readOnly: true) }
            throw .qcow2(
                path: image,
                "its backing file '\(name)' is missing; bring it back, or name another with 'qemu-img rebase'")
        }
        guard status.st_mode & S_IFMT != S_IFLNK else {
            throw .qcow2(path: image, "its backing file '\(name)' is a link, which is not followed")
        }
        return (path, FileNumber(status))
    }
}

extension Qcow2Header {
    /// The header of a file that is open.
    ///
    /// - Parameter fileBytes: how large it is now; nil: as when it was opened.
    init(of backend: Backend, _ path: String, fileBytes: UInt64? = nil) throws(ImageError) {
        let fileBytes = fileBytes ?? backend.sizeBytes
        let count = min(fileBytes, UInt64(Self.byteCount))
        try self.init(backend.beginning(byteCount: Int(count)), fileBytes: fileBytes, of: path)
    }

    /// The header in the beginning of a file.
    init(_ bytes: [UInt8], fileBytes: UInt64, of path: String) throws(ImageError) {
        do throws(Qcow2Error) {
            try self.init(bytes, fileBytes: fileBytes)
        } catch {
            throw .qcow2(path: path, "\(error)")
        }
    }
}

extension ImageChain {
    /// The first bytes of the disk, waiting for them; zeroes where they cannot be read.
    public mutating func beginning(byteCount: Int) -> [UInt8] {
        guard !blocks.isEmpty else { return backend.beginning(byteCount: byteCount) }
        var bytes = [UInt8](repeating: 0, count: byteCount)
        let isRead = unsafe bytes.withUnsafeMutableBytes { unsafe read(into: $0, at: 0) }
        return isRead ? bytes : [UInt8](repeating: 0, count: byteCount)
    }

    /// Reads bytes of the disk, waiting for them. Nobody else uses the layers.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        let files = [backend] + levels.map(\.backend) + backings
        let request = BackendRequest(.read, offset: offset, length: UInt64(buffer.count))
        return unsafe blocks.performNow(request, buffer) { request, bytes in
            unsafe files[Int(request.file)].readNow(into: bytes, at: request.offset)
        }
    }
}

extension Backend {
    /// It is a file that tables can be written to.
    fileprivate var canBegin: Bool { if case .file(let file) = kind { file.canGrow } else { false } }

    /// Refuses to write where a cluster cannot be written alone, or behind all others.
    fileprivate func checkWritable(_ header: Qcow2Header, _ path: String) throws(ImageError) {
        guard case .file(let file) = kind, file.canGrow else {
            throw .qcow2(path: path, "it is on a block device, where no cluster can be added; only files are written")
        }
        guard header.clusterBytes >= file.granularityBytes else {
            throw .qcow2(
                path: path,
                "its clusters have \(header.clusterBytes) bytes, and are written without the page cache in pieces of \(file.granularityBytes); another --cache does that"
            )
        }
    }

    /// Reads bytes, waiting for them: zeroes behind the end of the file.
    func readNow(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        if case .memory(let memory) = kind {
            let data = unsafe MemoryRange(bytes.baseAddress, count: bytes.count)
            return memory.perform(BackendTask(.read, offset: offset, data: data)) == .finished
        }
        guard case .file(let file) = kind else { return false }
        var done = 0
        while done < bytes.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
            let place = off_t(clamping: offset + UInt64(done))
            let count = unsafe pread(file.bufferedDescriptor, rest.baseAddress, rest.count, place)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return false }
            guard count > 0 else {
                unsafe rest.initializeMemory(as: UInt8.self, repeating: 0)
                return true
            }
            done += count
        }
        return true
    }
}
