// The clients of an HTTP service: their requests as they come, and the answers as they are taken. poll(2), one thread.

import Glibc

/// One client, from its coming to its end: it has one request.
private struct HTTPClient {
    enum State {
        case asking(HTTPRequestReader)
        /// Its request is with another thread.
        case waiting
        /// So much of the answer is sent. A client that was refused in the middle of its request is heard out then.
        case taking([UInt8], sent: Int, isRefused: Bool)
        /// A socket that is closed with something unread is reset, and what was sent last may be lost with it.
        case ending(heard: Int)
    }

    let number: UInt64
    /// -1 once it is closed.
    var descriptor: Int32
    var state: State
    var deadline: Deadline

    /// The question to poll(2).
    var poll: pollfd {
        switch state {
        case .asking, .ending: pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        case .taking: pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // Nothing is done with it now, not even if it goes.
        case .waiting: pollfd(fd: -1, events: 0, revents: 0)
        }
    }

    var isWaiting: Bool {
        if case .waiting = state { true } else { false }
    }
}

/// All clients of a service. Those who have not said what they want cost memory and nothing else, and when there are
/// too many the oldest goes: so a new one always gets in.
struct HTTPDoor {
    /// A request that is not complete by then is refused.
    static let requestSeconds = 10
    /// A client that has not taken its answer by then is left.
    static let responseSeconds = 10
    /// How many clients there are at a time.
    static let capacity = 256
    /// How long, and how much, a client is heard out that was refused.
    private static let lingerSeconds = 2
    private static let lingerBytes = 1 << 20
    private static let chunkBytes = 4096
    private static let sendFlags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)

    private let listeners: [Int32]
    private let work: HTTPWork
    /// In the order of their coming.
    private var clients: [HTTPClient] = []
    private var lastNumber: UInt64 = 0

    init(_ listeners: [Int32], _ work: HTTPWork) {
        self.listeners = listeners
        self.work = work
        // A client that is gone again must not keep the thread in accept(2).
        for listener in listeners { _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) }
    }

    /// Waits for something to happen, and does what follows from it.
    mutating func turn() {
        let isFull = clients.count >= Self.capacity && clients.allSatisfy(\.isWaiting)
        var polls = clients.map(\.poll)
        polls.append(pollfd(fd: work.answersCame.descriptor, events: Int16(POLLIN), revents: 0))
        for listener in listeners {
            polls.append(pollfd(fd: isFull ? -1 : listener, events: Int16(POLLIN), revents: 0))
        }
        let wait = clients.filter { !$0.isWaiting }.map(\.deadline.remainingMilliseconds).min() ?? -1
        guard unsafe poll(&polls, nfds_t(polls.count), wait) >= 0 else { return }
        for number in clients.indices where polls[number].revents != 0 { advance(number) }
        if polls[clients.count].revents != 0 { passAnswers() }
        for number in clients.indices where clients[number].deadline.remainingMilliseconds == 0 { expire(number) }
        let first = clients.count + 1
        clients.removeAll { $0.descriptor < 0 }
        for (number, listener) in listeners.enumerated() where polls[first + number].revents != 0 { accept(listener) }
    }

    private mutating func accept(_ listener: Int32) {
        let descriptor = Glibc.accept(listener, nil, nil)
        guard descriptor >= 0 else {
            // No descriptor, or no memory; of these there may be some later.
            if errno != EAGAIN && errno != ECONNABORTED { usleep(10_000) }
            return
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        if clients.count >= Self.capacity, let oldest = clients.firstIndex(where: { !$0.isWaiting }) {
            close(clients[oldest].descriptor)
            clients.remove(at: oldest)
        }
        lastNumber += 1
        clients.append(
            HTTPClient(
                number: lastNumber, descriptor: descriptor, state: .asking(HTTPRequestReader()),
                deadline: Deadline(seconds: Self.requestSeconds)))
    }
}

/// The way of a client.
extension HTTPDoor {
    /// Its socket has something, or room, or is gone.
    private mutating func advance(_ number: Int) {
        switch clients[number].state {
        case .asking(var reader): hear(number, &reader)
        case .waiting: break
        case .taking: send(number)
        case .ending(let heard):
            guard let bytes = receive(number) else { return }
            clients[number].state = .ending(heard: heard + bytes.count)
            if heard + bytes.count >= Self.lingerBytes { end(number) }
        }
    }

    private mutating func hear(_ number: Int, _ reader: inout HTTPRequestReader) {
        guard let bytes = receive(number) else { return }
        let step = reader.advance(bytes)
        clients[number].state = .asking(reader)
        switch step {
        case .needMoreBytes: break
        case .sendContinue:
            // It is the first that is sent: there is room.
            let text = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
            _ = unsafe Glibc.send(clients[number].descriptor, text, text.count, Self.sendFlags)
        case .request(let request):
            clients[number].state = .waiting
            work.add(request, of: clients[number].number)
        case .refuse(let failure):
            answer(number, HTTPResponse(failure).encoded(), isRefused: true)
        }
    }

    /// The client's request; nil if there is nothing, or the client is gone, which ends it.
    private mutating func receive(_ number: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Self.chunkBytes)
        let count = unsafe recv(clients[number].descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        if count > 0 { return Array(bytes.prefix(count)) }
        if count == 0 || errno != EAGAIN && errno != EINTR { end(number) }
        return nil
    }

    private mutating func passAnswers() {
        for (client, bytes) in work.takeAnswers() {
            guard let number = clients.firstIndex(where: { $0.number == client }) else { continue }
            answer(number, bytes, isRefused: false)
        }
    }

    private mutating func answer(_ number: Int, _ bytes: [UInt8], isRefused: Bool) {
        clients[number].state = .taking(bytes, sent: 0, isRefused: isRefused)
        clients[number].deadline = Deadline(seconds: Self.responseSeconds)
        send(number)
    }

    private mutating func send(_ number: Int) {
        guard case .taking(let bytes, var sent, let isRefused) = clients[number].state else { return }
        let descriptor = clients[number].descriptor
        let count = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.send(
                descriptor, $0.baseAddress.map { unsafe $0 + sent }, bytes.count - sent,
                Self.sendFlags)
        }
        guard count >= 0 else {
            if errno != EAGAIN && errno != EINTR { end(number) }
            return
        }
        sent += count
        clients[number].state = .taking(bytes, sent: sent, isRefused: isRefused)
        guard sent == bytes.count else { return }
        guard isRefused else { return end(number) }
        shutdown(descriptor, Int32(SHUT_WR))
        clients[number].state = .ending(heard: 0)
        clients[number].deadline = Deadline(seconds: Self.lingerSeconds)
    }

    /// Its time is over.
    private mutating func expire(_ number: Int) {
        switch clients[number].state {
        case .asking:
            let message = "the request was not complete after \(Self.requestSeconds) seconds"
            answer(number, HTTPResponse(HTTPFailure(.requestTimeout, message)).encoded(), isRefused: true)
        case .waiting: break
        case .taking, .ending: end(number)
        }
    }

    private mutating func end(_ number: Int) {
        guard clients[number].descriptor >= 0 else { return }
        close(clients[number].descriptor)
        clients[number].descriptor = -1
    }
}
