// Replies: how a request ended, as the client has agreed to be told (NBD protocol, "Simple reply message", "Structured
// reply chunk message", "Structured reply types").

import Replies

/// How a request ended.
public enum Ending: Sendable {
    /// It was done; the data of a READ are in its buffer.
    case success
    /// A BLOCK_STATUS was done; so many ``BlockStatusDescriptor`` are in its buffer.
    case descriptors(Int)
    /// It failed, and why. All data of a READ before the byte `offsetBytes` are good, if that is known.
    case failure(NBDError, StaticString, offsetBytes: UInt64? = nil)
}

extension Session {
    /// Encodes the headers of a reply, and says where its data are. (Mutating as all that is said to a client, though
    /// NBD has nothing to count.)
    ///
    /// - Parameters:
    ///   - data: those of a READ, as many as it asked for; else nothing.
    ///   - dataOffset: where they, or the descriptors of a BLOCK_STATUS, begin in the request's buffer.
    ///   - isOpaque: only the kernel may look at them, so zeroes are not looked for.
    public mutating func encode(
        _ ending: Ending, of request: Request, data: RawSpan, at dataOffset: Int, isOpaque: Bool,
        into headers: inout MutableRawSpan, _ layout: inout ReplyLayout
    ) {
        layout.count = 0
        guard hasChunks else {
            encodeSimply(ending, of: request, at: dataOffset, into: &headers, &layout)
            return
        }
        let reply = ChunkedReply(
            cookie: request.cookie, requestOffsetBytes: request.offsetBytes, isExtended: request.isExtended)
        switch ending {
        case .success where request.command == .read:
            encodeChunks(reply, of: request, data, dataOffset, isOpaque, into: &headers, &layout)
        case .success:
            layout.append(ReplyPart(headerBytes: reply.encodeNone(into: &headers)))
        case .descriptors(let count):
            let headerBytes = reply.encodeBlockStatusHeader(
                .allocation, descriptorCount: UInt32(count), into: &headers)
            layout.append(
                ReplyPart(
                    headerBytes: headerBytes, dataOffset: dataOffset,
                    dataBytes: count * BlockStatusDescriptor.byteCount(isExtended: request.isExtended)))
        case .failure(let error, let message, let offsetBytes?):
            encodeChunks(
                reply, of: request, data, dataOffset, isOpaque, before: (error, message, offsetBytes), into: &headers,
                &layout)
        case .failure(let error, let message, nil):
            layout.append(ReplyPart(headerBytes: reply.encodeError(error, message: message, into: &headers)))
        }
    }

    /// The data of a READ leave as they are, in one piece behind one header: nobody looks for zeroes in them.
    public func sendsInOnePiece(_ request: Request) -> Bool {
        !hasChunks || request.flags.contains(.df)
    }

    private var hasChunks: Bool { parameters?.messages.hasChunks == true }

    private func encodeSimply(
        _ ending: Ending, of request: Request, at dataOffset: Int, into headers: inout MutableRawSpan,
        _ layout: inout ReplyLayout
    ) {
        var error: NBDError?
        if case .failure(let reason, _, _) = ending { error = reason }
        let headerBytes = SimpleReply.encode(error: error, cookie: request.cookie, into: &headers)
        let dataBytes = request.command == .read && error == nil ? Int(request.lengthBytes) : 0
        layout.append(ReplyPart(headerBytes: headerBytes, dataOffset: dataOffset, dataBytes: dataBytes))
    }

    /// The data of a READ in chunks of data and holes: all of them, or those before an error and then the error.
    private func encodeChunks(
        _ reply: ChunkedReply, of request: Request, _ data: RawSpan, _ dataOffset: Int, _ isOpaque: Bool,
        before failure: (error: NBDError, message: StaticString, offsetBytes: UInt64)? = nil,
        into headers: inout MutableRawSpan, _ layout: inout ReplyLayout
    ) {
        let length = Int(failure.map { $0.offsetBytes - request.offsetBytes } ?? request.lengthBytes)
        let reserved = failure.map { reply.errorOffsetByteCount(message: $0.message) } ?? 0
        let maximumParts = min(
            ReplyLayout.maximumParts - (failure == nil ? 0 : 1),
            (ReplyLayout.headerAreaBytes - reserved) / reply.offsetHoleByteCount)
        var runs = ZeroRuns(
            count: length, offsetBytes: request.offsetBytes, joinsAll: isOpaque || request.flags.contains(.df))
        var headersEnd = 0
        while let run = runs.next(in: data, isLastAllowed: layout.count == maximumParts - 1) {
            let offset = request.offsetBytes + UInt64(run.start)
            let isLast = failure == nil && run.start + run.count == length
            let headerBytes: Int
            if run.isHole {
                headerBytes = reply.encodeOffsetHole(
                    offsetBytes: offset, holeBytes: UInt32(run.count), isLast: isLast, into: &headers, at: headersEnd)
            } else {
                headerBytes = reply.encodeOffsetDataHeader(
                    offsetBytes: offset, dataBytes: UInt32(run.count), isLast: isLast, into: &headers, at: headersEnd)
            }
            headersEnd += headerBytes
            layout.append(
                ReplyPart(
                    headerBytes: headerBytes, dataOffset: dataOffset + run.start,
                    dataBytes: run.isHole ? 0 : run.count))
        }
        if let failure {
            let headerBytes = reply.encodeErrorOffset(
                failure.error, message: failure.message, offsetBytes: failure.offsetBytes, into: &headers,
                at: headersEnd)
            layout.append(ReplyPart(headerBytes: headerBytes))
        }
    }
}
