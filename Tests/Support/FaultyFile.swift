// A file with sectors that cannot be read, or that stops to answer, for real: a file system of one file (FUSE,
// linux/fuse.h). What its user gets is an errno of the kernel, or nothing, with the page cache and readahead in
// between.

import Foundation
import Glibc

/// A file system with one file, `disk.img`, until this object is gone. Only root can mount it.
public final class FaultyFile {
    /// The file.
    public let path: String
    private let folder: TemporaryFolder
    private let program: RunningProgram

    /// Whether this process may mount.
    public static var canBeMade: Bool {
        geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0
    }

    /// Mounts a file of which some sectors of 512 bytes are broken: a read of a range with one of them fails with EIO.
    /// So does a write to those that are worn out.
    public init(content: [UInt8], brokenSectors: [Int] = [], wornSectors: [Int] = []) throws {
        folder = try TemporaryFolder()
        let mountPoint = folder.path + "/mnt"
        path = mountPoint + "/disk.img"
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: false)
        let image = try folder.file("content", sizeBytes: UInt64(content.count), beginning: content)
        // A process of its own: what a process that ends still has open waits for answers.
        program = try RunningProgram(
            try Program.tool("python3"),
            ["-c", fileSystem, mountPoint, image] + brokenSectors.map(String.init) + wornSectors.map { "w\($0)" },
            in: folder)
        try program.wait("to mount \(mountPoint)") { FileManager.default.fileExists(atPath: path) }
    }

    /// From now on nothing that is asked of the file system has an answer.
    public func hang() {
        program.signal(SIGSTOP)
        // The signal takes its time.
        try? waitUntil("the file system hangs") { isStopped(program.processIdentifier) }
    }

    /// What was asked meanwhile is answered, and all that comes.
    public func goOn() {
        program.signal(SIGCONT)
    }

    deinit {
        umount2(folder.path + "/mnt", Int32(MNT_DETACH))
        _ = try? program.stop(signal: SIGKILL)
    }
}

/// MOUNTPOINT CONTENT [w]SECTOR...: as few of FUSE's operations as a user needs. A file is written in memory only.
private let fileSystem = """
    import ctypes, errno, os, stat, struct, sys

    LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, RELEASE, FSYNC = 1, 2, 3, 14, 15, 16, 18, 20
    FLUSH, INIT, INTERRUPT, FORGET_MANY, LSEEK = 25, 26, 36, 42, 46
    mount_point, image, *numbers = sys.argv[1:]
    content = bytearray(open(image, "rb").read())
    broken = [int(number) for number in numbers if number[0] != "w"]
    worn = [int(number[1:]) for number in numbers if number[0] == "w"]

    def attributes(node):
        # struct fuse_attr: the root is node 1, the file node 2.
        is_file = node == 2
        size = len(content) if is_file else 0
        mode = stat.S_IFREG | 0o600 if is_file else stat.S_IFDIR | 0o700
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(operation, node, body):
        if operation == INIT:
            # struct fuse_init_out, version 7.31: readahead as the kernel likes it, no features.
            return struct.pack("<4I2H9I", 7, 31, 1 << 17, 0, 0, 0, 1 << 17, 1, 0, 0, 0, 0, 0, 0, 0)
        if operation == LOOKUP:
            if body != b"disk.img\\0":
                return errno.ENOENT
            return struct.pack("<4Q2I", 2, 0, 1, 1, 0, 0) + attributes(2)
        if operation == GETATTR:
            return struct.pack("<Q2I", 1, 0, 0) + attributes(node)
        if operation == OPEN:
            # FOPEN_NOFLUSH: who closes the file, or ends, does not wait for an answer, which could not be interrupted.
            return struct.pack("<Q2I", 0, 1 << 5, 0)
        if operation == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            end = min(offset + size, len(content))
            if any(sector * 512 < end and (sector + 1) * 512 > offset for sector in broken):
                return errno.EIO
            return bytes(content[offset:end])
        if operation == WRITE:
            offset, size = struct.unpack_from("<QI", body, 8)
            if any(sector * 512 < offset + size and (sector + 1) * 512 > offset for sector in worn):
                return errno.EIO
            content[offset:offset + size] = body[40:40 + size]
            return struct.pack("<2I", size, 0)
        if operation == LSEEK:
            # There are no holes.
            offset, whence = struct.unpack_from("<QI", body, 8)
            return struct.pack("<Q", offset if whence == os.SEEK_DATA else len(content))
        if operation in (RELEASE, FLUSH, FSYNC):
            return b""
        return errno.ENOSYS

    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"faulty", mount_point.encode(), b"fuse", ctypes.c_ulong(0), options) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            sys.exit(0 if error.errno == errno.ENODEV else str(error))
        _, operation, number, node = struct.unpack_from("<2I2Q", request)
        if operation in (FORGET, FORGET_MANY, INTERRUPT):
            continue
        result = answer(operation, node, request[40:])
        payload, code = (b"", -result) if isinstance(result, int) else (result, 0)
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(payload), code, number) + payload)
        except OSError as error:
            # Nobody waits for it any more.
            if error.errno != errno.ENOENT:
                raise
    """
