// Answers HTTP requests on threads of its own, apart from the loops that serve drives.
//
// As many clients are heard at a time as there are threads; the others wait to be accepted. Each has one request, and a
// limited time for it, so a client that is slow, or mute, or hostile keeps one thread for a while and nothing else.

import Glibc
import Server
import Synchronization

/// A server for one kind of requests.
final class HTTPService: Sendable {
    /// A request that is not complete by then is refused.
    static let requestSeconds = 10
    /// A client that has not taken its response by then is left.
    static let responseSeconds = 10
    /// How long, and how much, a client is heard out that was refused before it had said everything.
    private static let lingerSeconds = 2
    private static let lingerBytes = 1 << 20

    private let listeners: [Listener]
    private let isStopping = Atomic(false)

    init(listeners: [Listener]) {
        self.listeners = listeners
    }

    /// Begins to answer.
    ///
    /// - Parameters:
    ///   - threads: how many clients each listener hears at a time.
    ///   - answer: what a request is answered; called by all of these threads.
    /// - Returns: false when there can be no threads.
    func start(threads: Int, answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse) -> Bool {
        for listener in listeners {
            for number in 0..<threads {
                let isStarted = startDetachedThread { self.serve(listener.descriptor, answer) }
                // One is enough to go on with.
                guard isStarted || number > 0 else { return false }
            }
        }
        return true
    }

    /// Stops listening, which is for the end of the program: the descriptors stay. Who is being answered may not hear the end
    /// of it.
    func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        for listener in listeners { listener.refuse() }
    }

    private func serve(_ listener: Int32, _ answer: (HTTPRequest) -> HTTPResponse) {
        while let descriptor = accept(listener) {
            respond(on: TimedSocket(descriptor: descriptor), answer)
            close(descriptor)
        }
    }

    /// The next client; nil when there will be no more.
    private func accept(_ listener: Int32) -> Int32? {
        while !isStopping.load(ordering: .sequentiallyConsistent) {
            let descriptor = Glibc.accept(listener, nil, nil)
            if descriptor >= 0 {
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                return descriptor
            }
            // A client that is gone again, or no descriptor, or no memory; of these there may be some later.
            usleep(10_000)
        }
        return nil
    }

    private func respond(on socket: TimedSocket, _ answer: (HTTPRequest) -> HTTPResponse) {
        guard let outcome = readRequest(from: socket) else { return }
        switch outcome {
        case .success(let request):
            let response = answer(request)
            socket.send(
                response.encoded(isHead: request.method == "HEAD"), before: Deadline(seconds: Self.responseSeconds))
        case .failure(let failure):
            socket.send(HTTPResponse(failure).encoded(), before: Deadline(seconds: Self.responseSeconds))
            linger(socket)
        }
    }

    /// The request, or why there is none; nil if the client has gone.
    private func readRequest(from socket: TimedSocket) -> Result<HTTPRequest, HTTPFailure>? {
        let deadline = Deadline(seconds: Self.requestSeconds)
        var reader = HTTPRequestReader()
        while true {
            switch socket.receive(before: deadline) {
            case .end: return nil
            case .timeout:
                let message = "the request was not complete after \(Self.requestSeconds) seconds"
                return .failure(HTTPFailure(.requestTimeout, message))
            case .bytes(let bytes):
                switch reader.advance(bytes) {
                case .needMoreBytes: break
                case .sendContinue: socket.send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8), before: deadline)
                case .request(let request): return .success(request)
                case .refuse(let failure): return .failure(failure)
                }
            }
        }
    }

    /// A socket that is closed with something unread is reset, and what was sent last may be lost with it.
    private func linger(_ socket: TimedSocket) {
        shutdown(socket.descriptor, Int32(SHUT_WR))
        let deadline = Deadline(seconds: Self.lingerSeconds)
        var count = 0
        while count < Self.lingerBytes, case .bytes(let bytes) = socket.receive(before: deadline) {
            count += bytes.count
        }
    }
}
