// Which signals cut the end of a server short.

import Testing

@testable import Loop
@testable import Server

@Suite struct ImpatienceTests {
    private let start = ContinuousClock.now

    /// Signals and when they come, in milliseconds.
    private func isShown(_ signals: [(Signals.Event?, Int)]) -> Bool {
        var impatience = Impatience()
        return signals.reduce(false) { shown, signal in
            impatience.isShown(by: signal.0, at: start + .milliseconds(signal.1)) || shown
        }
    }

    @Test func aSecondInterruptAfterASecond() {
        #expect(isShown([(.interruptKey, 0), (.interruptKey, 1000)]))
        #expect(isShown([(.interrupt, 0), (.interruptKey, 300), (.interrupt, 1100)]))
        #expect(isShown([(.end, 0), (.interrupt, 5), (.interrupt, 1005)]))
    }

    @Test func whatProgramsDo() {
        #expect(!isShown([(.end, 0), (.end, 1), (.end, 5000), (nil, 6000)]))
        #expect(!isShown([(.interrupt, 0), (.interrupt, 999)]))
        #expect(!isShown([(.end, 0), (.interrupt, 3000)]))
        #expect(!isShown([(.interruptKey, 0), (.end, 2000), (.hangUp, 3000)]))
    }
}
