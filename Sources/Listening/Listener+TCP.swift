// Sockets for all addresses of a host: getaddrinfo(3), ip(7), ipv6(7).

import Glibc

extension Listener {
    /// A host name may have several addresses, of both kinds: each gets a socket, all on the same port.
    ///
    /// - Parameter endpoint: the endpoint with a port.
    static func tcp(
        _ host: String, _ port: UInt16, _ endpoint: (UInt16) -> Endpoint
    ) throws(EndpointError) -> [Listener] {
        let addresses = try SocketAddress.all(of: host)
        // A port that the system chose for the first address may be somebody's at the second.
        var attempts = port == 0 && addresses.count > 1 ? 20 : 1
        while true {
            do {
                return try listen(on: addresses, port, endpoint)
            } catch {
                attempts -= 1
                guard attempts > 0 else { throw error }
            }
        }
    }

    private static func listen(
        on addresses: [SocketAddress], _ port: UInt16, _ endpoint: (UInt16) -> Endpoint
    ) throws(EndpointError) -> [Listener] {
        var listeners: [Listener] = []
        var actualPort = port
        var lacking: EndpointError?
        do throws(EndpointError) {
            for address in addresses {
                let descriptor: Int32
                switch address.bound(port: actualPort, isPatient: port != 0) {
                case .success(let bound): descriptor = bound
                case .failure(let failure):
                    let error = self.failure(endpoint(actualPort), failure.code, failure.descriptor)
                    guard failure.isLackOfFamily else { throw error }
                    lacking = error
                    continue
                }
                guard startListening(descriptor) == 0 else { throw failure(endpoint(actualPort), errno, descriptor) }
                actualPort = SocketAddress(of: descriptor)?.port ?? port
                listeners.append(Listener(descriptor: descriptor, endpoint: endpoint(actualPort)))
            }
        } catch {
            for listener in listeners { listener.close() }
            throw error
        }
        if listeners.isEmpty, let lacking { throw lacking }
        return listeners
    }
}

/// Why no socket has an address.
private struct BindFailure: Error {
    let code: Int32
    /// -1: there is not even a socket.
    let descriptor: Int32
    let family: Int32

    /// localhost is ::1, too, where there is no IPv6; the other addresses will do.
    var isLackOfFamily: Bool {
        code == EAFNOSUPPORT || (code == EADDRNOTAVAIL && family == AF_INET6)
    }
}

extension SocketAddress {
    /// A socket that has the address, with another port.
    fileprivate func bound(port: UInt16, isPatient: Bool) -> Result<Int32, BindFailure> {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return .failure(BindFailure(code: errno, descriptor: -1, family: family)) }
        SocketOption.set(descriptor, SOL_SOCKET, SO_REUSEADDR, to: 1)
        // A host name with addresses of both kinds gets a socket for each.
        if family == AF_INET6 { SocketOption.set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, to: 1) }
        var address = self
        address.port = port
        let code = isPatient ? Listener.patiently { address.bind(descriptor) } : address.bind(descriptor)
        guard code == 0 else { return .failure(BindFailure(code: code, descriptor: descriptor, family: family)) }
        return .success(descriptor)
    }
}
