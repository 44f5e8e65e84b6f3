// Writing qcow2 images: the disk is what was written to it, and what a power cut leaves at any moment is an image with
// all that was flushed.

import Seeded
import Testing
import WrittenQcow2

@testable import Blocks

/// An image that was just made.
private struct Fresh: Sendable, CustomTestStringConvertible {
    var clusterBits: UInt64
    var hasSubclusters = false
    var sectorCount = 700
    /// Of the backing file; 0: there is none.
    var backingSectors = 0
    /// So many clusters of the disk are stored at first.
    var storedClusters = 0

    var testDescription: String {
        "\(1 << clusterBits)\(hasSubclusters ? " subclusters" : "")\(backingSectors > 0 ? " backing" : "")"
    }

    func medium() throws -> WrittenMedium {
        let backing = (0..<backingSectors).flatMap { WrittenMedium.sector(0x8000_0000 + UInt32($0)) }
        let stored = storedClusters << clusterBits / 512
        let creation = try Qcow2Creation(
            sizeBytes: UInt64(sectorCount) * 512,
            shape: .init(clusterBits: clusterBits, hasSubclusters: hasSubclusters),
            backing: backing.isEmpty ? nil : .init(name: "base", isQcow2: false),
            extents: stored == 0 ? [] : [.init(0..<UInt64(stored) * 512)])
        var file = [UInt8](repeating: 0, count: Int(creation.fileBytes))
        creation.forEachTable { file.replaceSubrange(Int($0)..<Int($0) + $1.count, with: $1) }
        var disk = (0..<UInt32(sectorCount)).map { $0 < backingSectors ? 0x8000_0000 + $0 : 0 }
        for sector in 0..<stored {
            let place = Int(creation.dataOffsets[0]) + sector * 512
            file.replaceSubrange(place..<place + 512, with: WrittenMedium.sector(0x4000_0000 + UInt32(sector)))
            disk[sector] = 0x4000_0000 + UInt32(sector)
        }
        return try WrittenMedium(file, disk: disk, backing: backing.isEmpty ? nil : backing)
    }
}

@Suite struct Qcow2WriteTests {
    private static let images = [
        Fresh(clusterBits: 12),
        Fresh(clusterBits: 12, sectorCount: 1501, backingSectors: 900, storedClusters: 3),
        Fresh(clusterBits: 16, backingSectors: 1000),
        Fresh(clusterBits: 14, hasSubclusters: true, storedClusters: 2),
        Fresh(clusterBits: 14, hasSubclusters: true, backingSectors: 400),
        Fresh(clusterBits: 16, hasSubclusters: true, backingSectors: 701, storedClusters: 1),
    ]

    /// The file is a whole image, and the disk in it is what it may be.
    private static func check(
        _ file: [UInt8], _ medium: WrittenMedium, mayLeak: Bool, _ words: String,
        _ allowed: (Int) -> ArraySlice<UInt32>
    ) {
        let image = CheckedQcow2(file, sectorCount: medium.sectorCount)
        #expect(image.mistakes.isEmpty, "\(words)")
        #expect(mayLeak || image.leaks == 0, "\(words)")
        for sector in 0..<medium.sectorCount {
            let stamp = image.stamp(sector, backing: medium.backing)
            if let stamp, allowed(sector).contains(stamp) { continue }
            Issue.record("\(words): sector \(sector) is \(stamp as Any), and may be \(Array(allowed(sector)))")
            return
        }
    }

    /// Many requests of all kinds at once, in any order; and in the end the image has what the disk has, and no more.
    @Test(arguments: images)
    private func anyRequests(_ image: Fresh) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<6 {
            var numbers = SeededGenerator(seed: seed &+ UInt64(round))
            var medium = try image.medium()
            for _ in 0..<150 {
                medium.beginAny(&numbers)
                if Int.random(in: 0..<20, using: &numbers) == 0 { medium.begin(.flush, 0..<0) }
                while medium.underWayCount > 12, let next = medium.pending.randomElement(using: &numbers) {
                    medium.end(next)
                }
            }
            medium.endAll(&numbers)
            #expect(medium.isIdle, "seed \(seed), round \(round)")
            medium.perform(.flush, 0..<0)
            medium.perform(.read, 0..<medium.sectorCount)
            #expect(medium.mistakes.isEmpty, "seed \(seed), round \(round)")
            #expect(medium.unstable.isEmpty)
            Self.check(medium.file, medium, mayLeak: false, "seed \(seed), round \(round)") { medium.allowed($0) }
        }
    }

    /// The power goes at any moment, many requests being under way.
    @Test(arguments: images)
    private func powerCutsLoseNothingThatWasFlushed(_ image: Fresh) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var cutCount = 0
        for round in 0..<6 {
            var numbers = SeededGenerator(seed: seed &+ UInt64(round))
            var medium = try image.medium()
            for step in 0..<70 {
                medium.beginAny(&numbers, most: 20)
                if Int.random(in: 0..<6, using: &numbers) == 0 { medium.begin(.flush, 0..<0) }
                while medium.underWayCount > 5, let next = medium.pending.randomElement(using: &numbers) {
                    medium.end(next)
                    guard Int.random(in: 0..<4, using: &numbers) == 0 else { continue }
                    cutCount += 1
                    Self.check(
                        medium.cut(&numbers), medium, mayLeak: true, "seed \(seed), round \(round), step \(step)"
                    ) { medium.allowedAfterCut($0) }
                }
            }
            #expect(medium.mistakes.isEmpty, "seed \(seed), round \(round)")
        }
        #expect(cutCount > 100)
    }

    /// A short history, and every outcome of a power cut at each of its moments: any changes may be lost that no flush
    /// has made stable.
    @Test(arguments: [
        Fresh(clusterBits: 12, sectorCount: 64),
        Fresh(clusterBits: 12, sectorCount: 64, backingSectors: 40, storedClusters: 1),
        Fresh(clusterBits: 14, hasSubclusters: true, sectorCount: 128, backingSectors: 70, storedClusters: 1),
    ])
    private func everyOutcomeOfEveryCut(_ image: Fresh) throws {
        let history: [(BackendOperation, Range<Int>)] = [
            (.write, 3..<5), (.write, 17..<19), (.flush, 0..<0), (.write, 4..<10),
            (.writeZeroes(mayDeallocate: true), 0..<9),
            (.write, 30..<35), (.flush, 0..<0), (.discard, 16..<33), (.write, 31..<32), (.flush, 0..<0),
        ]
        var medium = try image.medium()
        var outcomeCount = 0
        func checkAll() {
            let losable = medium.losable
            #expect(losable.count <= 12, "there are too many to try all")
            for kept in 0..<1 << losable.count {
                let changes = losable.enumerated().filter { kept >> $0.offset & 1 != 0 }.map(\.element)
                outcomeCount += 1
                Self.check(medium.file(keeping: changes), medium, mayLeak: true, "outcome \(outcomeCount)") {
                    medium.allowedAfterCut($0)
                }
            }
        }
        for (operation, sectors) in history {
            medium.begin(operation, sectors)
            checkAll()
            while let next = medium.pending.first {
                medium.end(next)
                checkAll()
            }
        }
        #expect(medium.isIdle && medium.mistakes.isEmpty)
        #expect(outcomeCount > 150)
        Self.check(medium.file, medium, mayLeak: false, "in the end") { medium.allowed($0) }
    }

    /// Refcounts that call the data free: nothing of the file is written over all the same.
    @Test func wrongRefcountsDestroyNothing() throws {
        let image = Fresh(clusterBits: 12, sectorCount: 64, storedClusters: 3)
        var file = try image.medium().file
        // A new image has its header, the refcount table, one refcount block of 16 bits each, and the rest behind it.
        for cluster in 1..<file.count >> 12 {
            file.replaceSubrange((2 << 12) + cluster * 2..<(2 << 12) + cluster * 2 + 2, with: [0, 0])
        }
        let disk = (0..<UInt32(64)).map { $0 < 24 ? 0x4000_0000 + $0 : 0 }
        var medium = try WrittenMedium(file, disk: disk)
        for cluster in 3..<8 {
            medium.perform(.write, cluster * 8..<cluster * 8 + 3)
            medium.perform(.flush, 0..<0)
        }
        medium.perform(.read, 0..<64)
        #expect(medium.isIdle && medium.failureCount == 0)
        #expect(medium.mistakes.isEmpty)
        #expect(medium.file.starts(with: file[..<(1 << 12)]), "the header is as it was")
    }

    /// Tables at random: each request ends, and nobody writes to a backing file.
    @Test(arguments: images)
    private func damagedTablesEndARequest(_ image: Fresh) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var failureCount = 0
        for round in 0..<40 {
            var numbers = SeededGenerator(seed: seed &+ UInt64(round))
            var medium = try image.medium()
            // Something is written first, so that there are tables.
            for _ in 0..<12 { medium.beginAny(&numbers) }
            medium.endAll(&numbers)
            medium.perform(.flush, 0..<0)
            var file = medium.file
            // Tables are in the clusters behind the header, and entries that are used are not zero.
            let clusterBytes = 1 << image.clusterBits
            let places = stride(from: clusterBytes, to: min(5 * clusterBytes, file.count), by: 8).filter {
                file[$0] != 0 || file[$0 + 1] != 0 || file[$0 + 5] != 0 || file[$0 + 7] != 0
            }
            for _ in 0..<Int.random(in: 1...12, using: &numbers) {
                guard let place = places.randomElement(using: &numbers) else { continue }
                let offset = UInt64.random(in: 0..<UInt64(file.count) * 2, using: &numbers)
                let aligned = offset & ~(1 << image.clusterBits - 1)
                let number = [0, offset, aligned, aligned | 1 << 63, aligned | 1 << 62, .max].randomElement(
                    using: &numbers)
                for byte in 0..<8 { file[place + byte] = UInt8(truncatingIfNeeded: number! >> UInt64(56 - byte * 8)) }
            }
            let disk = [UInt32](repeating: 0, count: medium.sectorCount)
            var damaged = try WrittenMedium(file, disk: disk, backing: medium.backing)
            for _ in 0..<40 {
                damaged.beginAny(&numbers)
                if Int.random(in: 0..<10, using: &numbers) == 0 { damaged.begin(.flush, 0..<0) }
                while damaged.underWayCount > 8, let next = damaged.pending.randomElement(using: &numbers) {
                    damaged.end(next)
                }
            }
            damaged.endAll(&numbers)
            #expect(damaged.isIdle, "seed \(seed), round \(round)")
            #expect(!damaged.mistakes.contains("a backing file is written"))
            failureCount += damaged.failureCount
        }
        #expect(failureCount > 0, "seed \(seed)")
    }

    /// What fails below fails the request; what was flushed before is there, and the image is whole.
    @Test(arguments: images)
    private func failuresBelowHarmNobodyElse(_ image: Fresh) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        for round in 0..<10 {
            var numbers = SeededGenerator(seed: seed &+ UInt64(round))
            var medium = try image.medium()
            for _ in 0..<80 {
                medium.beginAny(&numbers, most: 12)
                if Int.random(in: 0..<8, using: &numbers) == 0 { medium.begin(.flush, 0..<0) }
                while medium.underWayCount > 8, let next = medium.pending.randomElement(using: &numbers) {
                    let fails = Int.random(in: 0..<30, using: &numbers) == 0
                    medium.end(next, fails ? .failed(.noSpace, afterBytes: 0) : .done)
                }
            }
            medium.endAll(&numbers)
            #expect(medium.isIdle && medium.mistakes.isEmpty, "seed \(seed), round \(round)")
            Self.check(medium.cut(&numbers), medium, mayLeak: true, "seed \(seed), round \(round)") {
                medium.allowedAfterCut($0)
            }
        }
    }
}
