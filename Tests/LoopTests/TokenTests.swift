// What a completion is about survives the way through the kernel.

import Testing

@testable import Loop

@Suite struct TokenTests {
    @Test func everyOperationComesBack() {
        let operations = (UInt8.min...UInt8.max).compactMap(Operation.init(rawValue:))
        #expect(operations.count == 18)
        var seen = Set<UInt64>()
        for operation in operations {
            for number in [0, 1, 127, 128, 255, 256, 65535] {
                let token = Token(operation, ConnectionSlot(number))
                #expect(Token(userData: token.userData) == token)
                #expect(token.operation == operation && token.slot.number == number)
                #expect(token.export.number == number && token.listener == number)
                #expect(seen.insert(token.userData).inserted)
            }
            // A request's number says whose it is.
            for number in [65536, 128 * 32768 - 1] {
                let token = Token(operation, RequestPlace(number))
                #expect(Token(userData: token.userData) == token)
                #expect(token.operation == operation && token.place.number == number)
                #expect(token.place.slot.number == number / Limits.requestsPerConnection)
                #expect(seen.insert(token.userData).inserted)
            }
        }
    }
}
