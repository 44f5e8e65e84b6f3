// Requests that wait come out in the order in which they went in.

import NBD
import Seeded
import Testing

@testable import Export
@testable import Loop

@Suite struct RequestListTests {
    @Test func theOrderIsThatOfAnArray() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var requests = try SlotTable<RequestPlace, RequestSlot>(capacity: 16)
        for number in 0..<16 { requests.insert(try request(), at: RequestPlace(number)) }
        var lists = (RequestList(), RequestList())
        var models: ([RequestPlace], [RequestPlace]) = ([], [])
        for step in 0..<2000 {
            let place = RequestPlace(Int.random(in: 0..<16, using: &generator))
            switch Int.random(in: 0..<4, using: &generator) {
            case 0 where !models.0.contains(place) && !models.1.contains(place):
                lists.0.append(place, &requests)
                models.0.append(place)
            case 1 where !models.0.contains(place) && !models.1.contains(place):
                lists.1.append(place, &requests)
                models.1.append(place)
            case 2:
                let first = lists.0.popFirst(&requests)
                try #require(first == (models.0.isEmpty ? nil : models.0.removeFirst()), "seed \(seed), step \(step)")
            case 3:
                let first = lists.1.popFirst(&requests)
                try #require(first == (models.1.isEmpty ? nil : models.1.removeFirst()), "seed \(seed), step \(step)")
            default: break
            }
            try #require(lists.0.isEmpty == models.0.isEmpty && lists.1.isEmpty == models.1.isEmpty)
        }
    }

    private func request() throws -> RequestSlot {
        let request = Request(RequestHeader(type: 3), as: .flush, unit: 0)
        return RequestSlot(ExportNumber(0), RequestFacts(ServedRequest(request, blockSize: .smallest)), .flush)
    }
}
