// What a simulated kernel does with files and sockets.

import CLibURing
import Glibc
import IOUring

extension SimulatedKernel {
    /// Fewer bytes than there could be, at least one unit.
    private func part(of count: Int, unit: Int) -> Int {
        guard count > unit else { return count }
        return Int.random(in: 1...(count - 1) / unit, using: &numbers) * unit
    }

    // MARK: Sockets

    /// - Returns: whether the operation goes on.
    func receive(_ operation: Operation) -> Bool {
        let entry = operation.entry
        guard let group = rings[operation.ring].groups[entry.buf_group], !group.isEmpty else {
            end(operation, -ENOBUFS)
            return false
        }
        if chance(behaviour.resets) {
            // What the client sees of that is the end.
            shutdown(entry.fd, Int32(SHUT_RDWR))
            end(operation, -ECONNRESET)
            return false
        }
        let buffer = group.first
        var count = Int(buffer.len)
        if chance(behaviour.shortSocketTransfers) { count = part(of: min(count, 4096), unit: 1) }
        let received = recv(
            entry.fd, UnsafeMutableRawPointer(bitPattern: UInt(buffer.addr)), count, Int32(MSG_DONTWAIT))
        guard received > 0 else {
            let code = received < 0 ? errno : 0
            if code == EAGAIN { return true }
            end(operation, -code)
            return false
        }
        rings[operation.ring].groups[entry.buf_group]?.removeFirst()
        let goesOn = !chance(behaviour.endedMultishots)
        end(
            operation, Int32(received),
            flags: UInt32(IORING_CQE_F_BUFFER) | UInt32(buffer.bid) << UInt32(IORING_CQE_BUFFER_SHIFT)
                | (goesOn ? UInt32(IORING_CQE_F_MORE) : 0))
        return goesOn
    }

    /// Nothing tells a receive that there will be no more, now that it has all bytes.
    func missesEnd(_ socket: Int32) -> Bool {
        guard chance(behaviour.missedEnds) else { return false }
        return LinuxFile.sendsNoMore(socket) && LinuxFile.receivedBytes(socket) == 0
    }

    /// - Returns: whether the operation goes on: there was no room after all.
    func send(_ operation: Operation) -> Bool {
        let entry = operation.entry
        let vectors = UnsafePointer<iovec>(bitPattern: UInt(entry.addr))
        var parts = Array(UnsafeBufferPointer(start: vectors, count: Int(entry.len)))
        if chance(behaviour.shortSocketTransfers) {
            var left = part(of: parts.reduce(0) { $0 + $1.iov_len }, unit: 1)
            for number in parts.indices {
                parts[number].iov_len = min(parts[number].iov_len, left)
                left -= parts[number].iov_len
            }
        }
        let sent = parts.withUnsafeMutableBufferPointer { parts in
            var message = msghdr()
            message.msg_iov = parts.baseAddress
            message.msg_iovlen = parts.count
            return sendmsg(entry.fd, &message, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        let code = sent < 0 ? errno : 0
        if code == EAGAIN { return true }
        end(operation, sent < 0 ? -code : Int32(sent))
        return false
    }

    /// - Returns: whether the operation goes on.
    func poll(_ operation: Operation) -> Bool {
        let events = Int16(truncatingIfNeeded: operation.entry.poll32_events)
        var state = pollfd(fd: operation.entry.fd, events: events, revents: 0)
        guard Glibc.poll(&state, 1, 0) > 0 else { return true }
        end(operation, Int32(state.revents))
        return false
    }

    // MARK: Files

    /// READ and WRITE.
    func transfer(_ operation: Operation) {
        let entry = operation.entry
        let memory = UnsafeMutableRawPointer(bitPattern: UInt(entry.addr))
        guard isFileOperation(entry) else {
            let count = read(entry.fd, memory, Int(entry.len))
            return end(operation, count < 0 ? -errno : Int32(count))
        }
        let writes = entry.opcode == UInt8(IORING_OP_WRITE.rawValue)
        guard !filesAreDead else { return end(operation, -EIO) }
        var count = Int(entry.len)
        if chance(behaviour.shortFileTransfers) { count = part(of: count, unit: behaviour.transferUnitBytes) }
        if chance(writes ? behaviour.failedWrites : behaviour.failedReads) {
            // Some of it may have been done.
            if writes, Bool.random(using: &numbers) {
                count = part(of: count, unit: behaviour.transferUnitBytes)
                _ = pwrite(entry.fd, memory, count, off_t(truncatingIfNeeded: entry.off))
            }
            return end(operation, writes && Bool.random(using: &numbers) ? -ENOSPC : -EIO)
        }
        let offset = off_t(truncatingIfNeeded: entry.off)
        let done = writes ? pwrite(entry.fd, memory, count, offset) : pread(entry.fd, memory, count, offset)
        end(operation, done < 0 ? -errno : Int32(done))
    }

    /// FALLOCATE.
    func allocate(_ entry: io_uring_sqe) -> Int32 {
        guard !filesAreDead, !chance(behaviour.failedAllocations) else { return -EIO }
        let mode = Int32(bitPattern: entry.len)
        let offset = entry.off
        let length = entry.addr
        guard mode == LinuxFile.zeroRange else {
            guard !behaviour.lacksHoles else { return -EOPNOTSUPP }
            return -LinuxFile.allocate(entry.fd, mode: mode, offset: offset, length: length)
        }
        guard !behaviour.lacksZeroRanges else { return -EOPNOTSUPP }
        // Files in memory do not know it: writing comes to the same.
        guard length <= 1 << 30 else { return -EFBIG }
        let zeroes = [UInt8](repeating: 0, count: Int(length))
        return pwrite(entry.fd, zeroes, zeroes.count, off_t(truncatingIfNeeded: offset)) < 0 ? -errno : 0
    }

    /// An FSYNC covers what was written before it began. (It may cover more; the least is what counts.)
    ///
    /// - Returns: how it will end.
    func beginFlush(_ descriptor: Int32) -> Int32 {
        guard fcntl(descriptor, F_GETFD) >= 0 else { return -EBADF }
        guard !filesAreDead else { return -EIO }
        guard let disk = disks.first(where: { $0.isFile(descriptor) }) else {
            return fdatasync(descriptor) == 0 ? 0 : -errno
        }
        disk.writeBack(isFailing: chance(behaviour.failedFlushes))
        return 0
    }

    func endFlush(_ operation: Operation) -> Int32 {
        guard operation.flushResult == 0 else { return operation.flushResult }
        guard let disk = disks.first(where: { $0.isFile(operation.entry.fd) }) else { return 0 }
        return disk.tell(operation.entry.fd)
    }
}
