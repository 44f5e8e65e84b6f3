// A disc goes, and another one comes: each loop lets go of the image.

/// A loop is to serve an export from where its medium is now.
struct MediumToTake {
    let entry: ExportEntry
    let answer: Gathered<Bool>
    /// When this loop was told, in its seconds.
    var since = 0
}

extension Loop {
    /// The disc of an export is another one, or none: ``ExportEntry/backend``. Its drive is empty meanwhile, so that no
    /// request that begins now comes as far as the old one. Those that have begun are waited for.
    mutating func takeMedium(_ taking: MediumToTake) {
        endClientsOfOneMedium(taking.entry)
        for slot in usedSlots where hasOpen(taking.entry, slot) {
            for place in slot.places where requests.contains(place) && requests[place].unit == taking.entry.number {
                if requests[place].hasBegun || requests[place].payload.isPageCache {
                    requests[place].usesOldMedium = true
                }
            }
        }
        mediaToTake.append(taking)
        mediaToTake[mediaToTake.count - 1].since = now
        takeMedia()
    }

    /// Once a second: a client that does not take its replies keeps the old disc of an export no longer than
    /// ``Limits/stallSeconds``.
    mutating func endSlowReaders() {
        let limit = shared.limits.stallSeconds
        for taking in mediaToTake where taking.since + limit <= now {
            for slot in usedSlots where hasOpen(taking.entry, slot) && keepsOldMedium(slot, taking.entry) {
                end(slot, .stalled, "the disc is out, and it has not taken what it has read of it in \(limit) s")
            }
        }
    }

    /// A reply that its client is to take needs the old disc of an export.
    private func keepsOldMedium(_ slot: ConnectionSlot, _ entry: ExportEntry) -> Bool {
        for number in 0..<connections[slot].replies.count {
            let place = connections[slot].replies[number]
            if requests[place].usesOldMedium && requests[place].unit == entry.number { return true }
        }
        return false
    }

    /// Takes the media that nothing holds up any more.
    mutating func takeMedia() {
        for number in mediaToTake.indices.reversed() where isFree(mediaToTake[number].entry) {
            let taking = mediaToTake.remove(at: number)
            let entry = taking.entry
            if exports.contains(entry.number), exports[entry.number].entry === entry {
                exports[entry.number].takeMedium()
            }
            taking.answer.add([true])
        }
    }

    /// No request uses the old disc of an export.
    private func isFree(_ entry: ExportEntry) -> Bool {
        for slot in usedSlots where hasOpen(entry, slot) {
            guard connections[slot].lookUpsUnderWay == 0 else { return false }
            for place in slot.places where requests.contains(place) && requests[place].unit == entry.number {
                guard !requests[place].usesOldMedium else { return false }
            }
        }
        return true
    }
}
