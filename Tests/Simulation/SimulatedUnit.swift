// A logical unit as an initiator has it.

import Support

final class SimulatedUnit {
    enum Stage {
        case new
        /// A new session has a unit attention to tell.
        case attention
        case capacity
        case open
    }

    let image: SimulatedImage
    let logicalUnit: UInt8
    var stage = Stage.new
    var sizeBytes: UInt64 = 0
    let openedAt: UInt64
    /// Since when the session has it for certain.
    let event: Int
    /// It has told of units that have come or gone: when that was asked for, and when it was known.
    var toldBegan: Int
    var toldAt: Int
    /// Its reservations are to be looked at.
    var wantsStatus = true

    init(_ image: SimulatedImage, openedAt: UInt64, event: Int, number: UInt8? = nil) {
        self.image = image
        self.openedAt = openedAt
        self.event = event
        toldBegan = event
        toldAt = event
        logicalUnit = number ?? image.logicalUnit ?? 0
    }

    /// The first half of the LUN field: peripheral device addressing (SAM-5 4.7.4).
    var field: UInt32 { UInt32(logicalUnit) << 16 }
}

extension SimulatedInitiator {
    /// What a command is for.
    enum Purpose {
        case blocks
        case ready
        case capacity
        /// REPORT LUNS.
        case inventory
        case change(ReservationModel.Action)
        /// READ FULL STATUS.
        case status
    }
}

/// The units of a session: which there are, how large they are.
extension SimulatedInitiator {
    /// A unit that may be asked.
    func chooseUnit() -> SimulatedUnit {
        let open = units.filter { $0.stage == .open }
        guard open.count > 1 else { return open.first ?? units[0] }
        return open[Int.random(in: 0..<open.count, using: &world.numbers)]
    }

    /// Commands about the units themselves.
    ///
    /// - Returns: whether there was one.
    func askAboutUnits() -> Bool {
        if image.logicalUnit != nil {
            if world.chance(wantsInventory ? 300_000 : 20_000) {
                askInventory()
                return true
            }
            let asked = outstanding.compactMap { tasks[$0.cookie]?.unit }
            if let unit = units.first(where: { unit in unit.stage != .open && !asked.contains { $0 === unit } }) {
                setUp(unit)
                return true
            }
            if units.isEmpty { return true }
        }
        guard world.profile.reservations > 0 else { return false }
        let unit = chooseUnit()
        guard unit.stage == .open else { return false }
        if unit.wantsStatus, askStatus(unit) { return true }
        return world.chance(world.profile.reservations) && askReservation(unit)
    }

    /// A command that is not for blocks. Its answer is a READ's that nobody compares.
    func ask(_ purpose: Purpose, _ unit: SimulatedUnit, _ cdb: [UInt8], length: Int, sending payload: [UInt8] = []) {
        let cookie = UInt64(takeTag())
        var request = Outstanding(
            image: unit.image, cookie: cookie, type: CommandNumber.cache, flags: 0, offset: 0, length: UInt64(length),
            began: world.event(), sentAt: world.now)
        request.data = [UInt8](repeating: 0, count: length)
        var task = Task(unit: unit)
        task.purpose = purpose
        task.payload = payload
        tasks[cookie] = task
        begin(request)
        sayCommand(cookie, cdb, length: payload.isEmpty ? length : payload.count, sends: !payload.isEmpty)
        world.note("initiator \(number) asks \(purpose) of unit \(unit.logicalUnit) as \(cookie)")
    }

    func askInventory() {
        wantsInventory = false
        let unit = units.first ?? SimulatedUnit(image, openedAt: openedAt, event: world.event())
        ask(.inventory, unit, [0xA0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], length: 512)
    }

    func setUp(_ unit: SimulatedUnit) {
        unit.stage = .attention
        ask(.ready, unit, [UInt8](repeating: 0, count: 6), length: 0)
    }

    /// The unit is gone, or was removed and has come anew.
    func isGone(_ unit: SimulatedUnit) -> Bool {
        unit.image.isEnding || unit.openedAt < unit.image.servedSince
    }

    func isGone(_ image: SimulatedImage) -> Bool {
        units.contains { $0.image === image && isGone($0) }
            || image.logicalUnit != nil && !units.contains { $0.image === image }
    }

    /// A command has no answer, and will have none.
    func forget(_ request: Outstanding) {
        forgottenAt = world.event()
        guard let task = tasks[request.cookie] else { return }
        switch task.purpose {
        case .blocks: break
        case .ready, .capacity: task.unit.stage = .new
        case .inventory: wantsInventory = true
        case .change(let action): _ = request.image.reservations?.end(action, nil)
        case .status: request.image.reservations?.asker = nil
        }
    }

    /// A command that was not for blocks has its status.
    func endedOfUnit(_ request: Outstanding, _ task: Task, _ error: UInt32) throws {
        world.note("initiator \(number): \(task.purpose) of unit \(task.unit.logicalUnit): \(error)")
        let unit = task.unit
        switch task.purpose {
        case .blocks: break
        case .ready: try ended(ready: unit, error)
        case .capacity:
            let data = request.data
            if error == 0 {
                unit.sizeBytes = (data[0..<8].reduce(0) { $0 << 8 | UInt64($1) } + 1) * 512
                unit.stage = .open
            } else if error >> 16 == 0x0206 {
                return setUp(unit)
            } else if error == 0x0205_2500, isGone(unit) {
                units.removeAll { $0 === unit }
            } else {
                return close()
            }
            goOnSettingUp()
        case .inventory: try ended(inventory: request, error)
        case .change(let action): try ended(change: action, request, error)
        case .status: try ended(status: request, unit, error)
        }
    }

    private func ended(ready unit: SimulatedUnit, _ error: UInt32) throws {
        // The unit's first answer comes behind the fence, too.
        noteFirstReply(world.event())
        if error >> 16 == 0x0206 { return setUp(unit) }
        if error == 0x0205_2500, isGone(unit) {
            units.removeAll { $0 === unit }
            return goOnSettingUp()
        }
        guard error == 0 else {
            guard mayBeTurnedAway || isGone(unit) || world.mayFail else {
                throw Violation("initiator \(number): the unit is not ready, \(String(error, radix: 16))")
            }
            return close()
        }
        unit.stage = .capacity
        ask(.capacity, unit, [0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], length: 32)
    }

    private func goOnSettingUp() {
        guard stage == .setUp else { return }
        if let unit = units.first(where: { $0.stage == .new }) { return setUp(unit) }
        guard !units.isEmpty else { return close() }
        stage = .open
        phase = .transmission
        world.note("initiator \(number) has \(image.name) open")
    }

    // MARK: Which there are

    /// REPORT LUNS (SPC-4).
    private func ended(inventory request: Outstanding, _ error: UInt32) throws {
        let data = request.data
        guard error == 0 else {
            guard mayBeTurnedAway || error == 0x0205_2500 && isTurnedAway else {
                throw Violation("initiator \(number): REPORT LUNS has ended with \(String(error, radix: 16))")
            }
            return close()
        }
        let count = data[0..<4].reduce(0) { $0 << 8 | Int($1) } / 8
        let numbers = (0..<min(count, 63)).map { data[8 + 8 * $0 + 1] }
        guard numbers == numbers.sorted(), Set(numbers).count == numbers.count else {
            throw Violation("initiator \(number): REPORT LUNS has \(numbers)")
        }
        try check(inventory: numbers, request)
        let now = world.event()
        for unit in units { (unit.toldBegan, unit.toldAt) = (request.began, now) }
        units.removeAll { unit in
            !numbers.contains(unit.logicalUnit) || unit.openedAt < unit.image.servedSince && !unit.image.isEnding
        }
        for image in world.images where image.logicalUnit.map(numbers.contains) == true {
            guard !units.contains(where: { $0.image === image }) else { continue }
            let unit = SimulatedUnit(image, openedAt: world.now, event: now)
            unit.toldBegan = request.began
            units.append(unit)
        }
        goOnSettingUp()
    }

    private func check(inventory numbers: [UInt8], _ request: Outstanding) throws {
        for number in numbers where !world.images.contains(where: { $0.logicalUnit == number }) {
            throw Violation("initiator \(self.number): there is no unit \(number)")
        }
        for image in world.images {
            let isListed = numbers.contains(image.logicalUnit ?? 0)
            guard let last = world.changes.last(where: { $0.image === image }) else {
                guard isListed || image.isEnding else {
                    throw Violation("initiator \(number): REPORT LUNS lacks \(image.name), which has always been there")
                }
                continue
            }
            // What it does now, it had done before it was asked.
            guard let settled = last.settled, settled < request.began else { continue }
            // A session ends with its last unit, and opens no others.
            let isThere = last.isAddition && !image.isEnding && !isTurnedAway
            let isAbsent = !last.isAddition && !isTurnedAway
            guard isThere ? isListed : !(isAbsent && isListed) else {
                throw Violation("initiator \(number): REPORT LUNS has \(numbers), \(image.name) is there: \(isThere)")
            }
        }
    }

    /// REPORTED LUNS DATA HAS CHANGED is told when it is true, and before anything else is done (SPC-4).
    func noteNews(_ request: Outstanding, _ task: Task, _ error: UInt32) throws {
        let unit = task.unit
        guard image.logicalUnit != nil, unit.logicalUnit != 9 else { return }
        if case .inventory = task.purpose { return }
        if error == 0x0206_3F0E {
            guard world.changes.contains(where: { ($0.settled ?? .max) > unit.toldBegan }) else {
                throw Violation(
                    "initiator \(number): unit \(unit.logicalUnit) says that there are others, which is not so")
            }
            wantsInventory = true
            (unit.toldBegan, unit.toldAt) = (request.began, world.event())
        }
        // A reset takes the place of what was to be told before it.
        if error >> 8 == 0x0002_0629 { unit.toldAt = world.event() }
        guard error == 0, unit.stage == .open, !isGone(unit) else { return }
        let others = outstanding.filter { $0.cookie != request.cookie }
        guard
            !others.contains(where: { other in
                guard let task = tasks[other.cookie] else { return false }
                if case .inventory = task.purpose { return true }
                return task.unit.logicalUnit == unit.logicalUnit
            })
        else { return }
        let untold = world.changes.first { change in
            guard let settled = change.settled, settled < request.began, forgottenAt < settled else { return false }
            let isNews = change.isAddition || units.contains { $0.image === change.image && $0.event < change.event }
            return change.image !== unit.image && change.event > max(unit.toldAt, unit.event) && isNews
        }
        if let untold {
            throw Violation(
                "initiator \(number): unit \(unit.logicalUnit) has not told that \(untold.image.name) has "
                    + (untold.isAddition ? "come" : "gone"))
        }
    }
}
