// Answers HTTP requests on threads of its own, apart from the loops that serve drives.
//
// One thread has all clients that send their request or take its answer (HTTPDoor); others make the answers, which may
// take long. So a client that is slow, or mute, or hostile keeps no thread.

import Glibc
import IOUring
import Listening
import Server
import Synchronization
import Threads

/// A server for one kind of requests.
final class HTTPService: Sendable {
    private let listeners: [Listener]
    private let isStopping = Atomic(false)

    init(listeners: [Listener]) {
        self.listeners = listeners
    }

    /// Begins to answer.
    ///
    /// - Parameters:
    ///   - threads: how many answers are made at a time.
    ///   - answer: what a request is answered; called by all of these threads.
    /// - Returns: false when there can be no threads.
    func start(threads: Int, answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse) -> Bool {
        guard !listeners.isEmpty else { return true }
        guard let work = try? HTTPWork() else { return false }
        for number in 0..<threads {
            let isStarted = startDetachedThread {
                while true { work.answerNext(answer) }
            }
            // One is enough to go on with.
            guard isStarted || number > 0 else { return false }
        }
        return startDetachedThread {
            var door = HTTPDoor(self.listeners.map(\.descriptor), work)
            while !self.isStopping.load(ordering: .sequentiallyConsistent) { door.turn() }
        }
    }

    /// Stops listening, which is for the end of the program: the descriptors stay. A client that is being answered may
    /// not get all of its answer.
    func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        for listener in listeners { listener.refuse() }
    }
}

/// Requests on their way to the threads that answer them, and answers on their way back.
final class HTTPWork: Sendable {
    private let requests = Mutex<[(client: UInt64, request: HTTPRequest)]>([])
    private let answers = Mutex<[(client: UInt64, bytes: [UInt8])]>([])
    private let requestsCame: EventCounter
    /// There are answers.
    let answersCame: EventCounter

    init() throws(RingError) {
        requestsCame = try EventCounter()
        answersCame = try EventCounter()
    }

    /// A client's request is complete.
    func add(_ request: HTTPRequest, of client: UInt64) {
        requests.withLock { $0.append((client, request)) }
        requestsCame.signal()
    }

    /// Waits for a request and answers it.
    func answerNext(_ answer: (HTTPRequest) -> HTTPResponse) {
        requestsCame.wait()
        let (next, isLast) = requests.withLock { ($0.isEmpty ? nil : $0.removeFirst(), $0.isEmpty) }
        // The counter was taken as a whole: the others are for other threads.
        if !isLast { requestsCame.signal() }
        guard let next else { return }
        let bytes = answer(next.request).encoded(isHead: next.request.method == "HEAD")
        answers.withLock { $0.append((next.client, bytes)) }
        answersCame.signal()
    }

    /// All answers that have come.
    func takeAnswers() -> [(client: UInt64, bytes: [UInt8])] {
        answersCame.wait()
        return answers.withLock { answers in
            defer { answers = [] }
            return answers
        }
    }
}
