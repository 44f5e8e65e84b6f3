// An export as it is to be served.

import Backends
import Blocks
import Units

/// One drive to serve.
public struct ServedExport: Sendable {
    /// The name that clients ask for.
    public var name: String
    /// A text for people; nil: the drive's description.
    public var description: String?
    /// The drive at power-on, as large as its medium.
    public var drive: ExportedDrive
    /// Where its sectors live.
    public var backend: Backend
    /// The backing files of its image, for which ``BackendRequest/file`` stands from 1 on.
    public var backings: [Backend] = []
    /// What an overlay in memory begins with, above its image: the newest first.
    public var levels: [FrozenLevel] = []
    /// The file of its recording; nil: it has none.
    public var recording: Backend?
    /// Its files that were not there before.
    public var madeFiles: [Backend] = []
    /// Its image was dirty, and has new refcounts.
    public var isRepaired = false
    /// The name of that image, for people.
    public var image = ""
    /// The layers between the drive and the backend: as a rule none.
    public var blocks = BlockStack() {
        didSet {
            hasLayers = hasLayers || !blocks.isEmpty
            hasOwnSize = hasOwnSize || blocks.diskBytes != nil
            hasOverlay = hasOverlay || blocks.overlay != nil
        }
    }
    /// There are some, wherever they are now.
    public private(set) var hasLayers = false
    /// One of them says how large the disk is, not the image's file.
    public private(set) var hasOwnSize = false
    /// Changes are kept beside the image, where a revert forgets them.
    public var isOverlay: Bool { hasOverlay || changes != nil }
    private var hasOverlay = false
    /// The image that an overlay's changes can be brought to; nil: it is none, or begins with a snapshot of another.
    public var base: OverlayBase?
    /// The backend has the changes of an overlay.
    public var changes: ChangesFile?
    /// The options of its target.
    public var target = TargetOptions()
    /// The persistent reservations that were kept of it, and where they are kept; nil: nowhere.
    public var reservations: KeptReservations?
    /// The file that keeps the state of its whole disk; nil: nothing does.
    public var state: StateFile?
    /// Only clients that have begun TLS may open it.
    public var requiresTLS = false
    /// Clients that any of these rules lets in may open it; without a rule everybody may.
    public var access: [AccessRule] = []
    /// How many connections may have it open at a time; nil: as many as the server takes.
    public var maximumConnections: Int?
    /// What clients get in its place; nil: itself.
    public var copies: Copies?
    /// How long it is there.
    public var lifetime = Lifetime.unlimited
    /// A client that opens it ends its own connections from earlier: see ``Fence``.
    public var isTakenOver = false

    /// A file is its image, or one of those below it.
    public func uses(_ file: FileNumber) -> Bool {
        backend.fileNumber == file || backings.contains { $0.fileNumber == file }
    }

    /// Its image, to be compared with what is there later. It has not been closed.
    public var imageIdentity: ImageIdentity {
        ImageIdentity(files: ([backend] + backings).compactMap(\.fileNumber), sizeBytes: drive.sizeBytes)
    }

    /// Describes an export.
    public init(name: String, drive: ExportedDrive, backend: Backend) {
        self.name = name
        self.drive = drive
        self.backend = backend
    }
}

/// Which image an export has.
public struct ImageIdentity: Equatable, Sendable {
    /// Its files: what drives write to first, if that is one.
    let files: [FileNumber]
    /// The size of the drive above it.
    let sizeBytes: UInt64
}
