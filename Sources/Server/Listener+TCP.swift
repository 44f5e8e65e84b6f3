// Sockets for all addresses of a host: getaddrinfo(3), ip(7), ipv6(7).

import Glibc

extension Listener {
    /// A host name may have several addresses, of both kinds: each gets a socket, all on the same port.
    static func tcp(_ host: String, _ port: UInt16) throws(EndpointError) -> [Listener] {
        let addresses = try ResolvedAddress.all(of: host)
        // A port that the system chose for the first address may be somebody's at the second.
        var attempts = port == 0 && addresses.count > 1 ? 20 : 1
        while true {
            do {
                return try listen(on: addresses, host, port)
            } catch {
                attempts -= 1
                guard attempts > 0 else { throw error }
            }
        }
    }

    private static func listen(
        on addresses: [ResolvedAddress], _ host: String, _ port: UInt16
    ) throws(EndpointError) -> [Listener] {
        var listeners: [Listener] = []
        var actualPort = port
        var lacking: EndpointError?
        do throws(EndpointError) {
            for address in addresses {
                let endpoint = Endpoint.tcp(host: host, port: actualPort)
                let descriptor: Int32
                switch address.with(port: actualPort).bound(isPatient: port != 0) {
                case .success(let bound): descriptor = bound
                case .failure(let failure):
                    let error = self.failure(endpoint, failure.code, failure.descriptor)
                    guard failure.isLackOfFamily else { throw error }
                    lacking = error
                    continue
                }
                guard startListening(descriptor) == 0 else { throw failure(endpoint, errno, descriptor) }
                actualPort = LocalAddress(descriptor).port ?? port
                listeners.append(Listener(descriptor: descriptor, endpoint: .tcp(host: host, port: actualPort)))
            }
        } catch {
            for listener in listeners { listener.close() }
            throw error
        }
        if listeners.isEmpty, let lacking { throw lacking }
        return listeners
    }
}

/// One of a host's addresses.
private struct ResolvedAddress {
    private var storage = sockaddr_storage()
    private let length: socklen_t

    /// Where binding to it failed.
    struct Failure: Error {
        let code: Int32
        /// -1: there is not even a socket.
        let descriptor: Int32
        let family: Int32

        /// localhost is ::1, too, where there is no IPv6; the other addresses will do.
        var isLackOfFamily: Bool {
            code == EAFNOSUPPORT || (code == EADDRNOTAVAIL && family == AF_INET6)
        }
    }

    private init(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) {
        self.length = length
        unsafe withUnsafeMutableBytes(of: &storage) {
            unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(length)))
        }
    }

    /// Each once, however often the resolver has it.
    static func all(of host: String) throws(EndpointError) -> [ResolvedAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_PASSIVE
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>? = nil
        let code = unsafe getaddrinfo(host, nil, &hints, &found)
        guard code == 0 else { throw .unknownHost(host, reason: unsafe String(cString: gai_strerror(code))) }
        defer { unsafe freeaddrinfo(found) }
        var addresses: [ResolvedAddress] = []
        var next = unsafe found
        while let entry = unsafe next {
            let address = unsafe ResolvedAddress(entry.pointee.ai_addr, entry.pointee.ai_addrlen)
            if !addresses.contains(where: { $0.bytes == address.bytes }) { addresses.append(address) }
            unsafe next = entry.pointee.ai_next
        }
        return addresses
    }

    private var bytes: [UInt8] {
        unsafe withUnsafeBytes(of: storage) { unsafe Array($0.prefix(Int(length))) }
    }

    /// The same address with another port, which sockaddr_in and sockaddr_in6 have at the same place: behind the family.
    func with(port: UInt16) -> ResolvedAddress {
        var address = self
        unsafe withUnsafeMutableBytes(of: &address.storage) {
            unsafe $0.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
        }
        return address
    }

    /// A socket that has the address.
    func bound(isPatient: Bool) -> Result<Int32, Failure> {
        let family = Int32(storage.ss_family)
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return .failure(Failure(code: errno, descriptor: -1, family: family)) }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR)
        // A host name with addresses of both kinds gets a socket for each.
        if family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
        let bindOnce = { () -> Int32 in
            unsafe withUnsafePointer(to: storage) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe bind(descriptor, $0, length) == 0 ? 0 : errno
                }
            }
        }
        let code = isPatient ? Listener.patiently(bindOnce) : bindOnce()
        guard code == 0 else { return .failure(Failure(code: code, descriptor: descriptor, family: family)) }
        return .success(descriptor)
    }
}
