// Requests: from a judged header through the drive and its medium to a reply.

import ATA
import Export
import Glibc
import IOUring
import Media
import NBD

extension Loop {
    /// A request has arrived and was judged: begins what it asks for.
    ///
    /// - Returns: false when there is no memory for it now; nothing has happened then.
    mutating func beginRequest(_ header: RequestHeader, _ verdict: RequestVerdict, _ slot: Int) -> Bool {
        switch verdict {
        case .perform(let command):
            return prepare(ServedRequest(header, as: command), slot)
        case .receivePayload:
            unsafe connections[slot].statusRequest = header
            return true
        case .refuse(let refusal):
            return refuse(
                ServedRequest(refusing: header), CommandKind(type: header.type), refusal.error, refusal.message,
                lengthBytes: header.lengthBytes, payloadBytes: refusal.payloadBytes, slot)
        case .disconnect:
            drain(slot, .disconnect)
            unsafe connections[slot].awaitsEndOfFile =
                connections[slot].peer.closesFirst && !connections[slot].isAtEndOfFile
            return true
        case .close(let violation):
            note(.warning, "client cut off", slot, ["reason": "\(violation)"])
            abort(slot, .violation)
            return true
        }
    }

    /// Finds a place for a request, and begins it unless its payload is still to come.
    private mutating func prepare(_ served: ServedRequest, _ slot: Int) -> Bool {
        if served.flags.contains(.fastZero), !zeroesFast(served, slot) {
            return refuse(
                served, CommandKind(served.command), .notSupported,
                "zeroes cannot be stored faster than they can be written", lengthBytes: served.lengthBytes, slot)
        }
        guard unsafe connections[slot].freeRequestCount > 0 else { return false }
        let needs = served.bufferNeeds
        let cached = unsafe cachedData(of: served, slot)
        let pages = unsafe cached.place == nil ? (needs.byteCount + PageArena.pageBytes - 1) / PageArena.pageBytes : 0
        guard let (first, isStaged) = allocate(pages, slot) else { return false }
        guard let request = unsafe connections[slot].takeRequest() else { return false }
        let place = self.slot(request, of: slot)
        var entry = unsafe RequestSlot(
            served: served, task: MediumTask(.flush, offset: 0, length: 0, buffer: nil),
            measure: RequestMeasure(kind: CommandKind(served.command)), buffer: nil)
        if pages > 0 {
            unsafe entry.buffer =
                isStaged ? stage.pointer(toPage: first) : connections[slot].arena.pointer(toPage: first)
        }
        entry.bufferBytes = pages * PageArena.pageBytes
        if let place = unsafe cached.place {
            unsafe entry.buffer = place
            entry.bufferBytes = needs.byteCount
            entry.source = unsafe cached.source
            if entry.source == .mapping { mappedBytes += needs.byteCount }
        }
        entry.firstPage = first
        entry.pageCount = pages
        entry.isStaged = isStaged
        unsafe (requests + place).initialize(to: entry)
        if served.command == .write {
            unsafe connections[slot].payloadRequest = request
            unsafe connections[slot].payloadCount = 0
            chooseReceiving(place, slot)
        } else {
            chooseReceiving(place, slot)
            start(request, on: slot)
        }
        return true
    }

    private func zeroesFast(_ served: ServedRequest, _ slot: Int) -> Bool {
        let medium = unsafe exports[connections[slot].export].medium
        return served.flags.contains(.noHole) ? medium.zeroesFastAllocated : medium.zeroesFastByDeallocating
    }

    /// Memory for a request's data: the connection's own, for a large one the loop's.
    private mutating func allocate(_ pages: Int, _ slot: Int) -> (first: Int, isStaged: Bool)? {
        guard pages > 0 else { return (0, false) }
        guard unsafe connections[slot].line == .none else { return nil }
        if pages <= shared.limits.largestOwnRequestPages {
            guard ownPagesInUse + pages <= ownPageLimit, ownLine.mayTake(slot) else {
                wait(slot, for: .own)
                return nil
            }
            let touched = unsafe connections[slot].arena.touchedEnd
            // What is missing here only this connection can give back.
            guard let first = unsafe connections[slot].arena.allocate(pages) else { return nil }
            noteTouched(unsafe connections[slot].arena.touchedEnd - touched)
            ownLine.hasTaken()
            ownPagesInUse += pages
            return (first, false)
        }
        let touched = stage.touchedEnd
        guard stageLine.mayTake(slot), let first = stage.allocate(pages) else {
            wait(slot, for: .stage)
            return nil
        }
        noteTouched(stage.touchedEnd - touched)
        stageLine.hasTaken()
        unsafe connections[slot].stagedPages += pages
        return (first, true)
    }

    private mutating func wait(_ slot: Int, for line: Connection.Line) {
        guard unsafe connections[slot].line == .none else { return }
        unsafe connections[slot].line = line
        if line == .stage { stageLine.wait(slot) } else { ownLine.wait(slot) }
    }

    /// Gives a request's memory back.
    mutating func releaseBuffer(_ place: Int, _ slot: Int) {
        releasePipe(place)
        if unsafe requests[place].source == .mapping { mappedBytes -= unsafe requests[place].bufferBytes }
        unsafe requests[place].source = .memory
        let pages = unsafe requests[place].pageCount
        guard pages > 0 else { return }
        let first = unsafe requests[place].firstPage
        unsafe requests[place].pageCount = 0
        if unsafe requests[place].isStaged {
            stage.release(first, pages)
            stageLine.noteRoom()
            unsafe connections[slot].stagedPages -= pages
        } else {
            unsafe connections[slot].arena.release(first, pages)
            ownPagesInUse -= pages
            if !ownLine.isEmpty { ownLine.noteRoom() }
        }
    }

    /// A refused request is answered like a served one, a WRITE when its payload is over: clients that are still sending
    /// do not expect an answer.
    private mutating func refuse(
        _ served: ServedRequest, _ kind: CommandKind, _ error: NBDError, _ message: StaticString,
        lengthBytes: UInt64, payloadBytes: UInt32 = 0, _ slot: Int
    ) -> Bool {
        guard let request = unsafe connections[slot].takeRequest() else { return false }
        let place = self.slot(request, of: slot)
        unsafe (requests + place).initialize(
            to: RequestSlot(
                served: served, task: MediumTask(.flush, offset: 0, length: 0, buffer: nil),
                measure: RequestMeasure(kind: kind), buffer: nil))
        noteRefusal(of: kind, offset: served.offsetBytes, length: lengthBytes, error, message, slot)
        encodeError(error, message, place, slot)
        if payloadBytes > 0 {
            unsafe connections[slot].payloadRequest = request
            unsafe connections[slot].discardCount = Int(payloadBytes)
            unsafe connections[slot].receiving = .asTheyCome
        } else {
            queueReply(request, slot)
        }
        return true
    }
}

/// The way through the drive.
extension Loop {
    /// Begins a request whose data are complete.
    mutating func start(_ request: Int, on slot: Int) {
        let place = self.slot(request, of: slot)
        arrive(place, slot)
        guard enterGate(place, slot) else {
            leavePipe(place)
            park(place)
            hasNewlyParked = true
            return
        }
        begin(request, on: slot)
    }

    /// A request counts as begun from now on, whether or not it has to wait.
    mutating func arrive(_ place: Int, _ slot: Int) {
        unsafe connections[slot].busyRequests += 1
        requestsUnderWay += 1
        unsafe requests[place].mark = connections[slot].currentMark
        countArrival(place, slot)
    }

    mutating func begin(_ request: Int, on slot: Int) {
        let place = self.slot(request, of: slot)
        let export = unsafe connections[slot].export
        var buffer = unsafe MutableRawSpan(_unsafeBytes: requests[place].bytes)
        let effect = unsafe requests[place].served.begin(on: &exports[export].served, buffer: &buffer)
        follow(effect, request, slot)
    }

    /// The medium has done something for a request, or failed to.
    mutating func mediumCompleted(_ result: Int32, of request: Int, on slot: Int) {
        let place = self.slot(request, of: slot)
        let export = unsafe connections[slot].export
        let userData = Token(.medium, connection: slot, request: request).userData
        let progress = unsafe exports[export].medium.resume(
            &requests[place].task, result: result, ring: &ring, userData: userData)
        continueRequest(request, slot, effect(of: progress, place, export))
    }

    /// Does what the export wants until the medium has to be waited for, or the request is served.
    private mutating func follow(_ first: Effect, _ request: Int, _ slot: Int) {
        let place = self.slot(request, of: slot)
        let export = unsafe connections[slot].export
        let userData = Token(.medium, connection: slot, request: request).userData
        var next: Effect? = first
        var steps = 0
        while let effect = next {
            switch effect {
            case .reply(let error):
                finish(request, slot, error)
                return
            case .perform where unsafe requests[place].source.isPageCache:
                next = self.effect(of: .finished, place, export)
                continue
            case .perform(let operation, let bufferOffset):
                unsafe requests[place].task = task(for: operation, place, Int(bufferOffset))
            case .performZeroes(let lba, let count, let mayDeallocate):
                unsafe requests[place].task = MediumTask(
                    .writeZeroes(mayDeallocate: mayDeallocate), offset: bytes(lba), length: bytes(UInt64(count)),
                    buffer: nil)
            case .lbaStatus(let lba, let limit):
                next = answerLBAStatus(lba, limit, place, export)
                continue
            }
            let medium = unsafe exports[export].medium
            let progress =
                if let pipe = unsafe requests[place].source.pipe {
                    writeFromPipe(place, pipe, medium)
                } else if isQuick(place, medium) {
                    writeNow(place, medium)
                } else {
                    unsafe medium.start(&requests[place].task, ring: &ring, userData: userData)
                }
            steps += 1
            if progress == .finished, steps == Self.stepsPerTurn {
                ring.noOperation(userData: Token(.goOn, connection: slot, request: request).userData)
                return
            }
            next = self.effect(of: progress, place, export)
        }
    }

    /// A request that the medium serves without any waiting may have millions of steps (a WRITE_ZEROES of an exabyte): after
    /// so many, it is somebody else's turn.
    private static let stepsPerTurn = 64

    /// A request goes on whose last step the medium had finished at once.
    mutating func goOn(_ request: Int, on slot: Int) {
        let place = self.slot(request, of: slot)
        continueRequest(request, slot, effect(of: .finished, place, unsafe connections[slot].export))
    }

    /// Does what the export wants next. Of a request whose client is gone nothing more is done, but for a WRITE.
    private mutating func continueRequest(_ request: Int, _ slot: Int, _ effect: Effect?) {
        if let effect {
            let isAbandoned =
                unsafe connections[slot].phase == .closing
                && requests[self.slot(request, of: slot)].served.command != .write
            follow(isAbandoned ? .reply(.inputOutput) : effect, request, slot)
        }
        finishIfIdle(slot)
    }

    /// Asks the medium what it has stored.
    private mutating func answerLBAStatus(_ lba: UInt64, _ limit: UInt32, _ place: Int, _ export: Int) -> Effect {
        let extent = unsafe exports[export].medium.extent(at: bytes(lba), limit: bytes(UInt64(limit)))
        var buffer = unsafe MutableRawSpan(_unsafeBytes: requests[place].bytes)
        return unsafe requests[place].served.resumeLBAStatus(
            isMapped: extent.isMapped, count: UInt32(extent.lengthBytes / ExportedDrive.sectorBytes),
            on: &exports[export].served, buffer: &buffer)
    }

    /// What the export wants after the medium's last step; nil while that is still to come.
    private mutating func effect(of progress: MediumProgress, _ place: Int, _ export: Int) -> Effect? {
        var buffer = unsafe MutableRawSpan(_unsafeBytes: requests[place].bytes)
        switch progress {
        case .pending:
            return nil
        case .finished:
            return unsafe requests[place].served.resume(.done, on: &exports[export].served, buffer: &buffer)
        case .failed(let code):
            noteMediumFailure(code, place)
            let done = unsafe requests[place].task.doneBytes / ExportedDrive.sectorBytes
            return unsafe requests[place].served.resume(
                .failed(MediaError(errno: code), afterSectors: UInt32(clamping: done)), on: &exports[export].served,
                buffer: &buffer)
        }
    }

    private func task(for operation: MediaOperation, _ place: Int, _ bufferOffset: Int) -> MediumTask {
        switch operation {
        case .read(let lba, let count):
            unsafe MediumTask(
                .read, offset: bytes(lba), length: bytes(UInt64(count)), buffer: buffer(place, bufferOffset))
        case .write(let lba, let count):
            unsafe MediumTask(
                .write, offset: bytes(lba), length: bytes(UInt64(count)), buffer: buffer(place, bufferOffset))
        case .flush:
            unsafe MediumTask(.flush, offset: 0, length: 0, buffer: nil)
        case .discard(let lba, let count):
            unsafe MediumTask(.discard, offset: bytes(lba), length: bytes(UInt64(count)), buffer: nil)
        case .prefetch(let lba, let count):
            unsafe MediumTask(.prefetch, offset: bytes(lba), length: bytes(UInt64(count)), buffer: nil)
        }
    }

    private func bytes(_ sectors: UInt64) -> UInt64 {
        sectors * ExportedDrive.sectorBytes
    }

    private func buffer(_ place: Int, _ offset: Int) -> UnsafeMutableRawPointer? {
        guard let start = unsafe requests[place].buffer else { return nil }
        return unsafe start + offset
    }

    /// The request has been served, or has failed: its reply goes to the queue.
    private mutating func finish(_ request: Int, _ slot: Int, _ error: NBDError?) {
        let place = self.slot(request, of: slot)
        leaveGate(place, slot)
        unsafe connections[slot].busyRequests -= 1
        requestsUnderWay -= 1
        if unsafe requests[place].mark != connections[slot].currentMark { finishMarked(slot) }
        if let error {
            encodeError(error, error.inWords, place, slot)
        } else {
            encodeSuccess(place, slot)
        }
        queueReply(request, slot)
    }
}

extension NBDError {
    /// Why a request that was sound failed.
    fileprivate var inWords: StaticString {
        switch self {
        case .noSpace: "the image's file system is full"
        case .notPermitted: "the medium is write-protected"
        default: "the drive reports an error"
        }
    }
}

extension MediaError {
    /// The drive's view of an errno.
    init(errno code: Int32) {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: self = .noSpace
        case EROFS, EPERM, EACCES: self = .writeProtected
        default: self = .unrecovered
        }
    }
}
