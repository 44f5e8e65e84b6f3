// Sockets on a ring: multishot accept and receive, buffer groups that run empty, gathered sends, cancelling.

import Foundation
import Glibc
import Synchronization
import Testing

@testable import IOUring

@Suite struct SocketTests {
    /// Receives into a group of `count` buffers of 16 bytes each.
    private func group(_ ring: borrowing Ring, count: UInt16 = 4) throws -> BufferGroup {
        try BufferGroup(ring: ring, group: 3, count: count, byteCount: 16)
    }

    private func bytes(_ completion: Completion, _ group: borrowing BufferGroup) throws -> [UInt8] {
        let index = try #require(completion.buffer)
        return Array(UnsafeRawBufferPointer(start: group.bytes(of: index).start, count: Int(completion.result)))
    }

    @Test(arguments: RingKind.allCases) func aReceiveGoesOnUntilTheGroupIsEmpty(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 64)
        var group = try group(ring)
        let pair = try SocketPair()
        let sent = pattern(200)
        pair.sendFromOther(sent)
        var received: [UInt8] = []
        while received.count < sent.count {
            ring.receiveMultishot(pair.one, group: 3, userData: 9)
            var held: [UInt16] = []
            while true {
                let completion = try ring.next()
                #expect(completion.userData == 9)
                guard completion.result > 0 else {
                    // Back-pressure: nothing is lost, the rest stays in the socket.
                    #expect(completion.result == -ENOBUFS && !completion.hasMore && held.count == 4)
                    break
                }
                received += try bytes(completion, group)
                held.append(try #require(completion.buffer))
                guard completion.hasMore && received.count < sent.count else { break }
            }
            #expect(Set(held).count == held.count, "a buffer was handed out twice")
            for index in held { group.recycle(index) }
        }
        #expect(received == sent)
    }

    @Test(arguments: RingKind.allCases) func theEndOfTheStreamEndsTheReceive(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 64)
        let group = try group(ring)
        let pair = try SocketPair()
        ring.receiveMultishot(pair.one, group: 3, userData: 9)
        try ring.submitAndWait(0)
        pair.sendFromOther([1, 2, 3])
        let data = try ring.next()
        #expect(data.hasMore)
        #expect(try bytes(data, group) == [1, 2, 3])
        pair.shutOther()
        let end = try ring.next()
        #expect(end.result == 0 && !end.hasMore && end.buffer == nil)
    }

    @Test(arguments: RingKind.allCases) func cancellingEndsTheReceive(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 64)
        _ = try group(ring)
        let pair = try SocketPair()
        ring.receiveMultishot(pair.one, group: 3, userData: 9)
        try ring.submitAndWait(0)
        ring.cancelAll(onDescriptor: pair.one, userData: 10)
        let found = try ring.next(2).sorted { $0.userData < $1.userData }
        #expect(found[0] == Completion(userData: 9, result: -ECANCELED, flags: 0))
        // The number of what was cancelled.
        #expect(found[1] == Completion(userData: 10, result: 1, flags: 0))
        ring.cancelAll(onDescriptor: pair.one, userData: 11)
        let nothing = try ring.next()
        #expect(nothing.userData == 11 && (nothing.result == 0 || nothing.result == -ENOENT))
    }

    @Test(arguments: RingKind.allCases) func aGroupIsThereOnce(kind: RingKind) throws {
        let ring = try kind.ring(entries: 8, completions: 64)
        let first = try group(ring)
        #expect(first.group == 3 && first.count == 4 && first.byteCount == 16)
        #expect(throws: RingError.registration(errno: EEXIST)) { _ = try group(ring) }
    }

    @Test(arguments: RingKind.allCases) func acceptingGoesOnUntilCancelled(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 64)
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        func withAddress(_ body: (UnsafeMutablePointer<sockaddr>) -> Int32) -> Int32 {
            withUnsafeMutablePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) } }
        }
        try #require(withAddress { bind(listener, $0, length) } == 0)
        try #require(listen(listener, 8) == 0)
        try #require(withAddress { getsockname(listener, $0, &length) } == 0)

        ring.acceptMultishot(listener, userData: 4)
        for _ in 0..<3 {
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(client) }
            try #require(withAddress { connect(client, $0, length) } == 0)
            let accepted = try ring.next()
            #expect(accepted.userData == 4 && accepted.hasMore)
            try #require(accepted.result >= 0)
            #expect(fcntl(accepted.result, F_GETFD) == FD_CLOEXEC)
            #expect(send(accepted.result, "x", 1, 0) == 1)
            var byte: UInt8 = 0
            #expect(recv(client, &byte, 1, 0) == 1 && byte == UInt8(ascii: "x"))
            close(accepted.result)
        }
        ring.cancelAll(onDescriptor: listener, userData: 5)
        let ends = try ring.next(2).sorted { $0.userData < $1.userData }
        #expect(ends[0] == Completion(userData: 4, result: -ECANCELED, flags: 0))
    }

    /// What one send gathers: 256 parts, many times what a socket holds, to a reader that takes its time.
    @Test func aGatheredSend() throws {
        var ring = try Ring(entries: 8, completions: 64)
        let pair = try SocketPair()
        let bytes = pattern(4 << 20)
        let reader = pair.other
        let count = bytes.count
        let received = Background { () -> [UInt8] in
            var received = [UInt8](repeating: 0, count: count)
            var filled = 0
            while filled < count {
                let result = received.withUnsafeMutableBytes {
                    recv(reader, $0.baseAddress! + filled, min(50_000, count - filled), 0)
                }
                guard result > 0 else { break }
                filled += result
            }
            return received
        }
        try bytes.withUnsafeBytes { source in
            let part = source.count / 256
            let base = UnsafeMutableRawPointer(mutating: source.baseAddress!)
            var vectors = (0..<256).map { iovec(iov_base: base + $0 * part, iov_len: part) }
            try vectors.withUnsafeMutableBufferPointer { vectors in
                var first = 0
                var sent = 0
                while sent < source.count {
                    ring.send(pair.one, vectors.baseAddress! + first, count: 256 - first, userData: 1)
                    let result = try ring.next().result
                    #expect(result > 0)
                    sent += Int(result)
                    guard result > 0 else { return }
                    first = sent / part
                    guard first < 256 else { break }
                    let rest = sent % part
                    vectors[first] = iovec(iov_base: base + first * part + rest, iov_len: part - rest)
                }
            }
        }
        #expect(try received.value() == bytes)
    }

    @Test(arguments: RingKind.allCases) func sendingToNobodyIsAnError(kind: RingKind) throws {
        signal(SIGPIPE, SIG_IGN)
        var ring = try kind.ring(entries: 8, completions: 64)
        let pair = try SocketPair()
        pair.shutOther()
        var byte: UInt8 = 1
        try withUnsafeMutableBytes(of: &byte) {
            var vector = iovec(iov_base: $0.baseAddress, iov_len: 1)
            try withUnsafeMutablePointer(to: &vector) {
                ring.send(pair.one, $0, count: 1, userData: 1)
                let refused = try ring.next()
                #expect(refused.result == -EPIPE)
            }
        }
    }
}

@Suite struct MessageTests {
    /// Two rings on two threads, a message each way a hundred times: the user data and the value arrive.
    @Test func messagesBetweenThreads() throws {
        var ring = try Ring(entries: 8, completions: 64)
        let home = ring.fileDescriptor
        let pair = try SocketPair()
        let toOther = pair.one
        let fromHere = pair.other
        let other = Background { () -> Int in
            // A ring belongs to the thread that made it.
            guard var ring = try? Ring(entries: 8, completions: 64) else { return -1 }
            var descriptor = ring.fileDescriptor
            send(fromHere, &descriptor, 4, 0)
            var answered = 0
            while answered < 100 {
                guard let question = try? ring.next() else { return answered }
                guard question.userData == 77, question.result == Int32(answered) else { return answered }
                ring.message(to: home, value: -question.result, remoteUserData: 88, userData: 1)
                guard let confirmed = try? ring.next(), confirmed.userData == 1, confirmed.result == 0 else {
                    return answered
                }
                answered += 1
            }
            return answered
        }
        var remote: Int32 = -1
        try #require(recv(toOther, &remote, 4, 0) == 4)
        for number in 0..<100 {
            ring.message(to: remote, value: Int32(number), remoteUserData: 77, userData: 2)
            let found = try ring.next(2).sorted { $0.userData < $1.userData }
            try #require(found[0] == Completion(userData: 2, result: 0, flags: 0))
            try #require(found[1] == Completion(userData: 88, result: Int32(-number), flags: 0))
        }
        #expect(try other.value() == 100)
    }

    /// A message for a ring that is not there is an error for its sender.
    @Test(arguments: RingKind.allCases) func aMessageToNobody(kind: RingKind) throws {
        var ring = try kind.ring(entries: 8, completions: 64)
        ring.message(to: -1, value: 1, remoteUserData: 2, userData: 3)
        #expect(try ring.next() == Completion(userData: 3, result: -EBADF, flags: 0))
    }
}

/// A thread of its own that computes something.
final class Background<Value: Sendable>: Sendable {
    private let result = Mutex<Value?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Value) {
        Thread.detachNewThread {
            let value = body()
            self.result.withLock { $0 = value }
            self.isDone.signal()
        }
    }

    /// Waits for it; once.
    func value() throws -> Value {
        guard isDone.wait(timeout: .now() + 20) == .success else { throw Late(description: "the other thread hangs") }
        return try #require(result.withLock { $0 })
    }
}
