// Answers of the API, as docs/openapi.yaml describes them. Members are spelled with hyphens (see JSON).

import Blocks
import Loop
import Server
import Settings

/// The values in responses.
enum Answer {
    /// Why a request was not done.
    struct Failure: Codable {
        let error: String
    }

    /// The server.
    struct Program: Codable {
        let version: String
        let pid: Int32
        let uptimeSeconds: Int
        let endpoints: [String]
        let exports: Int
        let connections: Int
    }

    /// An overlay whose disk is like its image again, or as it was at a snapshot.
    struct Reverted: Codable {
        let export: String
        /// How much of it had been written.
        let revertedBytes: UInt64
        /// What was different; nil: nobody knows.
        let changed: Blocks?
    }

    /// An overlay whose changes are in its image now.
    struct Committed: Codable {
        let export: String
        /// How much was written to the image.
        let committedBytes: UInt64
    }

    /// What of an overlay is not its image's, or a snapshot's.
    struct Changes: Codable {
        let export: String
        /// The snapshot; nil: the image.
        let since: String?
        let changed: Blocks
    }

    /// Blocks of a disk.
    struct Blocks: Codable {
        /// How many there are.
        let sectors: UInt64
        /// Where there are many, ranges are rounded to as many.
        let unitSectors: UInt64
        /// The first and the last of each range.
        let ranges: [[UInt64]]

        init(_ blocks: BlockRanges) {
            sectors = blocks.count
            unitSectors = blocks.unit
            ranges = blocks.ranges.map { [$0.lowerBound, $0.upperBound - 1] }
        }
    }

    /// An export.
    struct Export: Codable {
        let name: String
        let description: String
        let sizeBytes: UInt64
        let logicalBlockBytes: UInt64
        let readOnly: Bool
        let tlsOnly: Bool
        let connections: Int
        let draining: Bool
        /// Only of one that stands for others.
        let template: Bool?
        /// Only of a drive with a volatile write cache.
        let power: String?
        /// The command that orders the power cut that is to come.
        let armed: String?
        /// Only of a DVD-ROM.
        let tray: Tray?
        /// What it was made of; not of a DVD-ROM.
        let image: String?
        /// Only of an overlay in a file: that file.
        let changes: String?
        /// Only of an overlay that has any.
        let snapshots: [String]?
        /// Why flushes fail.
        let flushFailure: String?
        /// Only of one that was just added, and only if there are any.
        let warnings: [String]?
        /// Only of a fork: what is not its image's.
        let changed: Blocks?

        init(_ status: ExportStatus, warnings: [ExportWarning] = [], changed: BlockRanges? = nil) {
            name = status.name
            description = status.description
            sizeBytes = status.sizeBytes
            logicalBlockBytes = status.logicalBlockBytes
            readOnly = status.isReadOnly
            tlsOnly = status.requiresTLS
            connections = status.connections
            draining = status.isDraining
            template = status.isTemplate ? true : nil
            power = status.hasPower.map { $0 ? "on" : "off" }
            armed = status.armedCut?.command(status.name)
            tray = status.tray.map { Tray(open: $0.isOpen, locked: $0.isLocked, image: $0.image) }
            image = status.image
            changes = status.changes
            snapshots = status.snapshots.isEmpty ? nil : status.snapshots
            flushFailure = status.flushFailure
            self.warnings = warnings.isEmpty ? nil : warnings.map(\.description)
            self.changed = changed.map(Blocks.init)
        }
    }

    /// The tray of a DVD-ROM.
    struct Tray: Codable {
        let open: Bool
        let locked: Bool
        /// The disc in it.
        let image: String?
    }

    /// All exports.
    struct Exports: Codable {
        let exports: [Export]
    }

    /// A client's connection.
    struct Connection: Codable {
        let number: UInt64
        let client: String
        let identity: String?
        let initiator: String?
        let export: String?
        let encrypted: Bool
        let seconds: Int
        let requestsInFlight: Int
        let loop: Int

        init(_ status: ConnectionStatus) {
            number = status.number
            client = status.client
            identity = status.identity
            initiator = status.initiator
            export = status.export
            encrypted = status.isEncrypted
            seconds = status.seconds
            requestsInFlight = status.requestsInFlight
            loop = status.loop
        }
    }

    /// All connections.
    struct Connections: Codable {
        let connections: [Connection]
    }

    /// The changes made by reading the configuration again, in words.
    struct Reload: Codable {
        let changes: [String]
    }

    /// The least severe level of the log.
    struct LogLevel: Codable {
        let level: String
    }
}
