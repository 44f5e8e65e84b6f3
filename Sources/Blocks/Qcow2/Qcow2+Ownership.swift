// Which parts of the disk the images in front of a chain have, and which come from behind these.

extension Qcow2 {
    /// The next step of a search.
    public enum OwnershipStep {
        /// So many bytes from the beginning of the range on are in one of the images, or in none.
        case found(isOwn: Bool, byteCount: UInt64)
        /// A piece of a table has to be read first: the search goes on after ``endReading(_:_:isRead:)``.
        case read(BackendRequest, slot: Int)
    }

    /// Looks who has the beginning of a range of the disk. No request is under way in the layer.
    ///
    /// - Parameter count: how many images are asked, from the first on.
    public mutating func ownership(
        of range: Range<UInt64>, ofFirst count: Int
    ) throws(Qcow2Damage) -> OwnershipStep {
        let offset = range.lowerBound
        var end = range.upperBound
        for file in 0..<count {
            let sizeBytes = images[file].header.sizeBytes
            // It reads as zeroes, whatever is behind it.
            guard offset < sizeBytes else { return .found(isOwn: true, byteCount: end - offset) }
            end = min(end, sizeBytes)
            var table: Qcow2Image.L2Table?
            let finding = try images[file].find(offset..<end, &table) { first, next, _ in
                (first == .unallocated) == (next == .unallocated)
            }
            switch finding {
            case .lacks(let place, .missing(let slot)):
                var request = images[file].reading(place, into: slot)
                request.file = UInt8(file)
                return .read(request, slot: slot)
            case .lacks(let place, _):
                throw Qcow2Damage(kind: .overlap, diskOffset: offset, fileOffset: place)
            case .found(let run):
                guard run.mapping == .unallocated else { return .found(isOwn: true, byteCount: run.byteCount) }
                end = offset + run.byteCount
            }
        }
        return .found(isOwn: false, byteCount: end - offset)
    }

    /// A piece of a table has been read, or could not be.
    public mutating func endReading(_ request: BackendRequest, _ slot: Int, isRead: Bool) {
        images[Int(request.file)].endReading(slot, isRead: isRead)
    }
}
