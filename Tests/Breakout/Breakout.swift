// Tries to break out of the sandbox: the program that the tests of the sandbox run. It is no part of the product.
//
//     Breakout MODE USER FOLDER ATTEMPT
//
// It enters the sandbox as `spindle serve` does, with FOLDER/inside writable, FOLDER/readable readable and
// FOLDER/sockets/socket to be removed, for an ATTEMPT to exchange files those of FOLDER/exchange, and a thread that was
// there before the filter tries one thing. What came of it is written to standard output; who is killed writes nothing.

import Foundation
import Glibc
import IOUring
import Sandbox

@main
struct Breakout {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 5, let mode = Sandbox.Mode(rawValue: arguments[1]) else {
            print("usage: Breakout on|log|off USER FOLDER ATTEMPT")
            exit(64)
        }
        let folder = arguments[3]
        signal(SIGPIPE, SIG_IGN)
        let sockets = try Sockets()
        guard let attempt = Attempts(folder: folder, sockets: sockets).byName[arguments[4]] else {
            print("no such attempt")
            exit(64)
        }
        let identity = arguments[2].isEmpty ? nil : try Identity(user: arguments[2], group: nil)
        let sandbox = Sandbox(mode: mode, identity: identity)
        try sandbox.enter(
            Sandbox.Rules(
                readable: [folder + "/readable"], writable: [folder + "/inside"],
                exchangeable: [folder + "/exchange"], removable: [folder + "/sockets/socket"]))
        // A loop has its thread and its ring by now.
        let ring = try Ring(entries: 8, completions: 16)
        let go = DispatchSemaphore(value: 0)
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            go.wait()
            let code = attempt()
            print(code == 0 ? "done" : String(cString: strerror(code)))
            done.signal()
        }
        try sandbox.filterSystemCalls(
            datagrams: sockets.manager, exchangesFiles: arguments[4].hasPrefix("exchange"))
        go.signal()
        done.wait()
        _ = consume ring
    }
}
