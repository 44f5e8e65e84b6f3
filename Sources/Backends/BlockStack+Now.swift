// Requests to layers that nobody else uses: on a thread that may wait.

import Blocks
import Glibc

extension BlockStack {
    /// Performs a request that looks nothing up, waiting for it.
    ///
    /// - Parameters:
    ///   - buffer: the data of the request.
    ///   - perform: performs a request to a file of the image, with its data; false if that has failed.
    /// - Returns: false if the request has failed.
    @unsafe public mutating func performNow(
        _ request: BackendRequest, _ buffer: UnsafeMutableRawBufferPointer,
        _ perform: (BackendRequest, UnsafeMutableRawBufferPointer) -> Bool
    ) -> Bool {
        var task = BlockTask()
        var data = unsafe MutableRawSpan(_unsafeBytes: buffer)
        var step = begin(request, &task, &data)
        while true {
            switch step {
            case .io(let below):
                let hasData = below.operation == .read || below.operation == .write
                let start = hasData ? Int(below.dataOffset) : 0
                let part = start..<start + (hasData ? Int(below.length) : 0)
                let bytes =
                    unsafe memory(of: below.dataPlace)?[part] ?? UnsafeMutableRawBufferPointer(rebasing: buffer[part])
                step = resume(unsafe perform(below, bytes) ? .done : .failed(.unrecovered), &task, &data)
            case .wait(let milliseconds):
                usleep(milliseconds * 1000)
                step = resume(.done, &task, &data)
            case .finished, .failed, .found, .waitForOthers:
                return step == .finished
            }
        }
    }
}
