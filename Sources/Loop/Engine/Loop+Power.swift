// Drives with a volatile write cache that lose their power: what becomes of their sessions and requests.

import Blocks

extension Loop {
    /// The drive has no power any more. A session ends with the first of its units that has none.
    mutating func cutOff(_ entry: ExportEntry) {
        // A loop may read the order after the power is back, and who has opened the drive since then has it.
        guard let absence = entry.absence else { return }
        if isOpen(entry) { exports[entry.number].blocks.losePower() }
        for slot in usedSlots where hasOpen(entry, slot) {
            note(.notice, "client cut off", slot, ["reason": .string(absence.cause)])
            abort(slot, .stopped)
            finishIfIdle(slot)
        }
    }

    /// The drive has no power any more, and its sessions hang: none of their requests begins, and none is answered.
    mutating func hang(_ entry: ExportEntry) {
        guard !entry.isOn, isOpen(entry) else { return }
        for slot in usedSlots where hasOpen(entry, slot) {
            note(.notice, "client hangs", slot, ["reason": "the power of its drive was cut"])
            connections[slot].isHanging = true
        }
        exports[entry.number].blocks.losePower()
        exports[entry.number].isHanging = true
        handBackIfStill(entry.number)
    }

    /// - Returns: whether the drive has power.
    mutating func orderPower(of entry: ExportEntry, _ moment: CutMoment?) -> Bool {
        guard isOpen(entry) else { return entry.order(moment) }
        exports[entry.number].blocks.order(moment)
        return exports[entry.number].blocks.hasPower
    }

    /// A request of a drive without power has come as far as it comes.
    mutating func noteWithoutPower(_ export: ExportNumber) {
        if exports[export].blocks.takePowerLoss() {
            let entry = exports[export].entry
            entry.powerHasGone(connectionStatuses().filter { $0.export == entry.name })
        }
        if exports[export].isHanging { handBackIfStill(export) }
    }

    /// Gives back what the drive has when nothing of it is on its way to the image, or from there, or waits in a layer
    /// of the image: a cut decides what becomes of it.
    private mutating func handBackIfStill(_ export: ExportNumber) {
        for slot in usedSlots {
            for place in slot.places
            where layered.contains(place) && !layered[place].isOutside && requests[place].unit == export {
                guard layered[place].isWaitingForOthers, waitsForPower(place, export) else {
                    return hurryHeld(of: export)
                }
            }
        }
        exports[export].handBack(fromHome: true)
    }

    /// Requests of a connection that ends may wait for a drive without power, which never goes on: they are given up.
    mutating func giveUpWaiting(_ slot: ConnectionSlot) {
        guard connections[slot].busyRequests > 0 else { return }
        // It stays until all of them have ended.
        connections[slot].busyRequests += 1
        for place in slot.places where layered.contains(place) && layered[place].isWaitingForOthers {
            let unit = requests[place].unit
            guard waitsForPower(place, unit) else { continue }
            exports[unit].blocks.losePower()
            wakeOthers(unit)
        }
        connections[slot].busyRequests -= 1
    }
}
