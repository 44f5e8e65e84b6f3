// Looking at the beginning of an image, for a warning.

import Backends
import Glibc
import Support
import Testing

@testable import Settings

@Suite struct ImageFormatTests {
    /// Whoever may write to a directory of images can put a link in a file's place after it was found. Nothing is
    /// opened through it.
    @Test func aLinkInPlaceOfAFileOfADirectoryIsNotFollowed() throws {
        let folder = try TemporaryFolder()
        let secret = try folder.file("secret", sizeBytes: 4096, beginning: [0x1F, 0x8B, 8])
        let image = try folder.file("a.img", sizeBytes: 4096, beginning: [0x1F, 0x8B, 8])
        var status = stat()
        try #require(lstat(image, &status) == 0)
        let found = FileNumber(status)
        #expect(ImageFormat(path: image, expected: found)?.description == "a gzip file")
        try #require(unlink(image) == 0 && symlink(secret, image) == 0)
        #expect(ImageFormat(path: image)?.description == "a gzip file", "the user's own links are followed")
        #expect(ImageFormat(path: image, expected: found) == nil)
        try #require(lstat(secret, &status) == 0)
        #expect(ImageFormat(path: image, expected: FileNumber(status)) == nil, "not even to a file that is known")
        #expect(ImageFormat(path: secret, expected: found) == nil)
    }
}
