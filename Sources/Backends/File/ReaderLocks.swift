// One lock for all readers of a file in this process: the kernel looks at every lock of a file for each new one, so a
// thousand overlays of one image would be slow to open.

import Glibc
import IOUring
import Synchronization

/// Which descriptors read a file that is locked for reading. One of them has the lock, for all of them; when it is
/// closed, another one takes over before that.
enum ReaderLocks {
    private struct Readers {
        var holder: Int32
        var others: Set<Int32> = []
        /// The only reader lets a writer in: whoever comes now looks for himself.
        var isWritten = false
    }

    private static let files = Mutex<[FileNumber: Readers]>([:])

    /// A file is open for reading once more.
    ///
    /// - Returns: false if it has no lock for that yet.
    static func join(_ file: FileNumber, _ descriptor: Int32) -> Bool {
        files.withLock { files in
            guard files[file]?.isWritten == false else { return false }
            files[file]?.others.insert(descriptor)
            return true
        }
    }

    /// A descriptor has locked a file for reading.
    static func enter(_ file: FileNumber, _ descriptor: Int32) {
        files.withLock { files in
            // Somebody else may have come first: then both have a lock.
            if files[file] == nil {
                files[file] = Readers(holder: descriptor)
            } else if files[file]?.isWritten == false {
                files[file]?.others.insert(descriptor)
            }
        }
    }

    /// A descriptor is about to be closed.
    static func leave(_ file: FileNumber, _ descriptor: Int32) {
        files.withLock { files in
            guard var readers = files[file] else { return }
            if readers.others.remove(descriptor) == nil {
                guard readers.holder == descriptor else { return }
                guard let next = readers.others.popFirst() else {
                    files[file] = nil
                    return
                }
                // Both have it for a moment: nobody comes in between.
                ImageLock.takeOver(next)
                readers.holder = next
            }
            files[file] = readers
        }
    }

    /// The only reader of a file is about to let a writer in.
    ///
    /// - Returns: false if there are others.
    static func beginWriting(_ file: FileNumber, beside reader: Int32) -> Bool {
        files.withLock { files in
            guard let readers = files[file] else { return true }
            guard readers.holder == reader, readers.others.isEmpty else { return false }
            files[file]?.isWritten = true
            return true
        }
    }

    /// The writer is about to go.
    static func endWriting(_ file: FileNumber) {
        files.withLock { $0[file]?.isWritten = false }
    }
}
