// What several overlays in memory have in common.

import Blocks

/// Changes that nobody adds to any more: overlays share them, and with the last one they go.
public final class FrozenLevel: Sendable {
    /// Where they are.
    public let backend: Backend
    /// Which blocks of the disk they are.
    public let map: OverlayMap

    /// Takes what an overlay has written so far. Requests to it have ended.
    public init(_ backend: Backend, _ map: OverlayMap) {
        self.backend = backend
        self.map = map
    }

    deinit {
        backend.close()
    }
}
