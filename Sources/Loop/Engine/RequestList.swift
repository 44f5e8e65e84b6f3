// Lists of requests that wait, linked through their places: before a write gate, for a flush, for others in layers.

/// Requests in the order of their coming. A request is in one list at a time.
struct RequestList {
    private(set) var first: RequestPlace?
    private var last: RequestPlace?

    var isEmpty: Bool { first == nil }

    mutating func append(_ place: RequestPlace, _ requests: inout SlotTable<RequestPlace, RequestSlot>) {
        requests[place].next = nil
        if let last { requests[last].next = place } else { first = place }
        last = place
    }

    /// How many there are, by going through all of them.
    func count(_ requests: borrowing SlotTable<RequestPlace, RequestSlot>) -> Int {
        var count = 0
        var next = first
        while let place = next {
            count += 1
            next = requests[place].next
        }
        return count
    }

    /// Takes the first request off.
    mutating func popFirst(_ requests: inout SlotTable<RequestPlace, RequestSlot>) -> RequestPlace? {
        guard let place = first else { return nil }
        first = requests[place].next
        if first == nil { last = nil }
        requests[place].next = nil
        return place
    }
}
