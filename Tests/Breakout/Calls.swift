// The single steps of the attempts.

import CSeccomp
import Foundation
import Glibc

/// 0, or the errno of a call that has returned -1.
func result(_ value: Int32) -> Int32 { value == -1 ? errno : 0 }

/// A system call by its name, past the C library.
func call(_ name: String, _ arguments: any CVarArg...) -> Int32 {
    let values = arguments.map { argument in
        switch argument {
        case let text as String: Int(bitPattern: strdup(text))
        case let number as Int: number
        default: preconditionFailure("neither a text nor a number")
        }
    }
    return call(number: Int(seccomp_syscall_resolve_name(name)), values)
}

/// A system call by its number.
func call(number: Int, _ arguments: [Int] = []) -> Int32 {
    // Swift cannot call a function with a variable number of arguments; for integers, they are passed like any others.
    typealias Function = @convention(c) (Int, Int, Int, Int, Int, Int, Int) -> Int
    let function = unsafeBitCast(dlsym(nil, "syscall"), to: Function.self)
    let padded = arguments + Array(repeating: 0, count: 6 - arguments.count)
    return function(number, padded[0], padded[1], padded[2], padded[3], padded[4], padded[5]) == -1 ? errno : 0
}

func opening(_ path: String, _ flags: Int32) -> Int32 {
    result(open(path, flags | O_CLOEXEC, 0o600))
}

func execute(_ path: String) -> Int32 {
    var arguments = [strdup(path), nil]
    return result(execv(path, &arguments))
}

func spawn(_ path: String) -> Int32 {
    var arguments = [strdup(path), nil]
    return posix_spawn(nil, path, nil, nil, &arguments, nil)
}

func raiseLimit() -> Int32 {
    var limit = rlimit(rlim_cur: 1, rlim_max: 1)
    return result(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit))
}

func map(_ protection: Int32) -> Int32 {
    mmap(nil, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0
}

func makeExecutable() -> Int32 {
    let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return result(mprotect(memory, 4096, PROT_READ | PROT_EXEC))
}

func startAndJoin() -> Int32 {
    var thread = pthread_t()
    let code = pthread_create(&thread, nil, { _ in nil }, nil)
    return code == 0 ? pthread_join(thread, nil) : code
}

/// Whether the question can be asked: standard input is none.
func terminal() -> Int32 {
    errno = 0
    return isatty(0) == 1 || errno == ENOTTY ? 0 : errno
}

func localTime() -> Int32 {
    var now = time(nil)
    var parts = tm()
    return localtime_r(&now, &parts) == nil ? errno : 0
}
