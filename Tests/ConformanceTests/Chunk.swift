// Replies in chunks, and the rules for them ("Structured reply types", NBD_CMD_READ).

import Support

/// A chunk as it came.
struct Chunk: Equatable {
    let flags: UInt16
    let type: UInt16
    let payload: [UInt8]

    var isDone: Bool { flags & 1 != 0 }
    var isContent: Bool { type == ChunkNumber.offsetData || type == ChunkNumber.offsetHole }
    /// Where the content of a content chunk begins.
    var offset: UInt64 { payload.number(at: 0, as: UInt64.self) }
    /// How many bytes a content chunk describes.
    var contentBytes: Int {
        type == ChunkNumber.offsetData ? payload.count - 8 : Int(payload.number(at: 8, as: UInt32.self))
    }
}

extension Reply {
    /// Decodes the chunks of a reply; throws when one of them, or all together, break a rule.
    init(to request: Request, chunks: [Chunk], contexts: Set<UInt32>) throws {
        self.init(request: request, chunks: chunks)
        for chunk in chunks {
            guard chunk.flags & ~1 == 0 else { throw Breach("a chunk with the flags \(chunk.flags)") }
            switch chunk.type {
            case ChunkNumber.none:
                guard chunk.payload.isEmpty, chunk.isDone else {
                    throw Breach("a NONE chunk is not the empty last one")
                }
            case ChunkNumber.offsetData, ChunkNumber.offsetHole:
                try Self.checkContent(chunk, request)
            case ChunkNumber.blockStatus, ChunkNumber.blockStatusExtended:
                try takeExtents(chunk, contexts)
            case ChunkNumber.error, ChunkNumber.errorOffset:
                try takeError(chunk)
            default:
                throw Breach("a chunk of type \(chunk.type)")
            }
        }
        if request.type == CommandNumber.read { try assemble() }
        if request.type == CommandNumber.blockStatus, error == 0 { try checkExtents(contexts) }
    }

    private static func checkContent(_ chunk: Chunk, _ request: Request) throws {
        guard request.type == CommandNumber.read else {
            throw Breach("content in the reply to command \(request.type)")
        }
        if chunk.type == ChunkNumber.offsetData {
            guard chunk.payload.count >= 9 else { throw Breach("OFFSET_DATA of \(chunk.payload.count) bytes") }
        } else {
            guard chunk.payload.count == 12 else { throw Breach("OFFSET_HOLE of \(chunk.payload.count) bytes") }
        }
        let size = UInt64(chunk.contentBytes)
        guard size > 0, chunk.offset >= request.offset,
            chunk.offset - request.offset + size <= request.length
        else { throw Breach("\(size) bytes at \(chunk.offset) are outside of the request") }
    }

    private mutating func takeError(_ chunk: Chunk) throws {
        let fixed = chunk.type == ChunkNumber.error ? 6 : 14
        guard chunk.payload.count >= fixed else { throw Breach("an error chunk of \(chunk.payload.count) bytes") }
        let code = chunk.payload.number(at: 0, as: UInt32.self)
        guard ErrorNumber.all.contains(code) else { throw Breach("an error chunk with the error \(code)") }
        let length = Int(chunk.payload.number(at: 4, as: UInt16.self))
        guard fixed + length == chunk.payload.count else { throw Breach("an error text of \(length) bytes") }
        let text = chunk.payload.bytes(6, length)
        try checkString(text, "an error text")
        if chunk.type == ChunkNumber.errorOffset {
            let offset = chunk.payload.number(at: 6 + length, as: UInt64.self)
            guard offset >= request.offset, offset - request.offset < request.effectLength else {
                throw Breach("an error at \(offset), outside of the request")
            }
            failedOffset = offset
        }
        error = code
        message = String(decoding: text, as: UTF8.self)
    }

    /// Puts the content together; it has to cover the request exactly once, up to an error if there is one.
    private mutating func assemble() throws {
        var position = request.offset
        for chunk in chunks.filter(\.isContent).sorted(by: { $0.offset < $1.offset }) {
            guard chunk.offset == position else { throw Breach("content at \(chunk.offset) instead of \(position)") }
            position += UInt64(chunk.contentBytes)
            if chunk.type == ChunkNumber.offsetData {
                data += chunk.payload[8...]
            } else {
                data += [UInt8](repeating: 0, count: chunk.contentBytes)
            }
        }
        guard position == failedOffset ?? (error == 0 ? request.offset + request.length : request.offset) else {
            throw Breach("content up to \(position), not to the end of the request or to the error")
        }
        let contents = chunks.filter(\.isContent)
        if request.flags & CommandFlag.df != 0 {
            guard contents.count == 1 || error != 0 && contents.isEmpty else {
                throw Breach("\(contents.count) pieces of content in spite of DF")
            }
        }
    }
}
