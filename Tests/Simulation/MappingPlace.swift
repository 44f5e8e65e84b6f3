// Addresses for mapped images that mean the same in each run: what is known of a chunk is kept by its address.

import Backends
import Glibc
import IOUring
import Support

/// A part of the address space, in which images are mapped one after the other.
final class MappingPlace {
    /// After so many bytes the table of chunks begins anew.
    private static let period = ResidentChunks.capacity * Int(ResidentChunks.chunkBytes)
    private static let byteCount = 2 * period

    private var end: UnsafeMutableRawPointer
    /// What no image has been given. The rest is gone with the images: somebody else may have it by now.
    private var rest: [(start: UnsafeMutableRawPointer, end: UnsafeMutableRawPointer)] = []
    private let limit: UnsafeMutableRawPointer

    init() throws {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let memory = mmap(nil, Self.byteCount, PROT_NONE, flags, -1, 0), memory != MAP_FAILED else {
            throw Violation("there is no room for mappings")
        }
        limit = memory + Self.byteCount
        let address = Int(bitPattern: memory)
        end = memory + ((address + Self.period - 1) / Self.period * Self.period - address)
        rest.append((memory, end))
    }

    deinit { for part in rest + [(end, limit)] { munmap(part.start, part.end - part.start) } }

    /// Room for an image of this size, which never grows there; nil when there is none left.
    func next(_ count: Int) -> UnsafeMutableRawPointer? {
        let place = end
        let needed = (count + (4 << 20)) / (2 << 20) * (2 << 20)
        guard place + needed <= limit else { return nil }
        end += needed
        let page = Int(FileMapping.pageBytes)
        // A mapping has two pages more than the file's.
        rest.append((place + (count / page + 2) * page, end))
        return place
    }
}
