// Persistent reservations that outlast the server.

import Backends
import Units

/// Where an export's persistent reservations are, and what they were when it came (SPC-4 5.13, APTPL).
public struct KeptReservations: Sendable {
    let file: ReservationFile
    let reservations: PersistentReservations

    /// Reads what a file has; nil if that is nothing that a server has kept.
    public init?(_ file: ReservationFile) {
        self.file = file
        guard !file.bytes.isEmpty else {
            reservations = PersistentReservations()
            return
        }
        guard let reservations = PersistentReservations(parsing: file.bytes) else { return nil }
        self.reservations = reservations
    }

    /// Nothing is kept any more.
    public func close() { file.close() }
}
