// Users by their names, before and after a server gives up asking the system.

import Foundation
import Support
import Testing

@testable import Settings

@Suite struct UserNamesTests {
    @Test(arguments: [false, true]) func numbers(isSealed: Bool) {
        let users = UserNames()
        if isSealed { users.seal() }
        #expect(users.number(of: "root") == 0)
        #expect(users.number(of: "nobody") == 65534)
        #expect(users.number(of: "4711") == 4711)
        #expect(users.number(of: "no-such-user") == nil)
        #expect(users.number(of: "") == nil)
    }

    /// Users of a directory service, which are in no file, are remembered. Those that were not looked up stay unknown.
    @Test func whoWasFoundBeforeIsFound() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/passwd"
        try "somebody:x:4321:4321::/:/bin/false\n".write(toFile: file, atomically: true, encoding: .utf8)
        let users = UserNames(file: file)
        #expect(users.number(of: "nobody") == 65534)
        users.seal()
        #expect(users.number(of: "nobody") == 65534)
        #expect(users.number(of: "somebody") == 4321)
        #expect(users.number(of: "root") == nil)
    }

    /// On SIGHUP a rule finds users of /etc/passwd, and for others the filter for system calls ends nobody.
    @Test func aReloadFindsUsers() throws {
        let folder = try TemporaryFolder()
        func text(_ user: String) -> String {
            "[[export]]\nname = \"a\"\nimage = \"null:1M\"\n[[export.access]]\nuser = \"\(user)\"\n"
        }
        let path = folder.path + "/c.toml"
        try text("root").write(toFile: path, atomically: true, encoding: .utf8)
        let server = try RunningServer(["--config", path], in: folder)
        for (user, said) in [("no-such-user", "there is no user 'no-such-user'"), ("nobody", "change=")] {
            try text(user).write(toFile: path, atomically: true, encoding: .utf8)
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("'\(said)' is logged: \(server.log)") { server.log.contains(said) || !server.isRunning }
            #expect(server.isRunning)
        }
        #expect(try server.stop() == 0)
    }
}
