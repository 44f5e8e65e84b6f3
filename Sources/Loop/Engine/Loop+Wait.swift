// Waiting for something to do.

import IOUring

extension Loop {
    /// Hands everything prepared to the kernel and waits for completions: asleep, or looking for them (BusyPolling).
    mutating func wait() throws(RingError) {
        // With something left to send, the loop takes the completions that are there, and waits for none.
        guard sendQueue.count == 0 else {
            try ring.submitAndWait(0)
            clock.beginTurn()
            return
        }
        let start = clock.now()
        // A worker of this loop, or a client, may need the processor.
        let jobs = workers.jobCount
        if polling.expectsSoon, jobs <= 1, requestsUnderWay + sendsUnderWay <= jobs, activeConnections > 0,
            shared.hasIdleProcessor
        {
            repeat {
                try ring.submitAndWait(0)
            } while ring.completionsReady == 0 && !workers.hasDone
                && clock.now() - start < BusyPolling.limitNanoseconds
        }
        if ring.completionsReady == 0 && !workers.hasDone { try sleep(isBellExpected: jobs > 0) }
        clock.beginTurn()
        polling.learn(nanoseconds: clock.turnStart - start)
    }

    private mutating func sleep(isBellExpected: Bool) throws(RingError) {
        guard isBellExpected else { return try ring.submitAndWait(1) }
        workers.bell.expect()
        // Jobs that were done before that have rung nothing.
        try ring.submitAndWait(workers.hasDone ? 0 : 1)
        workers.bell.ignore()
    }
}
