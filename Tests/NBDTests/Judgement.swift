// What the tests of requests share: verdicts that can be compared, and exports to judge requests by.

import NBD
import Testing

/// A verdict, flattened for comparison.
enum Judgement: Equatable {
    case perform(Command)
    case refuse(UInt32, drain: UInt32)
    case disconnect
    case receivePayload
    case close(RequestViolation)

    init(_ verdict: RequestVerdict) {
        switch verdict {
        case .perform(let command): self = .perform(command)
        case .refuse(let refusal):
            #expect((1...ChunkedReply.maximumMessageBytes).contains(refusal.message.utf8CodeUnitCount))
            self = .refuse(refusal.error.rawValue, drain: refusal.payloadBytes)
        case .disconnect: self = .disconnect
        case .receivePayload: self = .receivePayload
        case .close(let violation): self = .close(violation)
        }
    }
}

func judge(_ header: RequestHeader, _ parameters: TransmissionParameters) -> Judgement {
    Judgement(header.validate(for: parameters))
}

let size: UInt64 = 6 << 30
let everything: TransmissionFlags = [
    .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes, .sendDF, .sendCache, .sendFastZero,
]

func parameters(
    _ flags: TransmissionFlags = everything, messages: MessageStyle = .structured, hasContext: Bool = false,
    blockSizes: BlockSizes = .portable, advertised: Bool = true, sizeBytes: UInt64 = size
) -> TransmissionParameters {
    TransmissionParameters(
        export: try! ExportInformation(
            name: "", description: "", sizeBytes: sizeBytes, flags: flags, blockSizes: blockSizes),
        messages: messages, hasAllocationContext: hasContext, blockSizeAdvertised: advertised)
}

let EPERM: UInt32 = 1
let EINVAL: UInt32 = 22
let ENOSPC: UInt32 = 28
let EOVERFLOW: UInt32 = 75
let ESHUTDOWN: UInt32 = 108

/// READ, WRITE, TRIM, CACHE, WRITE_ZEROES.
let rangeCommands: [UInt16] = [0, 1, 4, 5, 6]
