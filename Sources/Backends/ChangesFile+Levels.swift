// Snapshots of an overlay in a file: each is a file of its own, a level that nobody writes to any more, below the one
// that is written.

import Blocks
import Glibc
import IOUring

/// Their names. A snapshot `before` of `disk.qcow2` is `disk.qcow2@before`, in the same folder.
extension ChangesFile {
    private static let sign: Character = "@"

    /// The file of a snapshot.
    public func path(ofSnapshot name: String) -> String { "\(path)\(Self.sign)\(name)" }

    /// What is made here takes the overlay's place when it is whole. No snapshot has that name.
    private var nextPath: String { "\(path)\(Self.sign)\(Self.sign)" }

    /// Refuses a name that no file can have, or that another file has.
    public func checkSnapshot(_ name: String) throws(ImageError) {
        let slash: Character = "/"
        guard !name.contains(slash), !name.contains(Self.sign), !name.utf8.contains(0) else {
            throw .cannotFreeze("'\(name)' is to be the end of a file's name, which has no '/' and no second '@'")
        }
    }

    /// Looks for them. One that was begun when its server was killed is no snapshot: it is the overlay's file still.
    ///
    /// - Parameter isOwn: the file is locked for writing, and what is left of a killed server can go.
    mutating func findSnapshots(isOwn: Bool) {
        snapshots = []
        let own = FileNumber(path: path)
        var found: [(name: String, time: timespec)] = []
        forEachFile { name in
            let path = self.path(ofSnapshot: name)
            guard let status = LinuxFile.status(path), status.st_mode & S_IFMT == S_IFREG else { return }
            guard FileNumber(status) != own, name.first != Self.sign else {
                if isOwn { LinuxFile.remove(path) }
                return
            }
            found.append((name, status.st_mtim))
        }
        snapshots = found.sorted {
            ($0.time.tv_sec, $0.time.tv_nsec, $0.name) < ($1.time.tv_sec, $1.time.tv_nsec, $1.name)
        }.map(\.name)
    }

    /// Names the files beside the overlay's whose names begin with its own and the sign, by what follows.
    private func forEachFile(_ body: (String) -> Void) {
        guard let listing = unsafe opendir(folder(of: path)) else { return }
        defer { unsafe closedir(listing) }
        let beginning = Array("\(lastName(of: path))\(Self.sign)".utf8CString.dropLast())
        while let entry = unsafe readdir(listing) {
            // There may be thousands of others.
            let isOne = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
                unsafe strncmp(name.baseAddress!.assumingMemoryBound(to: CChar.self), beginning, beginning.count) == 0
            }
            guard isOne else { continue }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
                unsafe String(validatingCString: name.baseAddress!.assumingMemoryBound(to: CChar.self))
            }
            if let name, name.utf8.count > beginning.count {
                body(String(decoding: name.utf8.dropFirst(beginning.count), as: UTF8.self))
            }
        }
    }
}

/// Files that come and go.
extension ChangesFile {
    /// Makes a file that is to be the overlay's, above another one, and waits until it is stable.
    ///
    /// - Returns: the file, which is locked as the overlay's is, and the header in it.
    func makeNext(above level: String, sizeBytes: UInt64) throws(ImageError) -> (Backend, Qcow2Header) {
        LinuxFile.remove(nextPath)
        let mode = LinuxFile.status(path)?.st_mode ?? 0o600
        let descriptor = unsafe open(nextPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0o777)
        guard descriptor >= 0 else { throw .cannotMakeChanges(path: nextPath, errno: errno) }
        Glibc.close(descriptor)
        do throws(ImageError) {
            let next = try Backend(
                path: nextPath, cache: cache, readOnly: false, locking: locking == .off ? .off : .immediate)
            do throws(ImageError) {
                let header = try begin(in: next, sizeBytes: sizeBytes, above: level)
                if let file = next.flushedDescriptor, fdatasync(file) != 0 {
                    throw .cannotMakeChanges(path: nextPath, errno: errno)
                }
                return (next, header)
            } catch {
                next.close()
                throw error
            }
        } catch {
            forgetNext()
            throw error
        }
    }

    /// The file that was made is the overlay's from now on, whatever happens.
    func takeNext() throws(ImageError) {
        guard unsafe rename(nextPath, path) == 0 else { throw .cannotExchange(path: path, errno: errno) }
    }

    /// Removes the file that was made.
    func forgetNext() { LinuxFile.remove(nextPath) }

    /// Waits until the names in its folder are stable.
    func synchronizeFolder() throws(ImageError) {
        guard !cache.ignoresFlushes else { return }
        let descriptor = LinuxFile.open(folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .cannotExchange(path: path, errno: errno) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .cannotExchange(path: path, errno: errno) }
    }

    /// Gives what is in a file another name, too.
    func link(_ file: String, toSnapshot name: String) throws(ImageError) {
        let new = path(ofSnapshot: name)
        guard unsafe Glibc.link(file, new) != 0 else { return }
        let code = errno
        // A killed server has come so far.
        guard code != EEXIST || FileNumber(path: new) != FileNumber(path: file) else { return }
        throw .cannotFreeze("'\(file)' cannot be named '\(new)' as well: \(errorText(code))")
    }

    /// Removes the file of a snapshot, unless the disk, or another snapshot, begins with it.
    public mutating func discard(_ name: String) throws(ImageError) {
        let file = path(ofSnapshot: name)
        guard !isLevel(name, below: path) else {
            throw .cannotDiscard(
                "the disk begins with it; 'spindle ctl revert' to another state, or to the image, comes first")
        }
        if let other = snapshots.first(where: { isLevel(name, below: path(ofSnapshot: $0)) }) {
            throw .cannotDiscard("the snapshot '\(other)' begins with it; discard that first")
        }
        guard unsafe unlink(file) == 0 || errno == ENOENT else { throw .cannotExchange(path: file, errno: errno) }
        findSnapshots(isOwn: false)
    }

    /// An image names the file of a snapshot as what is below it. An image that cannot be read may do so. Names count,
    /// and not files: a file may have the names of several snapshots.
    private func isLevel(_ snapshot: String, below image: String) -> Bool {
        guard LinuxFile.status(image) != nil else { return false }
        guard let file = try? Backend(path: image, cache: .writeback, readOnly: true, locking: .off) else {
            return true
        }
        defer { file.close() }
        guard let header = try? Qcow2Header(of: file, image) else { return true }
        guard let level = level(below: header) else { return false }
        let name = path(ofSnapshot: snapshot)
        return lastName(of: level) == lastName(of: name)
            && FileNumber(path: folder(of: level)) == FileNumber(path: folder(of: name))
    }

    private func lastName(of path: String) -> Substring { path.split(separator: "/").last ?? "" }

    /// Opens the images between one that is above the base and the base, for reading. They have been frozen.
    ///
    /// - Parameters:
    ///   - header: of the first image.
    ///   - path: its name.
    ///   - number: which file it is.
    func openLevels(
        below header: Qcow2Header, of path: String, _ number: FileNumber?
    ) throws(ImageError) -> (files: [Backend], headers: [Qcow2Header]) {
        var (files, headers) = ([Backend](), [header])
        var (path, numbers, paths) = (path, [number], [path])
        do throws(ImageError) {
            while !(try leadsToBase(headers[headers.count - 1], of: path)) {
                let (next, number) = try findLevel(headers[headers.count - 1].backing, of: path, first: header)
                guard files.count < ImageChain.maximumBackings, !numbers.contains(number) else {
                    throw notAboveBase(header)
                }
                let file = try Backend(path: next, cache: cache, readOnly: true, locking: locking, expected: number)
                files.append(file)
                numbers.append(number)
                headers.append(try Qcow2Header(of: file, next))
                path = next
                paths.append(path)
            }
            // What is below was there before.
            for (header, path) in zip(headers, paths).reversed() { try checkStamps(header, of: path) }
        } catch {
            for file in files { file.close() }
            throw error
        }
        return (files, Array(headers.dropFirst()))
    }

    private func findLevel(
        _ named: Qcow2Header.Backing?, of path: String, first: Qcow2Header
    ) throws(ImageError) -> (String, FileNumber) {
        guard let named, named.isQcow2 else { throw notAboveBase(first) }
        do throws(ImageError) {
            return try ImageChain.find(named.name, of: path)
        } catch {
            // What is missing is named.
            let place = named.name.hasPrefix("/") ? named.name : folder(of: path) + "/" + named.name
            throw LinuxFile.status(place) == nil ? error : notAboveBase(first)
        }
    }

    /// The file below an image, if that is not the base.
    func level(below header: Qcow2Header) -> String? {
        guard let name = header.backing?.name, (try? leadsToBase(header, of: path)) == false else { return nil }
        return name.hasPrefix("/") ? name : folder(of: path) + "/" + name
    }
}

extension ImageChain {
    /// What an export has of an overlay.
    ///
    /// - Parameter changes: nil: they are in memory.
    public init(_ changes: ChangesFile?, _ backend: Backend, _ backings: [Backend], _ blocks: BlockStack) {
        self.init(raw: backend)
        self.backings = backings
        self.blocks = blocks
        self.changes = changes
    }

    /// Keeps what an overlay in a file has, by a name. Its file gets that name, and a new one above it gets its own.
    /// Nobody uses the disk, and all that was written is stable.
    public mutating func freeze(as name: String) throws(ImageError) {
        guard let changes, let layer = blocks.qcow2, let sizeBytes = blocks.diskBytes else {
            preconditionFailure("the changes are in a qcow2 image")
        }
        defer { self.changes?.findSnapshots(isOwn: false) }
        // Nothing was written since the last time: what is below has another name.
        if let level = changes.level(below: layer.headers[0]), layer.isUntouched {
            try changes.link(level, toSnapshot: name)
            return try changes.synchronizeFolder()
        }
        guard backings.count < Self.maximumBackings else {
            throw .cannotFreeze("there are \(backings.count) files below it already, and there can be no more in a row")
        }
        let frozen = changes.path(ofSnapshot: name)
        // It names the other file, which has that name when this one is to be found.
        let (next, header) = try changes.makeNext(above: frozen, sizeBytes: sizeBytes)
        do throws(ImageError) {
            try begin(with: header, layer.headers)
            try changes.link(changes.path, toSnapshot: name)
            do throws(ImageError) {
                try changes.takeNext()
            } catch {
                LinuxFile.remove(frozen)
                throw error
            }
        } catch {
            next.close()
            changes.forgetNext()
            blocks.qcow2 = layer
            throw error
        }
        backings.insert(backend.freeze(), at: 0)
        backend = next
        self.changes?.snapshotCount = 0
        try changes.synchronizeFolder()
    }

    /// Makes the disk of an overlay in a file like its base again, or as it was at a snapshot. Nobody uses it. A power
    /// cut leaves the old state, or the new one.
    ///
    /// - Returns: how much room its file has given back, in bytes.
    public mutating func revert(to snapshot: String?) throws(ImageError) -> UInt64 {
        guard let changes, let layer = blocks.qcow2, let sizeBytes = blocks.diskBytes else {
            preconditionFailure("the changes are in a qcow2 image")
        }
        let base = layer.headers.suffix(changes.baseHeaderCount)
        guard let snapshot else { return try empty(changes, layer, base, sizeBytes) }
        let room = backend.roomBytes
        let (next, header) = try changes.makeNext(above: changes.path(ofSnapshot: snapshot), sizeBytes: sizeBytes)
        var levels: (files: [Backend], headers: [Qcow2Header]) = ([], [])
        do throws(ImageError) {
            levels = try changes.openLevels(below: header, of: changes.path, next.fileNumber)
            try begin(with: header, levels.headers + base)
            try changes.takeNext()
        } catch {
            for file in [next] + levels.files { file.close() }
            changes.forgetNext()
            blocks.qcow2 = layer
            throw error
        }
        retired = Array(backings.dropLast(changes.baseFileCount))
        replaced = backend
        backend = next
        backings = levels.files + backings.suffix(changes.baseFileCount)
        self.changes?.snapshotCount = 0
        try changes.synchronizeFolder()
        return room
    }

    /// Empties the file and begins it anew. As long as nobody has flushed, a power cut leaves the old changes, or none.
    private mutating func empty(
        _ changes: ChangesFile, _ layer: Qcow2, _ base: ArraySlice<Qcow2Header>, _ sizeBytes: UInt64
    ) throws(ImageError) -> UInt64 {
        let room = backend.roomBytes
        guard backend.empty() == 0 else { throw changes.cannotEmpty(errno) }
        do throws(ImageError) {
            try begin(with: try changes.begin(in: backend, sizeBytes: sizeBytes, above: nil), Array(base))
        } catch {
            blocks.qcow2?.endWriting()
            throw error
        }
        retired = Array(backings.dropLast(changes.baseFileCount))
        backings = Array(backings.suffix(changes.baseFileCount))
        return room - min(room, backend.roomBytes)
    }

    /// The layer is that of a new file above images, which are open.
    private mutating func begin(with header: Qcow2Header, _ below: [Qcow2Header]) throws(ImageError) {
        let headers = [header] + below
        blocks.qcow2 = blocks.qcow2?.begun(with: headers, memory: try Self.tableMemory(headers, isWritable: true))
    }
}
