// Requests to the control socket (RFC 9112).

@testable import Control

/// The first byte says where the rest is cut: where packets end must not matter.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    guard count >= 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: data + 1, count: count - 1))
    let cut = bytes.count * Int(data[0]) / 256
    let whole = read([bytes])
    let pieces = read([Array(bytes[..<cut]), Array(bytes[cut...])])
    // Two packets may be asked to go on in between, and may have been refused before the second came.
    precondition(whole == pieces, "the outcome depends on where a packet ends")
    return 0
}

/// What a reader says at last.
private func read(_ pieces: [[UInt8]]) -> HTTPRequestReader.Step {
    var reader = HTTPRequestReader()
    var last = HTTPRequestReader.Step.needMoreBytes
    for piece in pieces {
        let step = reader.advance(piece)
        switch step {
        case .request, .refuse: return step
        // After it, more bytes are needed.
        case .needMoreBytes, .sendContinue: last = .needMoreBytes
        }
    }
    return last
}
