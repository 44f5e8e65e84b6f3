// What an errno of the image says of its blocks (errno(3), write(2), fsync(2)).

import Blocks
import Glibc
import Testing

@testable import Backends

@Suite struct BlockFailureTests {
    @Test(arguments: [ENOSPC, EDQUOT, EFBIG]) func noSpace(code: Int32) {
        #expect(BlockFailure(errno: code, of: .write) == .noSpace)
        #expect(BlockFailure(errno: code, of: .writeZeroes(mayDeallocate: false)) == .noSpace)
        #expect(BlockFailure(errno: code, of: .flush) == .noSpace)
    }

    @Test(arguments: [EROFS, EPERM, EACCES]) func writeProtected(code: Int32) {
        #expect(BlockFailure(errno: code, of: .write) == .writeProtected)
        #expect(BlockFailure(errno: code, of: .flush) == .unrecovered)
    }

    @Test(arguments: [EIO, EBADF, ENXIO]) func unrecovered(code: Int32) {
        #expect(BlockFailure(errno: code, of: .read) == .unrecovered)
        #expect(BlockFailure(errno: code, of: .write) == .unrecovered)
    }
}
