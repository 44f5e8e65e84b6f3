// A pre-shared key as servers and clients of tests have it.

import Foundation

/// A pre-shared key, its user and the file of a server, in which others come before.
public struct TestKey {
    /// The user.
    public let user = "alice"
    /// The key.
    public let key: [UInt8] = Array(0..<32)
    private let folder: TemporaryFolder

    /// Writes the file, which is there as long as this value.
    public init() throws {
        folder = try TemporaryFolder()
        let text = "bob:00ff\n\(user):" + key.map { String(format: "%02x", $0) }.joined() + "\n"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// The file's path.
    public var path: String { folder.path + "/keys.psk" }

    /// A client that has the key.
    public var settings: TLSClientSettings { TLSClientSettings(preSharedKey: (user, key)) }
}
