// What the API answers, as docs/openapi.yaml describes it. Members are spelled with hyphens (see JSON).

import Server

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

    /// An export.
    struct Export: Codable {
        let name: String
        let description: String
        let sizeBytes: UInt64
        let readOnly: Bool
        let tlsOnly: Bool
        let connections: Int
        let draining: Bool

        init(_ status: ExportStatus) {
            name = status.name
            description = status.description
            sizeBytes = status.sizeBytes
            readOnly = status.isReadOnly
            tlsOnly = status.requiresTLS
            connections = status.connections
            draining = status.isDraining
        }
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
        let export: String?
        let encrypted: Bool
        let seconds: Int
        let requestsInFlight: Int
        let loop: Int

        init(_ status: ConnectionStatus) {
            number = status.number
            client = status.client
            identity = status.identity
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

    /// What reading the configuration again has changed, in words.
    struct Reload: Codable {
        let changes: [String]
    }

    /// What is logged.
    struct LogLevel: Codable {
        let level: String
    }
}
