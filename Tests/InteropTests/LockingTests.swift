// Images that cannot be locked, and locks that are free a moment later.

import Foundation
import Support
import Testing

@Suite struct LockingTests {
    private let folder: TemporaryFolder
    private let image: String

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        image = try folder.file("disk.img", sizeBytes: 1 << 20)
    }

    /// Runs a server for which open file description locks fail, as they do on some file systems.
    ///
    /// - Returns: what it ended with: it says when it serves, and is stopped then.
    private func serveWithoutLocks(_ code: Int32, _ arguments: [String]) throws -> ProgramResult {
        let source = folder.path + "/locks.c"
        // F_OFD_GETLK and F_OFD_SETLK are 36 and 37 (fcntl(2)).
        let text = """
            #define _GNU_SOURCE
            #include <dlfcn.h>
            #include <errno.h>
            #include <stdarg.h>
            static int call(const char *name, int fd, int command, void *argument) {
                if (command == 36 || command == 37) { errno = \(code); return -1; }
                return ((int (*)(int, int, ...)) dlsym(RTLD_NEXT, name))(fd, command, argument);
            }
            #define REPLACED(name) int name(int fd, int command, ...) { \\
                va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list); \\
                return call(#name, fd, command, argument); }
            REPLACED(fcntl)
            REPLACED(fcntl64)
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: source))
        let library = folder.path + "/locks.so"
        try run("gcc", ["-shared", "-fPIC", "-o", library, source, "-ldl"], in: folder)
        return try Program.tool("env").run(
            [
                "LD_PRELOAD=\(library)", Program.spindle.path, "serve", "--listen", "unix:\(folder.path)/s", "--run",
                "true",
            ] + arguments, in: folder)
    }

    @Test(arguments: [
        (ENOLCK, "No locks available"), (EOPNOTSUPP, "Operation not supported"), (EINVAL, "Invalid argument"),
    ])
    func whatCannotBeLockedIsRefused(code: Int32, words: String) throws {
        for options in [[], ["--read-only"]] {
            let refused = try serveWithoutLocks(code, options + [image])
            #expect(refused.status == 1, "\(refused.errors)")
            #expect(refused.errors.contains("image '\(image)' cannot be locked: \(words);"), "\(refused.errors)")
            #expect(refused.errors.contains("--locking off"), "\(refused.errors)")
        }
        #expect(try serveWithoutLocks(code, ["--locking", "off", image]).status == 0)
        let file = folder.path + "/spindle.toml"
        try Data("[[export]]\nimage = \"\(image)\"\nlocking = \"off\"\n".utf8).write(to: URL(fileURLWithPath: file))
        #expect(try serveWithoutLocks(code, ["--config", file]).status == 0)
        try Data("[[export]]\nimage = \"\(image)\"\n".utf8).write(to: URL(fileURLWithPath: file))
        let refused = try serveWithoutLocks(code, ["--config", file])
        #expect(refused.status == 1)
        #expect(refused.errors.contains("\(file):2: export 'disk'.image: image '\(image)' cannot be locked"))
    }

    /// Two servers, both of which were told not to lock; and a server that was not, beside one that was.
    @Test func withoutLocksNobodyIsKeptAway() throws {
        try serving(["--locking", "off", "one=\(image)", "two=\(image)"], in: folder) { _ in
            try serving([image], in: folder) { _ in }
        }
    }

    /// What a process held that was killed is free when the kernel has seen to its end.
    @Test func aLockThatIsFreeAMomentLaterIsWaitedFor() throws {
        let script = """
            import fcntl, glob, os, time
            file = os.open('\(image)', os.O_RDWR)
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 201)
            print('locked', flush=True)
            def is_open_elsewhere():
                for link in glob.glob('/proc/[0-9]*/fd/*'):
                    try:
                        if os.readlink(link) == '\(image)' and link.split('/')[2] != str(os.getpid()): return True
                    except OSError: pass
            while not is_open_elsewhere(): time.sleep(0.01)
            # Now the server asks for the lock, for a second.
            time.sleep(0.3)
            """
        let holder = try RunningProgram(.tool("python3"), ["-c", script], in: folder)
        try holder.wait("to lock the image") { holder.output.hasPrefix("locked") }
        try serving([image], in: folder) { _ in }
        #expect(try holder.stop(signal: 0) == 0)
    }
}
