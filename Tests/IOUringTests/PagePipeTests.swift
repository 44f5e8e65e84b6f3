// Pages of a file that go into a socket through a pipe: splice(2).

import Glibc
import Testing

@testable import IOUring

@Suite struct PagePipeTests {
    private func receive(_ socket: Int32, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let more = bytes.withUnsafeMutableBytes { recv(socket, $0.baseAddress! + filled, count - filled, 0) }
            guard more > 0 else { break }
            filled += more
        }
        return Array(bytes[..<filled])
    }

    /// Bytes of memory and of a file, at no boundary of pages, arrive in their order.
    @Test func bytesAndPagesArriveInTheirOrder() throws {
        let content = pattern(100_000)
        let file = try NamelessFile(content)
        let sockets = try SocketPair()
        var pipe = try PagePipe()
        let head = HeapBytes(pattern(16))
        for offset in [0, 1, 4095, 60_001] {
            #expect(pipe.add(head.range) == .complete)
            #expect(pipe.add(file.descriptor, offset: UInt64(offset), count: 30_000) == .complete)
            #expect(pipe.byteCount == 30_016)
            let (sent, end) = pipe.send(to: sockets.one)
            #expect(sent == 30_016 && end == .done && pipe.byteCount == 0)
            #expect(receive(sockets.other, 30_016) == pattern(16) + content[offset..<offset + 30_000])
        }
    }

    /// Behind the end there is nothing, and a file that cannot be read has nothing either.
    @Test func whatIsNotThereIsNotAdded() throws {
        let file = try NamelessFile(pattern(5000))
        var pipe = try PagePipe()
        #expect(pipe.add(file.descriptor, offset: 4000, count: 4096) == .missing)
        #expect(pipe.byteCount == 1000)
        #expect(pipe.add(file.descriptor, offset: 5000, count: 4096) == .missing)
        #expect(pipe.add(file.descriptor, offset: UInt64.max, count: 4096) == .missing)
        #expect(pipe.add(-1, offset: 0, count: 4096) == .missing)
        #expect(pipe.byteCount == 1000)
    }

    /// A pipe has an end; what was added up to there can be sent.
    @Test func aFullPipeTakesNoMore() throws {
        let content = pattern(4 << 20)
        let file = try NamelessFile(content)
        var pipe = try PagePipe()
        #expect(pipe.add(file.descriptor, offset: 0, count: content.count) == .full)
        let added = pipe.byteCount
        #expect(added >= 65_536 && added < content.count && added % 4096 == 0)
        #expect(pipe.add(file.descriptor, offset: 0, count: 4096) == .full)
        let byte = HeapBytes([1])
        #expect(pipe.add(byte.range) == .full)
        #expect(byte.range.count == 1)
        #expect(pipe.byteCount == added)
    }

    /// Of what a socket has no room for nothing is left behind, so that the next one who uses the pipe gets his own.
    @Test func whatASocketDoesNotTakeIsForgotten() throws {
        let content = pattern(1 << 20)
        let file = try NamelessFile(content)
        let sockets = try SocketPair()
        var pipe = try PagePipe()
        var sent = 0
        while true {
            #expect(pipe.add(file.descriptor, offset: UInt64(sent % 65_536), count: 65_536) == .complete)
            let (count, end) = pipe.send(to: sockets.one)
            #expect(pipe.byteCount == 0)
            sent += count
            if end == .full { break }
            #expect(end == .done && count == 65_536)
        }
        let others = try SocketPair()
        #expect(pipe.add(file.descriptor, offset: 7, count: 5000) == .complete)
        #expect(pipe.send(to: others.one) == (5000, .done))
        #expect(receive(others.other, 5000) == Array(content[7..<5007]))
        // What was taken is there, and the socket has room again when it was read.
        #expect(receive(sockets.other, sent).count == sent)
        #expect(pipe.add(file.descriptor, offset: 0, count: 4096) == .complete)
        #expect(pipe.send(to: sockets.one) == (4096, .done))
    }

    /// A peer that is gone, and what is no socket at all.
    @Test func aSocketThatIsOfNoUse() throws {
        // splice(2) has no MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        let file = try NamelessFile(pattern(8192))
        let sockets = try SocketPair()
        sockets.shutOther()
        var pipe = try PagePipe()
        #expect(pipe.add(file.descriptor, offset: 0, count: 8192) == .complete)
        #expect(pipe.send(to: sockets.one) == (0, .lost(EPIPE)))
        #expect(pipe.add(file.descriptor, offset: 0, count: 8192) == .complete)
        #expect(pipe.send(to: -1) == (0, .lost(EBADF)))
        #expect(pipe.byteCount == 0)
        // An eventfd cannot take pages, as some sockets cannot: EINVAL.
        let counter = try EventCounter()
        defer { counter.close() }
        #expect(pipe.add(file.descriptor, offset: 0, count: 8192) == .complete)
        #expect(pipe.send(to: counter.descriptor) == (0, .unable))
        #expect(pipe.byteCount == 0)
    }

    /// The ring says when there is room, and when there never will be.
    @Test(arguments: RingKind.allCases) func roomIsWaitedFor(kind: RingKind) throws {
        let file = try NamelessFile(pattern(65_536))
        let sockets = try SocketPair()
        var pipe = try PagePipe()
        var ring = try kind.ring(entries: 8, completions: 16)
        var sent = 0
        while true {
            #expect(pipe.add(file.descriptor, offset: 0, count: 65_536) == .complete)
            let (count, end) = pipe.send(to: sockets.one)
            sent += count
            if end == .full { break }
        }
        ring.awaitRoom(sockets.one, userData: 5)
        try ring.submitAndWait(0)
        #expect(ring.completionsReady == 0)
        #expect(receive(sockets.other, sent).count == sent)
        let completion = try ring.next()
        #expect(completion.userData == 5 && completion.result & Int32(POLLOUT) != 0)
        while true {
            #expect(pipe.add(file.descriptor, offset: 0, count: 65_536) == .complete)
            if pipe.send(to: sockets.one).end == .full { break }
        }
        ring.awaitRoom(sockets.one, userData: 6)
        try ring.submitAndWait(0)
        #expect(ring.completionsReady == 0)
        sockets.shutOther()
        #expect(try ring.next().userData == 6)
    }

    /// What a socket has received goes through the pipe into a file, from any place in a page to any other.
    @Test func whatASocketReceivesGoesIntoAFile() throws {
        let sockets = try SocketPair()
        let file = try NamelessFile([UInt8](repeating: 0, count: 200_000))
        var pipe = try PagePipe(byteCount: 1 << 19)
        let content = pattern(100_000)
        sockets.sendFromOther(content)
        #expect(LinuxFile.receivedBytes(sockets.one) == content.count)
        #expect(pipe.add(socket: sockets.one, count: 28) == 28)
        let head = HeapBytes(count: 28)
        pipe.empty(into: head.range)
        let taken = head.range.withBytes { bytes in
            (0..<28).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        }
        #expect(taken == Array(content[..<28]) && pipe.byteCount == 0)
        var added = 28
        while added < content.count { added += pipe.add(socket: sockets.one, count: content.count - added) }
        #expect(LinuxFile.receivedBytes(sockets.one) == 0)
        var written = 28
        while written < content.count {
            let count = pipe.write(to: file.descriptor, offset: UInt64(4096 + written), count: content.count - written)
            try #require(count > 0)
            written += count
        }
        var found = [UInt8](repeating: 1, count: content.count)
        #expect(pread(file.descriptor, &found, found.count, 4096) == found.count)
        #expect(found == [UInt8](repeating: 0, count: 28) + content[28...])
        #expect(pipe.byteCount == 0)
    }

    /// A file that cannot be written leaves the pipe as it is, and what nobody wants is forgotten.
    @Test func aFileThatCannotBeWritten() throws {
        let sockets = try SocketPair()
        sockets.sendFromOther(pattern(5000))
        var pipe = try PagePipe()
        #expect(pipe.add(socket: sockets.one, count: 5000) == 5000)
        let readable = open("/proc/self/exe", O_RDONLY)
        defer { close(readable) }
        #expect(pipe.write(to: readable, offset: 0, count: 5000) == -Int(EBADF))
        #expect(pipe.byteCount == 5000)
        pipe.empty()
        #expect(pipe.byteCount == 0)
    }
}
