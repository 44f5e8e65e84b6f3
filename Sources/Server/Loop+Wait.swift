// Waiting for something to do.

import IOUring

extension Loop {
    /// Hands everything prepared to the kernel and waits for completions: asleep, or looking for them (BusyPolling).
    mutating func wait() throws(RingError) {
        // With something left to send, what has arrived is looked at first, but not waited for.
        guard sendQueue.count == 0 else {
            try ring.submitAndWait(0)
            clock.beginTurn()
            return
        }
        let start = RequestClock.now()
        // Whoever works for this loop, or for its clients, may need the processor.
        if polling.expectsSoon, requestsUnderWay + sendsUnderWay == 0, activeConnections > 0, shared.hasIdleProcessor {
            repeat {
                try ring.submitAndWait(0)
            } while ring.completionsReady == 0 && RequestClock.now() - start < BusyPolling.limitNanoseconds
        }
        if ring.completionsReady == 0 { try ring.submitAndWait(1) }
        clock.beginTurn()
        polling.learn(nanoseconds: clock.turnStart - start)
    }
}
