// What a file of reservations keeps.

import Glibc
import Support
import Testing

@testable import Backends

@Suite struct ReservationFileTests {
    /// A write into a file that has no name any more would be gone with the server.
    @Test func aFileThatWasRemovedKeepsNothing() throws {
        let folder = try TemporaryFolder()
        let reservations = try ReservationFolder(folder.path)
        let file = try reservations.file(of: "disk")
        #expect(file.write([1, 2, 3]) == 0)
        #expect(unlink(folder.path + "/" + ReservationFolder.fileName(of: "disk")) == 0)
        #expect(file.write([4]) == ENOENT)
        file.close()
    }
}
