// The layers between a unit and its backend, each a state machine that takes requests from above and makes
// requests for what is below it. Sans-I/O: a value out for every event in.

/// The next wish of a stack, or one of its layers, for a request.
public enum BlockStep: Equatable, Sendable {
    /// Do this below, then resume with how it ended.
    case io(BackendRequest)
    /// Let so much time pass, then resume with ``BlockOutcome/done``.
    case wait(milliseconds: UInt32)
    /// Another request, which is in the layer now, has to come further first: resume with ``BlockOutcome/done`` after
    /// the layer has said that somebody has (``BlockStack/takeWake()``). It may not be the one that this request waits
    /// for; then the answer is the same again.
    case waitForOthers
    /// The request is done.
    case finished
    /// A ``BackendOperation/lookUp`` is done. The extent has at least a block, and no more than was asked about.
    case found(BackendExtent)
    /// It failed, after so many bytes had been read or written.
    case failed(BlockFailure, afterBytes: UInt64)
}

/// The layers in the order in which a request passes them, from the unit down to the backend.
enum BlockLayer: UInt8 {
    /// Failures of the medium, as the unit meets them.
    case faults
    /// An account of all that was executed.
    case recorder
    /// Answered data that have not reached the image.
    case writeCache
    /// Changes that are kept beside the image.
    case overlay
    /// Where the disk is in a qcow2 image.
    case qcow2
    /// Failures of the image, as the layers above meet them.
    case imageFaults
}

/// The state of a request while a stack works on it. The caller keeps it, and only one step is under way.
public struct BlockTask: Sendable {
    /// The layer to resume: the one whose request is under way below, or that waits.
    fileprivate var layer = BlockLayer.faults
    /// The writer of the request.
    public var writer = BlockWriter()
    fileprivate var faults = Faults.Task()
    fileprivate var recorder = Recorder.Task()
    fileprivate var writeCache = WriteCache.Task()
    fileprivate var overlay = Overlay.Task()
    fileprivate var qcow2 = Qcow2.Task()
    fileprivate var imageFaults = Faults.Task()

    /// Nothing is under way.
    public init() {}
}

/// The layers of one unit. The requests of a unit that has none go to its backend as they are.
///
/// A stack that remembers something belongs to one loop, its unit's home.
public struct BlockStack: Sendable {
    /// The faults of the medium; nil: none. Only tests set it.
    public var faults: Faults?
    /// The recording of all that is executed; nil: there is none.
    public var recorder: Recorder?
    /// The drive's volatile write cache; nil: an answered write is in the image.
    public var writeCache: WriteCache?
    /// The overlay above the image; nil: changes go to the image.
    public var overlay: Overlay?
    /// The format of the image; nil: raw.
    public var qcow2: Qcow2?
    /// The size of the disk in bytes, where that is not the image's own.
    public var diskBytes: UInt64? { overlay?.sizeBytes ?? qcow2?.sizeBytes }
    /// The faults of the image, below all layers that keep something in it; nil: none. Only tests set it.
    public var imageFaults: Faults?
    /// The memory of the layers that a request's data are in; nil: they are in no layer.
    public func memory(of place: DataPlace) -> LayerMemory? {
        switch place {
        case .request: nil
        case .writeCache: writeCache?.memory
        case .tables: qcow2?.memory
        case .recording: recorder?.memory
        }
    }

    /// No layer.
    public init() {}

    /// There is no layer.
    public var isEmpty: Bool { layer(below: nil) == nil }

    /// Begins a request; there is at least one layer.
    ///
    /// - Parameter data: the buffer of the drive's request, here and in what follows; empty for one without data.
    public mutating func begin(
        _ request: BackendRequest, _ task: inout BlockTask, _ data: inout MutableRawSpan
    ) -> BlockStep {
        guard let top = layer(below: nil) else { preconditionFailure("a stack without layers has nothing to do") }
        return run(.begin(request), top, &task, &data)
    }

    /// Goes on after what the last step asked for has ended.
    public mutating func resume(
        _ outcome: BlockOutcome, _ task: inout BlockTask, _ data: inout MutableRawSpan
    ) -> BlockStep {
        run(.resume(outcome), task.layer, &task, &data)
    }

    /// Goes on after the backend was asked for an extent.
    public mutating func resume(
        _ extent: BackendExtent, _ task: inout BlockTask, _ data: inout MutableRawSpan
    ) -> BlockStep {
        run(.found(extent), task.layer, &task, &data)
    }

    /// Whether a step since the last question may let requests go on that wait for others. All of them are resumed
    /// then, in the order in which they began to wait, before any other request begins.
    public mutating func takeWake() -> Bool {
        // Each is asked.
        let above = faults?.takeWake() ?? false
        let account = recorder?.takeWake() ?? false
        let here = writeCache?.takeWake() ?? false
        let format = qcow2?.takeWake() ?? false
        let below = imageFaults?.takeWake() ?? false
        return above || account || here || format || below
    }

    /// The damage of the image that a request has found, if nobody has asked since the first time.
    public mutating func takeDamage() -> Qcow2Damage? { qcow2?.takeDamage() }
}

/// Power.
extension BlockStack {
    /// Without it nothing is answered: every request waits for others until it is given up.
    public var hasPower: Bool { writeCache?.hasPower ?? true }

    /// A request waits in the cache, or above it. It has nothing that others below wait for: it can be given up there.
    public func waitsAboveImage(_ task: borrowing BlockTask) -> Bool {
        task.layer.rawValue <= BlockLayer.writeCache.rawValue
    }

    /// Orders the power to go at a moment; nil takes an order back.
    public mutating func order(_ moment: CutMoment?) { writeCache?.order(moment) }

    /// The power goes now; if it has gone, requests that wait are to be looked at again.
    public mutating func losePower() { writeCache?.losePower() }

    /// The power is back.
    public mutating func restorePower() { writeCache?.restorePower() }

    /// Whether the power has gone, as it was ordered to, since the last question.
    public mutating func takePowerLoss() -> Bool { writeCache?.takePowerLoss() ?? false }
}

extension BlockStack {
    private enum Event {
        case begin(BackendRequest)
        case resume(BlockOutcome)
        case found(BackendExtent)
    }

    /// Goes down and up through the layers until there is something for the caller to do, or the top one has ended.
    private mutating func run(
        _ event: Event, _ layer: BlockLayer, _ task: inout BlockTask, _ data: inout MutableRawSpan
    ) -> BlockStep {
        var event = event
        var layer = layer
        while true {
            let step = take(event, layer, &task, &data)
            switch step {
            case .wait, .waitForOthers:
                task.layer = layer
                return step
            case .io(var request):
                guard let next = self.layer(below: layer), !isOwn(request, of: layer) else {
                    task.layer = layer
                    if let overlay, layer.rawValue > BlockLayer.overlay.rawValue { request.file += overlay.fileCount }
                    return .io(request)
                }
                // Below an overlay the image's files are numbered as without it.
                if layer == .overlay, let overlay { request.file -= overlay.fileCount }
                event = .begin(request)
                layer = next
            case .finished:
                guard let next = self.layer(above: layer) else { return step }
                event = .resume(.done)
                layer = next
            case .found(let extent):
                guard let next = self.layer(above: layer) else { return step }
                event = .found(extent)
                layer = next
            case .failed(let failure, let bytes):
                guard let next = self.layer(above: layer) else { return step }
                event = .resume(.failed(failure, afterBytes: bytes))
                layer = next
            }
        }
    }

    private mutating func take(
        _ event: Event, _ layer: BlockLayer, _ task: inout BlockTask, _ data: inout MutableRawSpan
    ) -> BlockStep {
        let step =
            switch (layer, event) {
            case (.faults, .begin(let request)): faults?.begin(request, &task.faults)
            case (.faults, .resume(let outcome)): faults?.resume(outcome, &task.faults)
            case (.faults, .found(let extent)): faults?.resume(extent, &task.faults)
            case (.recorder, .begin(let request)): recorder?.begin(request, &task.recorder, task.writer)
            case (.recorder, .resume(let outcome)): recorder?.resume(outcome, &task.recorder, data)
            case (.recorder, .found(let extent)): BlockStep.found(extent)
            case (.writeCache, .begin(let request)): writeCache?.begin(request, &task.writeCache, task.writer, &data)
            case (.writeCache, .resume(let outcome)): writeCache?.resume(outcome, &task.writeCache, &data)
            case (.writeCache, .found(let extent)): BlockStep.found(extent)
            case (.overlay, .begin(let request)): overlay?.begin(request, &task.overlay)
            case (.overlay, .resume(let outcome)): overlay?.resume(outcome, &task.overlay)
            case (.overlay, .found(let extent)): overlay?.resume(extent, &task.overlay)
            case (.qcow2, .begin(let request)): qcow2?.begin(request, &task.qcow2, &data)
            case (.qcow2, .resume(let outcome)): qcow2?.resume(outcome, &task.qcow2, &data)
            case (.qcow2, .found(let extent)): BlockStep.found(extent)
            case (.imageFaults, .begin(let request)): imageFaults?.begin(request, &task.imageFaults)
            case (.imageFaults, .resume(let outcome)): imageFaults?.resume(outcome, &task.imageFaults)
            case (.imageFaults, .found(let extent)): imageFaults?.resume(extent, &task.imageFaults)
            }
        guard let step else { preconditionFailure("a request is in a layer that there is not") }
        return step
    }

    /// It is for a file that the layer has for itself.
    private func isOwn(_ request: BackendRequest, of layer: BlockLayer) -> Bool {
        switch layer {
        case .overlay: request.file < overlay?.fileCount ?? 1
        case .recorder: request.file == BackendRequest.recordingFile
        case .faults, .writeCache, .qcow2, .imageFaults: false
        }
    }

    private func has(_ layer: BlockLayer) -> Bool {
        switch layer {
        case .faults: faults != nil
        case .recorder: recorder != nil
        case .writeCache: writeCache != nil
        case .overlay: overlay != nil
        case .qcow2: qcow2 != nil
        case .imageFaults: imageFaults != nil
        }
    }

    /// The next layer on the way down; nil: the backend.
    private func layer(below layer: BlockLayer?) -> BlockLayer? {
        var next = BlockLayer(rawValue: layer.map { $0.rawValue + 1 } ?? 0)
        while let found = next, !has(found) { next = BlockLayer(rawValue: found.rawValue + 1) }
        return next
    }

    /// The next layer on the way up; nil: the unit.
    private func layer(above layer: BlockLayer) -> BlockLayer? {
        var next = BlockLayer(rawValue: layer.rawValue &- 1)
        while let found = next, !has(found) { next = BlockLayer(rawValue: found.rawValue &- 1) }
        return next
    }
}
