// What BLOCK_STATUS tells, and the rules for it (NBD_REPLY_TYPE_BLOCK_STATUS, NBD_REPLY_TYPE_BLOCK_STATUS_EXT).

import Support

/// A piece of an export, and its status in a metadata context.
struct Extent: Equatable {
    var length: UInt64
    var flags: UInt64

    static func data(_ length: UInt64) -> Extent { Extent(length: length, flags: 0) }
    /// A hole that reads as zeroes.
    static func hole(_ length: UInt64) -> Extent { Extent(length: length, flags: 3) }
}

extension Reply {
    /// Decodes a status chunk.
    mutating func takeExtents(_ chunk: Chunk, _ contexts: Set<UInt32>) throws {
        guard request.type == CommandNumber.blockStatus else { throw Breach("extents for command \(request.type)") }
        guard (chunk.type == ChunkNumber.blockStatusExtended) == request.isExtended else {
            throw Breach("a chunk of type \(chunk.type) does not belong to the headers")
        }
        let (start, size) = request.isExtended ? (8, 16) : (4, 8)
        guard chunk.payload.count > start, (chunk.payload.count - start) % size == 0 else {
            throw Breach("a status chunk of \(chunk.payload.count) bytes")
        }
        let context = chunk.payload.number(at: 0, as: UInt32.self)
        guard contexts.contains(context) else { throw Breach("status of context \(context), which was not selected") }
        guard extents[context] == nil else { throw Breach("two chunks for the context \(context)") }
        let count = (chunk.payload.count - start) / size
        if request.isExtended {
            let announced = chunk.payload.number(at: 4, as: UInt32.self)
            guard announced == count else { throw Breach("\(count) descriptors, not \(announced)") }
        }
        extents[context] = (0..<count).map { number in
            let place = start + number * size
            guard request.isExtended else {
                return Extent(
                    length: UInt64(chunk.payload.number(at: place, as: UInt32.self)),
                    flags: UInt64(chunk.payload.number(at: place + 4, as: UInt32.self)))
            }
            return Extent(
                length: chunk.payload.number(at: place, as: UInt64.self),
                flags: chunk.payload.number(at: place + 8, as: UInt64.self))
        }
    }

    /// One chunk for each context that was asked for, with lengths as the document wants them.
    func checkExtents(_ contexts: Set<UInt32>) throws {
        guard Set(extents.keys) == contexts else { throw Breach("status of \(extents.keys), not of \(contexts)") }
        for list in extents.values {
            guard list.count <= 1 << 20, list.allSatisfy({ $0.length > 0 }) else { throw Breach("extents \(list)") }
            let before = list.dropLast().reduce(0) { $0 + $1.length }
            guard before < request.effectLength else { throw Breach("extents begin behind the request: \(list)") }
            if request.flags & CommandFlag.reqOne != 0 {
                guard list.count == 1, list[0].length <= request.effectLength else {
                    throw Breach("REQ_ONE was answered with \(list)")
                }
            }
        }
    }
}
