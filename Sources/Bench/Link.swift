// A connection to a server: a socket, with or without TLS.

import Glibc
import TLS

/// The client's end. Sending never waits, receiving does when it is told to.
@safe
struct Link: ~Copyable {
    /// A receive that waits gives up after this time, so that the caller can look around.
    static let patienceSeconds = 1
    private static let ciphertextBytes = 256 << 10

    let descriptor: Int32
    /// Nil in the clear. Behind a pointer, because only so the parts of a session can be reached in an optional one.
    private var session: UnsafeMutablePointer<TLSSession>?
    /// With TLS: what was received and is not decrypted yet.
    private let ciphertext: UnsafeMutableRawPointer
    private var ciphertextHead = 0
    private var ciphertextTail = 0

    /// Connects.
    init(_ place: ServerAddress.Place) throws(BenchError) {
        let descriptor = try connectedSocket(place)
        self.descriptor = descriptor
        unsafe session = nil
        unsafe ciphertext = UnsafeMutableRawPointer.allocate(byteCount: Self.ciphertextBytes, alignment: 64)
        // The system's default for Unix sockets holds less than a large request.
        Self.set(SO_SNDBUF, 4 << 20, of: descriptor)
        Self.set(SO_RCVBUF, 4 << 20, of: descriptor)
        Self.set(SO_RCVTIMEO, timeval(tv_sec: Self.patienceSeconds, tv_usec: 0), of: descriptor)
    }

    deinit {
        close(descriptor)
        unsafe ciphertext.deallocate()
        unsafe session?.deinitialize(count: 1)
        unsafe session?.deallocate()
    }

    private static func set<Value: BitwiseCopyable>(_ option: Int32, _ value: Value, of descriptor: Int32) {
        var value = value
        // A size that the system does not allow is as good as its largest.
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<Value>.size))
    }

    /// Encrypts from now on. The caller has read all that the server had to say in the clear.
    mutating func startTLS(_ credentials: TLSClientCredentials) throws(BenchError) {
        var session = TLSSession(credentials)
        while true {
            let received = unsafe RawSpan(
                _unsafeStart: ciphertext + ciphertextHead, byteCount: ciphertextTail - ciphertextHead)
            let (consumed, step) = session.handshake(received)
            ciphertextHead += consumed
            try Self.sendAll(&session, descriptor)
            switch step {
            case .done:
                let place = UnsafeMutablePointer<TLSSession>.allocate(capacity: 1)
                unsafe place.initialize(to: session)
                unsafe self.session = unsafe place
                return
            case .failed(let failure):
                throw .tls(failure.asSeenByClient)
            case .needsMoreBytes:
                try receiveCiphertext(during: "the TLS handshake")
            }
        }
    }

    private static func sendAll(_ session: inout TLSSession, _ descriptor: Int32) throws(BenchError) {
        while unsafe !session.output.isEmpty {
            let count = unsafe Glibc.send(
                descriptor, session.output.baseAddress, session.output.count, Int32(MSG_NOSIGNAL))
            if count > 0 {
                session.removeOutput(count)
            } else if errno != EINTR {
                throw .socket(errno: errno)
            }
        }
    }

    private mutating func receiveCiphertext(during what: String) throws(BenchError) {
        for _ in 0..<10 where try fillCiphertext(waits: true, during: what) { return }
        throw .silent(seconds: 10 * Self.patienceSeconds)
    }
}

/// Sending.
extension Link {
    /// There is something that the socket has not taken.
    func hasUnsent(_ outbox: borrowing Outbox) -> Bool {
        if !outbox.isEmpty { return true }
        guard let session = unsafe session else { return false }
        return unsafe !session.pointee.output.isEmpty
    }

    /// Sends as much as the socket takes now.
    mutating func send(_ outbox: inout Outbox) throws(BenchError) {
        if let session = unsafe session {
            try unsafe sendRecords(&outbox, &session.pointee)
        } else {
            try sendVectors(&outbox)
        }
    }

    private mutating func sendVectors(_ outbox: inout Outbox) throws(BenchError) {
        while !outbox.isEmpty {
            let pending = unsafe outbox.pending
            var message = unsafe msghdr()
            unsafe message.msg_iov = pending.baseAddress
            unsafe message.msg_iovlen = pending.count
            let count = unsafe sendmsg(descriptor, &message, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            guard try Self.hasMoved(count) else { return }
            outbox.consume(count)
        }
    }

    private func sendRecords(_ outbox: inout Outbox, _ session: inout TLSSession) throws(BenchError) {
        while unsafe !outbox.isEmpty || !session.output.isEmpty {
            while !outbox.isEmpty {
                let first = unsafe outbox.pending[0]
                let taken = unsafe session.encrypt(RawSpan(_unsafeStart: first.iov_base, byteCount: first.iov_len))
                if let failure = session.failure { throw .tls(failure.asSeenByClient) }
                outbox.consume(taken)
                if unsafe taken < first.iov_len { break }
            }
            if outbox.isEmpty { session.endRecord() }
            let output = unsafe session.output
            let count = unsafe Glibc.send(
                descriptor, output.baseAddress, output.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            guard try Self.hasMoved(count) else { return }
            session.removeOutput(count)
        }
    }

    /// Sends everything, waiting for the socket where it is full.
    mutating func sendAll(_ outbox: inout Outbox) throws(BenchError) {
        while true {
            try send(&outbox)
            guard hasUnsent(outbox) else { return }
            var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = unsafe poll(&wanted, 1, Int32(Self.patienceSeconds * 1000))
        }
    }

    /// Whether a call has moved bytes; else it has to be repeated later.
    private static func hasMoved(_ count: Int) throws(BenchError) -> Bool {
        if count > 0 { return true }
        switch errno {
        case EAGAIN, EINTR: return false
        case EPIPE, ECONNRESET: throw .closed(during: "transmission")
        default: throw .socket(errno: errno)
        }
    }

    /// Sends bytes of the handshake, which any socket takes at once or after some waiting.
    mutating func send(_ bytes: [UInt8]) throws(BenchError) {
        var sent = 0
        while sent < bytes.count {
            let count: Int
            if let session = unsafe session {
                count = unsafe session.pointee.encrypt(bytes.span.bytes)
                unsafe session.pointee.endRecord()
                try unsafe Self.sendAll(&session.pointee, descriptor)
            } else {
                count = unsafe bytes.withUnsafeBytes {
                    unsafe Glibc.send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
                }
            }
            guard count > 0 || errno == EINTR else { throw .closed(during: "the handshake") }
            sent += max(0, count)
        }
    }
}

/// Receiving.
extension Link {
    /// Receives what there is.
    ///
    /// - Parameter waits: until there is something, or for ``patienceSeconds``.
    /// - Returns: how many bytes; 0 when there are none yet.
    mutating func receive(into buffer: UnsafeMutableRawBufferPointer, waits: Bool) throws(BenchError) -> Int {
        guard let session = unsafe session else {
            let count = unsafe recv(descriptor, buffer.baseAddress, buffer.count, waits ? 0 : Int32(MSG_DONTWAIT))
            return try Self.received(count, during: "transmission") ? count : 0
        }
        while true {
            let (consumed, count) = try unsafe decrypt(into: buffer, &session.pointee)
            // A record of the handshake has no plaintext for us, but there may be one behind it.
            if count > 0 { return count }
            if consumed > 0, ciphertextHead < ciphertextTail { continue }
            guard try fillCiphertext(waits: waits, during: "transmission") else { return 0 }
        }
    }

    private mutating func decrypt(
        into buffer: UnsafeMutableRawBufferPointer, _ session: inout TLSSession
    ) throws(BenchError) -> (consumed: Int, count: Int) {
        let received = unsafe RawSpan(
            _unsafeStart: ciphertext + ciphertextHead, byteCount: ciphertextTail - ciphertextHead)
        var plaintext = unsafe MutableRawSpan(_unsafeBytes: buffer)
        let result = session.decrypt(received, into: &plaintext)
        ciphertextHead += result.consumed
        if result.count == 0 {
            switch result.state {
            case .open: break
            case .closedByClient: throw .closed(during: "transmission")
            case .failed(let failure): throw .tls(failure.asSeenByClient)
            }
        }
        return (result.consumed, result.count)
    }

    /// Receives more ciphertext behind what is left of the last.
    private mutating func fillCiphertext(waits: Bool, during what: String) throws(BenchError) -> Bool {
        if ciphertextHead == ciphertextTail {
            ciphertextHead = 0
            ciphertextTail = 0
        } else if ciphertextHead > 0 {
            let left = ciphertextTail - ciphertextHead
            unsafe ciphertext.copyMemory(from: ciphertext + ciphertextHead, byteCount: left)
            ciphertextHead = 0
            ciphertextTail = left
        }
        let count = unsafe recv(
            descriptor, ciphertext + ciphertextTail, Self.ciphertextBytes - ciphertextTail,
            waits ? 0 : Int32(MSG_DONTWAIT))
        guard try Self.received(count, during: what) else { return false }
        ciphertextTail += count
        return true
    }

    private static func received(_ count: Int, during what: String) throws(BenchError) -> Bool {
        if count > 0 { return true }
        if count == 0 { throw .closed(during: what) }
        switch errno {
        case EAGAIN, EINTR: return false
        case ECONNRESET: throw .closed(during: what)
        default: throw .socket(errno: errno)
        }
    }

    /// Receives exactly so many bytes of the handshake.
    mutating func receive(_ count: Int) throws(BenchError) -> [UInt8] {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        defer { unsafe bytes.deallocate() }
        var filled = 0
        var waits = 0
        while filled < count {
            let more = unsafe try receive(into: .init(rebasing: bytes[filled...]), waits: true)
            waits += more == 0 ? 1 : 0
            guard waits < 10 else { throw .silent(seconds: 10 * Self.patienceSeconds) }
            filled += more
        }
        return unsafe Array(bytes)
    }
}

/// A socket that is connected to the server; of several addresses, the first that answers.
private func connectedSocket(_ place: ServerAddress.Place) throws(BenchError) -> Int32 {
    switch place {
    case .unix(let path):
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .cannotConnect(path, reason: "a socket's path has at most 107 bytes")
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        return try unsafe withUnsafePointer(to: &address) { pointer throws(BenchError) in
            try unsafe connectedSocket(
                AF_UNIX, UnsafeRawPointer(pointer), socklen_t(MemoryLayout<sockaddr_un>.size), place)
        }
    case .tcp(let host, let port):
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(host, String(port), &hints, &list)
        guard result == 0 else {
            throw .cannotConnect("\(place)", reason: unsafe String(cString: gai_strerror(result)))
        }
        defer { unsafe freeaddrinfo(list) }
        var failure = BenchError.cannotConnect("\(place)", reason: "it has no address")
        var next = unsafe list
        while let info = unsafe next {
            do throws(BenchError) {
                let address = unsafe info.pointee
                let descriptor = try unsafe connectedSocket(
                    address.ai_family, UnsafeRawPointer(address.ai_addr), address.ai_addrlen, place)
                // Requests are put together before they are sent; nothing is gained by waiting for more.
                var one: Int32 = 1
                _ = unsafe setsockopt(
                    descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
                return descriptor
            } catch {
                failure = error
            }
            unsafe next = info.pointee.ai_next
        }
        throw failure
    }
}

private func connectedSocket(
    _ family: Int32, _ address: UnsafeRawPointer?, _ length: socklen_t, _ place: ServerAddress.Place
) throws(BenchError) -> Int32 {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw .cannotConnect("\(place)", reason: systemText(errno)) }
    let address = unsafe address?.assumingMemoryBound(to: sockaddr.self)
    guard unsafe connect(descriptor, address, length) == 0 else {
        let reason = systemText(errno)
        close(descriptor)
        throw .cannotConnect("\(place)", reason: reason)
    }
    return descriptor
}
