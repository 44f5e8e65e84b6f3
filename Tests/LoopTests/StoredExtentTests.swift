// A loop's memory of stored extents: never more than was found, and how often it asks.

import Testing

@testable import Loop

@Suite struct StoredExtentTests {
    @Test func whatIsInsideIsKnownUntilSomethingIsDeallocated() {
        var stored = StoredExtent()
        #expect(stored.length(from: 0, deallocations: 0) == 0)
        stored.learn(4096, lengthBytes: 8192, deallocations: 3)
        #expect(stored.length(from: 4095, deallocations: 3) == 0)
        #expect(stored.length(from: 4096, deallocations: 3) == 8192)
        #expect(stored.length(from: 12_287, deallocations: 3) == 1)
        #expect(stored.length(from: 12_288, deallocations: 3) == 0)
        #expect(stored.length(from: 4096, deallocations: 4) == 0)
    }

    /// A look-up that is good for nothing is not done again in the same second.
    @Test func whatIsOfNoUseIsAskedOnceASecond() {
        var stored = StoredExtent()
        var asked: Bool
        asked = stored.mayLookUp(now: 5)
        #expect(asked)
        asked = stored.mayLookUp(now: 6)
        #expect(!asked, "one is under way")
        stored.endLookUp()
        asked = stored.mayLookUp(now: 5)
        #expect(!asked)
        for _ in 0..<8 { stored.noteUse() }
        asked = stored.mayLookUp(now: 5)
        #expect(asked, "the last one was worth it")
        stored.endLookUp()
        asked = stored.mayLookUp(now: 5)
        #expect(!asked)
        asked = stored.mayLookUp(now: 6)
        #expect(asked)
    }
}
