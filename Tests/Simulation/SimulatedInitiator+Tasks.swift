// What an initiator asks a unit for, and what it makes of the answers (RFC 7143, 11; SBC-4).

import Support

/// Commands.
extension SimulatedInitiator {
    /// What a write without an answer was for.
    func cellsToWriteAgain(_ request: Outstanding) -> (image: SimulatedImage, cells: Range<Int>)? {
        guard request.type == CommandNumber.write, request.write != nil else { return nil }
        let size = request.image.model.cellBytes
        return (request.image, Int(request.offset) / size..<Int(request.offset + request.length) / size)
    }

    func askUnit() {
        if askAboutUnits() { return }
        if let (image, cells) = again.popLast() {
            guard let unit = units.first(where: { $0.image === image && $0.stage == .open }) else { return }
            return submit(CommandNumber.write, unit, cells: cells)
        }
        if let old = outstanding.first(where: { $0.image.mayBeReset && world.now - $0.sentAt > 1_000_000_000 }) {
            return manage(1, of: old.cookie, chooseUnit())
        }
        let unit = chooseUnit()
        if world.chance(world.profile.resets) { return manage(5, of: nil, unit) }
        if world.chance(20_000) {
            return world.chance(300_000)
                ? manage(2, of: nil, unit) : manage(1, of: outstanding.first?.cookie ?? 0xFFFF, unit)
        }
        if world.chance(10_000) {
            return say(0x40, flags: 0x80, [16: takeTag(), 20: 0xFFFF_FFFF, 24: commandSN], [1, 2, 3])
        }
        if world.chance(20_000) { return askWrongly(unit) }
        guard unit.stage == .open else { return }
        let others = [CommandNumber.flush, CommandNumber.flush, CommandNumber.trim, CommandNumber.writeZeroes]
        submit(world.command(isReader: isReader, others: others), unit)
    }

    private func submit(_ type: UInt16, _ unit: SimulatedUnit, cells chosen: Range<Int>? = nil) {
        let image = unit.image
        let size = image.model.cellBytes
        let cells = chosen ?? (type == CommandNumber.flush ? 0..<0 : chooseCells(unit))
        let cookie = UInt64(takeTag())
        var request = Outstanding(
            image: image, cookie: cookie, type: type, flags: 0, offset: UInt64(cells.lowerBound * size),
            length: UInt64(cells.count * size), began: world.event(), sentAt: world.now)
        var task = Task(unit: unit)
        switch type {
        case CommandNumber.write, CommandNumber.writeZeroes, CommandNumber.trim:
            let isZero = type != CommandNumber.write
            let write = image.model.begin(cells, isZero: isZero, at: request.began, connection: number)
            request.write = write
            if !isZero { task.payload = image.model.payload(of: write) }
        case CommandNumber.read: request.data = [UInt8](repeating: 0, count: Int(request.length))
        default: break
        }
        let cdb = descriptor(of: request, &task.payload)
        tasks[cookie] = task
        begin(request)
        let sends = !task.payload.isEmpty
        sayCommand(
            cookie, cdb, length: sends ? task.payload.count : type == CommandNumber.read ? Int(request.length) : 0,
            sends: sends)
        world.note("initiator \(number) asks \(type) cells \(cells) as \(cookie)")
    }

    /// The CDB of a request, and what goes with it beside a write's data.
    private func descriptor(of request: Outstanding, _ payload: inout [UInt8]) -> [UInt8] {
        let block = request.offset / 512
        let count = UInt32(request.length / 512)
        switch request.type {
        case CommandNumber.read: return long(0x88, block, count)
        case CommandNumber.write: return long(0x8A, block, count)
        case CommandNumber.writeZeroes:
            // With NDOB, or with a block of zeroes.
            let hasBlock = world.chance(500_000)
            if hasBlock { payload = [UInt8](repeating: 0, count: 512) }
            return long(0x93, block, count, second: hasBlock ? 0 : 1)
        case CommandNumber.trim:
            payload = [0, 22, 0, 16, 0, 0, 0, 0]
            payload.append(number: block)
            payload.append(number: count)
            payload += [0, 0, 0, 0]
            return [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]
        default: return world.chance(500_000) ? [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0] : long(0x91, 0, 0)
        }
    }

    private func chooseCells(_ unit: SimulatedUnit) -> Range<Int> {
        let size = unit.image.model.cellBytes
        let unitCells = max(1, 512 / size)
        let units = world.range(in: Int(unit.sizeBytes) / size / unitCells)
        return units.lowerBound * unitCells..<units.upperBound * unitCells
    }

    private func long(_ opcode: UInt8, _ block: UInt64, _ count: UInt32, second: UInt8 = 0) -> [UInt8] {
        var cdb = [opcode, second]
        cdb.append(number: block)
        cdb.append(number: count)
        return cdb + [0, 0]
    }

    /// A command that has to be refused, and to do nothing: beyond the end, of a unit that is not there, or with data
    /// that were damaged.
    private func askWrongly(_ unit: SimulatedUnit) {
        let isDamaged = hasDigests && immediateData && world.chance(500_000)
        let isAbsent = !isDamaged && image.logicalUnit != nil && world.chance(500_000)
        let cookie = UInt64(takeTag())
        var request = Outstanding(
            image: unit.image, cookie: cookie, type: isDamaged ? CommandNumber.write : CommandNumber.read, flags: 0,
            offset: 0, length: 512, began: world.event(), sentAt: world.now)
        request.refusals = [isDamaged ? 0x020B_4705 : isAbsent ? 0x0205_2500 : 0x0205_2100]
        request.data = [UInt8](repeating: 0, count: 512)
        var task = Task(unit: isAbsent ? SimulatedUnit(unit.image, openedAt: openedAt, event: -1, number: 9) : unit)
        if isDamaged { task.payload = [UInt8](repeating: 0xEE, count: 512) }
        tasks[cookie] = task
        begin(request)
        if isDamaged { rejectsLeft += 1 }
        let cdb = isDamaged ? long(0x8A, 0, 1) : long(0x88, 1 << 40, 1)
        sayCommand(cookie, cdb, length: 512, sends: isDamaged, damages: isDamaged)
        world.note("initiator \(number) asks wrongly as \(cookie)")
    }

    /// Says a command with as much of its data as was agreed on (11.3).
    func sayCommand(_ cookie: UInt64, _ cdb: [UInt8], length: Int, sends: Bool, damages: Bool = false) {
        let payload = tasks[cookie]?.payload ?? []
        let unsolicited = sends ? min(payload.count, firstBurstBytes) : 0
        let immediate = immediateData ? min(unsolicited, sendBytes) : 0
        let end = initialR2T ? immediate : unsolicited
        let direction: UInt8 = sends ? 0x20 : length > 0 ? 0x40 : 0
        say(
            0x01, flags: (end == immediate ? 0x80 : 0) | direction | 1,
            [8: tasks[cookie]?.unit.field ?? 0, 16: UInt32(cookie), 20: UInt32(length), 24: commandSN], cdb: cdb,
            payload[..<immediate], damages: damages)
        commandSN &+= 1
        tasks[cookie]?.movedBytes = immediate
        if end > immediate { sendData(cookie, to: end, transferTag: 0xFFFF_FFFF) }
    }

    /// Data-Out PDUs of one sequence (11.7).
    private func sendData(_ cookie: UInt64, to end: Int, transferTag: UInt32) {
        guard var task = tasks[cookie] else { return }
        var dataSN: UInt32 = 0
        while task.movedBytes < end {
            let next = min(end, task.movedBytes + sendBytes)
            say(
                0x05, flags: next == end ? 0x80 : 0,
                [8: task.unit.field, 16: UInt32(cookie), 20: transferTag, 36: dataSN, 40: UInt32(task.movedBytes)],
                task.payload[task.movedBytes..<next])
            task.movedBytes = next
            dataSN += 1
        }
        tasks[cookie] = task
    }

    /// ABORT TASK of a command, ABORT TASK SET or LOGICAL UNIT RESET of a unit (11.5).
    private func manage(_ function: UInt8, of cookie: UInt64?, _ chosen: SimulatedUnit) {
        let tag = takeTag()
        let unit = cookie.flatMap { tasks[$0]?.unit } ?? chosen
        let ofUnit = outstanding.map(\.cookie).filter { tasks[$0]?.unit.logicalUnit == unit.logicalUnit }
        let affected = cookie.map { [$0] } ?? Set(ofUnit)
        if function == 5 { unit.image.mayBeReset = true }
        management = Management(tag: tag, function: function, unit: unit, affected: affected, sentAt: world.now)
        say(
            0x42, flags: 0x80 | function,
            [
                8: unit.field, 16: tag, 20: cookie.map { UInt32($0) } ?? 0xFFFF_FFFF, 24: commandSN,
                32: commandSN,
            ])
        world.note("initiator \(number) asks for function \(function) of \(cookie ?? 0)")
    }
}

/// Answers.
extension SimulatedInitiator {
    func take(_ opcode: UInt8, _ data: Range<Int>) throws {
        if opcode != 0x31 { try noteStatusSN(opcode) }
        let window = number(at: 32, as: UInt32.self)
        if Int32(bitPattern: window &- maximumCommandSN) > 0 { maximumCommandSN = window }
        switch opcode {
        case 0x23 where stage == .login: try takeLogin(bytes(data))
        case 0x21: try takeResponse(data)
        case 0x25: try takeData(data)
        case 0x31: try takeReadyToTransfer()
        case 0x22: try takeManagement()
        case 0x20:
            let tag = number(at: 20, as: UInt32.self)
            if tag != 0xFFFF_FFFF {
                say(0x40, flags: 0x80, [16: 0xFFFF_FFFF, 20: tag, 24: commandSN])
            } else if bytes(data) != [1, 2, 3] {
                throw Violation("initiator \(number): a NOP-In with \(bytes(data))")
            }
        case 0x26 where hasFinished: break
        case 0x32: world.note("initiator \(number) is asked to log out")
        case 0x3F where rejectsLeft > 0 && number(at: 2, as: UInt8.self) == 2: rejectsLeft -= 1
        default: throw Violation("initiator \(number): a PDU of opcode \(String(opcode, radix: 16))")
        }
    }

    /// Each response has the next StatSN (4.2.2.2); other PDUs show it, or have none.
    private func noteStatusSN(_ opcode: UInt8) throws {
        if opcode == 0x25, number(at: 1, as: UInt8.self) & 1 == 0 { return }
        let found = number(at: 24, as: UInt32.self)
        guard statusSN == nil || found == statusSN else {
            throw Violation("initiator \(number): StatSN \(found) where \(statusSN ?? 0) had to be")
        }
        let isQuestion = opcode == 0x20 && number(at: 16, as: UInt32.self) == 0xFFFF_FFFF
        statusSN = isQuestion ? found : found &+ 1
    }

    private func place(of tag: UInt32) throws -> Int {
        guard let place = outstanding.firstIndex(where: { $0.cookie == UInt64(tag) }) else {
            throw Violation("initiator \(number): an answer with the tag \(tag), which no task has, or no more")
        }
        return place
    }

    private func takeData(_ data: Range<Int>) throws {
        let tag = number(at: 16, as: UInt32.self)
        let place = try place(of: tag)
        let request = outstanding[place]
        guard var task = tasks[UInt64(tag)], task.payload.isEmpty, !request.data.isEmpty else {
            throw Violation("initiator \(number): data for task \(tag), which reads nothing")
        }
        guard number(at: 36, as: UInt32.self) == task.nextSN, number(at: 40, as: UInt32.self) == task.movedBytes,
            task.movedBytes + data.count <= request.data.count
        else {
            throw Violation(
                "initiator \(number): data \(number(at: 36, as: UInt32.self)) of task \(tag) at "
                    + "\(number(at: 40, as: UInt32.self)), where \(task.nextSN) at \(task.movedBytes) had to be")
        }
        takeData(place, at: task.movedBytes, from: data.lowerBound, data.count)
        task.nextSN += 1
        task.movedBytes += data.count
        tasks[UInt64(tag)] = task
        if number(at: 1, as: UInt8.self) & 1 != 0 {
            try ended(place, UInt32(number(at: 3, as: UInt8.self)) << 24)
        }
    }

    /// A SCSI Response, with sense data in fixed or descriptor format (11.4).
    private func takeResponse(_ data: Range<Int>) throws {
        let tag = number(at: 16, as: UInt32.self)
        var error = UInt32(number(at: 3, as: UInt8.self)) << 24
        if number(at: 2, as: UInt8.self) != 0 { throw Violation("initiator \(number): the target has failed") }
        let sense = Array(bytes(data).dropFirst(2))
        if error != 0, sense.count >= 8 {
            let places = sense[0] & 0x7F < 0x72 && sense.count >= 14 ? (2, 12, 13) : (1, 2, 3)
            error |= UInt32(sense[places.0] & 0x0F) << 16 | UInt32(sense[places.1]) << 8 | UInt32(sense[places.2])
        }
        try ended(try place(of: tag), error)
    }

    /// A task has its status.
    private func ended(_ place: Int, _ error: UInt32) throws {
        let request = outstanding[place]
        outstanding[place].error = error
        guard let task = tasks.removeValue(forKey: request.cookie) else { return }
        try noteNews(request, task, error)
        guard case .blocks = task.purpose else {
            outstanding.remove(at: place)
            return try endedOfUnit(request, task, error)
        }
        if error == 0, task.payload.count > task.movedBytes {
            throw Violation("initiator \(number): a write of which \(task.movedBytes) bytes were taken has succeeded")
        }
        try answered(place)
    }

    private func takeReadyToTransfer() throws {
        let tag = UInt64(number(at: 16, as: UInt32.self))
        let (offset, length) = (Int(number(at: 40, as: UInt32.self)), Int(number(at: 44, as: UInt32.self)))
        guard var task = tasks[tag] else { throw Violation("initiator \(number): an R2T for task \(tag)") }
        guard number(at: 24, as: UInt32.self) == statusSN, number(at: 36, as: UInt32.self) == task.nextSN,
            offset == task.movedBytes, length > 0, length <= maxBurstBytes, offset + length <= task.payload.count
        else {
            throw Violation(
                "initiator \(number): an R2T for \(length) bytes at \(offset) of \(task.payload.count), of which "
                    + "\(task.movedBytes) were sent")
        }
        task.nextSN += 1
        tasks[tag] = task
        sendData(tag, to: offset + length, transferTag: number(at: 20, as: UInt32.self))
    }

    /// The affected tasks have ended, and have no effect any more (11.5.1).
    private func takeManagement() throws {
        guard let management, number(at: 16, as: UInt32.self) == management.tag else {
            throw Violation("initiator \(number): an answer to a function that it has not asked for")
        }
        self.management = nil
        let response = number(at: 2, as: UInt8.self)
        let left = management.affected.filter { cookie in outstanding.contains { $0.cookie == cookie } }
        let isUnknown = management.function == 1 && response == 1
        // LUN does not exist.
        if management.function != 1, response == 2, isGone(management.unit) { return }
        guard response == 0 || isUnknown && (left.isEmpty || management.unit.image.mayBeReset) else {
            throw Violation("initiator \(number): function \(management.function) is answered with \(response)")
        }
        let now = world.event()
        world.note("initiator \(number): function \(management.function) has ended \(left.sorted())")
        for cookie in left.sorted() {
            guard let place = outstanding.firstIndex(where: { $0.cookie == cookie }) else { continue }
            if let write = outstanding[place].write {
                outstanding[place].image.model.end(write, isCertain: false, at: now)
            }
            if let cells = cellsToWriteAgain(outstanding[place]) { again.append(cells) }
            forget(outstanding[place])
            outstanding.remove(at: place)
            tasks[cookie] = nil
        }
    }

    /// Status, sense key and additional sense code as one number.
    func judgeStatus(_ request: Outstanding) throws {
        // Another initiator has reset the unit, or it has grown: the command was not begun.
        if request.error >> 16 == 0x0206, [0x29, 0x2A, 0x2F, 0x3F].contains(request.error >> 8 & 0xFF) { return }
        let mayBeTurnedAway = mayBeTurnedAway || isGone(request.image)
        if request.error == 0x0205_2500, mayBeTurnedAway { return }
        let isTransfer = request.refusals == nil
        let isKeptOut = try judgeReservation(
            request, isKeptOut: request.error == 0x1800_0000, isDone: request.error == 0 && isTransfer)
        guard !isKeptOut else { return }
        if let refusals = request.refusals {
            guard refusals.contains(request.error) || mayBeTurnedAway else {
                throw Violation(
                    "initiator \(number): \(String(request.error, radix: 16)), where "
                        + "\(refusals.map { String($0, radix: 16) }) had to be")
            }
            return
        }
        switch request.error >> 16 {
        case 0: return
        // NOT READY, ABORTED COMMAND
        case 0x0202,
            0x020B where mayBeTurnedAway:
            return
        // MEDIUM ERROR, HARDWARE ERROR, ABORTED COMMAND, DATA PROTECT
        case 0x0203, 0x0204,
            0x020B where world.mayFail:
            return
        case 0x0207 where world.mayFail && request.type != CommandNumber.read: return
        // TASK SET FULL: others have had the memory of a write whose data did not come.
        case 0x2800 where wasStalled && request.write != nil: return
        default:
            throw Violation(
                "initiator \(number): command \(request.type) has ended with \(String(request.error, radix: 16))")
        }
    }
}
