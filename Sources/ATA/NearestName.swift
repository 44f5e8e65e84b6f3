// Which known name a mistyped one was meant to be.

/// The name with the smallest edit distance, if it is close enough to be a slip.
public func nearestName(to name: String, among names: [String]) -> String? {
    let candidates = names.map { ($0, editDistance($0, name)) }
    guard let best = candidates.min(by: { $0.1 < $1.1 }), best.1 <= name.utf8.count / 2 else { return nil }
    return best.0
}

/// Levenshtein's distance between two names.
private func editDistance(_ first: String, _ second: String) -> Int {
    let second = Array(second.utf8)
    var row = Array(0...second.count)
    for (index, byte) in first.utf8.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for column in second.indices {
            let substituted = diagonal + (byte == second[column] ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(substituted, row[column] + 1, diagonal + 1)
        }
    }
    return row[second.count]
}
