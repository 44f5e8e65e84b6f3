// A mapping of memory with an owner, and ranges of it.

import Glibc

/// Zeroed memory that costs nothing until it is touched. It is given back with its owner.
@safe
public struct MappedRegion: ~Copyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    /// Its size.
    public let byteCount: Int

    /// Maps memory.
    public init(byteCount: Int) throws(RingError) {
        unsafe base = try mapMemory(byteCount: byteCount)
        self.byteCount = byteCount
    }

    deinit {
        unsafe munmap(base, byteCount)
    }

    /// A part of it. The caller promises that nobody uses it for longer than this value is there.
    @unsafe @inlinable public subscript(range: Range<Int>) -> MemoryRange {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "the memory ends before")
        return unsafe MemoryRange(base + range.lowerBound, count: range.count)
    }

    /// Gives whole pages of a part back to the kernel; they read as zeroes then. Nothing that matters is in them.
    public func trim(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "the memory ends before")
        unsafe trimMemory(base + range.lowerBound, byteCount: range.count)
    }
}

/// Some bytes of memory. Each use checks that it stays inside. That the memory is there is the promise of whoever makes
/// one, which is unsafe: that of a connection slot and of a loop is there for as long as they are.
@safe
public struct MemoryRange {
    /// The first of them; nil if there are none.
    public let start: UnsafeMutableRawPointer?
    /// How many bytes there are.
    public let count: Int

    /// Bytes that somebody else owns.
    @unsafe @inlinable public init(_ start: UnsafeMutableRawPointer?, count: Int) {
        precondition(count >= 0, "a range has a length")
        unsafe self.start = unsafe start
        self.count = count
    }

    /// No bytes.
    @inlinable public static var empty: MemoryRange { unsafe MemoryRange(nil, count: 0) }

    /// There are none.
    @inlinable public var isEmpty: Bool { count == 0 }

    /// A part of them.
    @inlinable public subscript(range: Range<Int>) -> MemoryRange {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "the range ends before")
        return unsafe MemoryRange(start.map { unsafe $0 + range.lowerBound }, count: range.count)
    }

    /// All but the first ones.
    @inlinable public func dropFirst(_ number: Int) -> MemoryRange { self[number..<count] }

    /// A copy of them.
    public var bytes: [UInt8] { unsafe Array(UnsafeRawBufferPointer(start: start, count: count)) }

    /// Has somebody read them.
    @inlinable public func withBytes<Result>(_ body: (RawSpan) -> Result) -> Result {
        body(unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: start, count: count)))
    }

    /// Has somebody change them.
    @inlinable public func withMutableBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var span = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(start: start, count: count))
        return body(&span)
    }

    /// Has somebody read them, and change those of another range.
    @inlinable public func withBytes<Result>(
        into target: MemoryRange, _ body: (RawSpan, inout MutableRawSpan) -> Result
    ) -> Result {
        let bytes = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: start, count: count))
        var room = unsafe MutableRawSpan(
            _unsafeBytes: UnsafeMutableRawBufferPointer(start: target.start, count: target.count))
        return body(bytes, &room)
    }

    /// Copies the first bytes of another range here, as many as there is room for.
    ///
    /// - Returns: how many.
    @inlinable public func copy(_ other: MemoryRange) -> Int {
        let number = min(count, other.count)
        if let target = unsafe start, let source = unsafe other.start, number > 0 {
            unsafe target.copyMemory(from: source, byteCount: number)
        }
        return number
    }
}

/// Memory from malloc(3) with an owner.
@safe
public struct HeapBytes: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer

    /// Takes memory, which begins at a page.
    public init(count: Int) {
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    }

    /// Takes memory for bytes, and copies them there.
    public init(_ bytes: [UInt8]) {
        self.init(count: bytes.count)
        unsafe memory.copyBytes(from: bytes)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// All of it. The caller promises that nobody uses it for longer than this value is there.
    @unsafe public var range: MemoryRange { unsafe MemoryRange(memory.baseAddress, count: memory.count) }
}
