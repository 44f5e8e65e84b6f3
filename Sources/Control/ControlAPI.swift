// The routes of docs/openapi.yaml, and what each does.

import Backends
import Glibc
import Logging
import Loop
import Server
import Settings

/// The API of one program.
struct ControlAPI: Sendable {
    let program: ControlledProgram
    private let logger: Logger
    /// When the program began, in seconds of CLOCK_MONOTONIC.
    private let startedAt: Int
    /// Changes may wait for a disk, or for clients to end.
    private let changes = Patience(limit: 16, for: "disks or clients")
    /// A report may wait for the moment of a cut.
    let reports = Patience(limit: 8, for: "power cuts")

    init(_ program: ControlledProgram) {
        self.program = program
        logger = program.logs.logger(label: "control")
        startedAt = Self.now
    }

    /// All routes, in the order of the document.
    var routes: [Route] {
        [
            Route("GET", "/v1") { _ throws(HTTPFailure) in try describe() },
            Route("GET", "/v1/exports") { _ throws(HTTPFailure) in listExports() },
            Route("POST", "/v1/exports", changes) { call throws(HTTPFailure) in try addExport(call.body) },
            Route("GET", "/v1/exports/{name}") { call throws(HTTPFailure) in
                HTTPResponse(.ok, try export(call.arguments[0]))
            },
            Route("DELETE", "/v1/exports/{name}", parameters: ["mode"], changes) { call throws(HTTPFailure) in
                try removeExport(call.arguments[0], mode: call.parameter("mode"))
            },
            Route("POST", "/v1/exports/{name}/grow", changes) { call throws(HTTPFailure) in
                try growExport(call.arguments[0], call.body)
            },
            Route("POST", "/v1/exports/{name}/accept-loss", changes) { call throws(HTTPFailure) in
                try acceptLoss(of: call.arguments[0])
            },
            Route("POST", "/v1/exports/{name}/revert", changes) { call throws(HTTPFailure) in
                try revert(call.arguments[0], call.body)
            },
            Route("POST", "/v1/exports/{name}/commit", changes) { call throws(HTTPFailure) in
                try commit(call.arguments[0])
            },
            Route("GET", "/v1/exports/{name}/changes", parameters: ["since"], changes) { call throws(HTTPFailure) in
                try changes(of: call.arguments[0], since: call.parameter("since"))
            },
            Route("POST", "/v1/exports/{name}/snapshots", changes) { call throws(HTTPFailure) in
                try takeSnapshot(of: call.arguments[0], call.body)
            },
            Route("DELETE", "/v1/exports/{name}/snapshots/{snapshot}", changes) { call throws(HTTPFailure) in
                try discardSnapshot(call.arguments[1], of: call.arguments[0])
            },
            Route("POST", "/v1/exports/{name}/fork", changes) { call throws(HTTPFailure) in
                try fork(call.arguments[0], call.body)
            },
            Route("POST", "/v1/exports/{name}/eject", parameters: ["mode"], changes) { call throws(HTTPFailure) in
                try eject(call.arguments[0], mode: call.parameter("mode"))
            },
            Route("POST", "/v1/exports/{name}/insert", parameters: ["mode"], changes) { call throws(HTTPFailure) in
                try insert(into: call.arguments[0], call.body, mode: call.parameter("mode"))
            },
            Route("POST", "/v1/exports/{name}/power", changes) { call throws(HTTPFailure) in
                try power(call.arguments[0], call.body)
            },
            Route("GET", "/v1/exports/{name}/power", parameters: ["wait"]) { call throws(HTTPFailure) in
                try power(call.arguments[0], wait: call.parameter("wait"))
            },
            Route("GET", "/v1/exports/{name}/faults") { call throws(HTTPFailure) in
                try faults(of: call.arguments[0])
            },
            Route("POST", "/v1/exports/{name}/faults", changes) { call throws(HTTPFailure) in
                try plantFault(in: call.arguments[0], call.body)
            },
            Route("DELETE", "/v1/exports/{name}/faults", parameters: ["number"], changes) { call throws(HTTPFailure) in
                try liftFault(call.parameter("number"), of: call.arguments[0])
            },
            Route("GET", "/v1/connections") { _ throws(HTTPFailure) in try listConnections() },
            Route("DELETE", "/v1/connections/{number}") { call throws(HTTPFailure) in
                try dropConnection(call.arguments[0])
            },
            Route("GET", "/v1/log-level") { _ throws(HTTPFailure) in logLevel() },
            Route("PUT", "/v1/log-level") { call throws(HTTPFailure) in try setLogLevel(call.body) },
            Route("POST", "/v1/reload", changes) { _ throws(HTTPFailure) in try reload() },
            metricsRoute,
        ]
    }

    /// The route that may be offered elsewhere, too.
    var metricsRoute: Route {
        // Scrapers and proxies add parameters of their own, and Prometheus' client libraries ignore them.
        Route("GET", "/metrics", parameters: nil) { _ throws(HTTPFailure) in
            HTTPResponse(.ok, contentType: "text/plain; version=0.0.4; charset=utf-8", body: program.metrics())
        }
    }

    private func describe() throws(HTTPFailure) -> HTTPResponse {
        HTTPResponse(
            .ok,
            Answer.Program(
                version: program.version, pid: getpid(), uptimeSeconds: Self.now - startedAt,
                endpoints: program.endpoints.map(\.description), exports: program.server.exportCount,
                connections: try connections().count))
    }

    private static var now: Int {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec
    }
}

// Exports.
extension ControlAPI {
    private func listExports() -> HTTPResponse {
        HTTPResponse(.ok, Answer.Exports(exports: program.server.exports().map { Answer.Export($0) }))
    }

    private func export(_ name: String) throws(HTTPFailure) -> Answer.Export {
        guard let status = program.server.export(named: name) else { throw HTTPFailure(ServerError.noSuchExport(name)) }
        return Answer.Export(status)
    }

    private func addExport(_ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let value = try JSON.decode(body)
        return try created {
            let settings = try ExportSettings(reading: value, users: program.users)
            // Else the image would be opened and its lock taken, and the answer could be about these instead.
            guard !program.server.hasExport(named: settings.name) else { throw ServerError.nameTaken(settings.name) }
            return try program.add(settings)
        }
    }

    /// Adds an export, or says why not. It is shown as it was when it was added: by now somebody may have removed it
    /// again.
    func created(_ add: () throws -> AddedExport) throws(HTTPFailure) -> HTTPResponse {
        let added: AddedExport
        do {
            added = try add()
        } catch let error as ServerError {
            throw HTTPFailure(error)
        } catch let error as NoRoom {
            throw HTTPFailure(.conflict, "\(error)")
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
        var response = HTTPResponse(
            .created, Answer.Export(added.status, warnings: added.warnings, changed: added.changed))
        response.fields.append(
            HTTPResponse.Field(
                name: "Location", value: "/v1/exports/" + ControlClient.percentEncoded(added.status.name)))
        return response
    }

    private func removeExport(_ name: String, mode text: String?) throws(HTTPFailure) -> HTTPResponse {
        guard let mode = RemovalMode(rawValue: text ?? RemovalMode.safe.rawValue) else {
            let allowed = RemovalMode.allCases.map(\.rawValue).joined(separator: ", ")
            throw HTTPFailure(.badRequest, "'\(text ?? "")' is no mode: it is one of \(allowed)")
        }
        do {
            let status = try program.server.remove(name, mode)
            return status.map { HTTPResponse(.accepted, Answer.Export($0)) } ?? HTTPResponse(.noContent)
        } catch {
            throw HTTPFailure(error)
        }
    }

    private func acceptLoss(of name: String) throws(HTTPFailure) -> HTTPResponse {
        do {
            return HTTPResponse(.ok, Answer.Export(try program.server.acceptLoss(of: name)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    private func growExport(_ name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let size = body.isEmpty ? nil : try JSON.decode(body).member("size", of: ["size"])
        do {
            let bytes = try size.map { try ImageReference.sizeBytes($0) }
            return HTTPResponse(.ok, Answer.Export(try program.server.grow(name, toBytes: bytes)))
        } catch let error as ServerError {
            throw HTTPFailure(error)
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
    }
}

// Trays.
extension ControlAPI {
    private func eject(_ name: String, mode: String?) throws(HTTPFailure) -> HTTPResponse {
        let isForced = try isForced(mode)
        do {
            return HTTPResponse(.ok, Answer.Export(try program.server.eject(name, isForced: isForced)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    private func insert(into name: String, _ body: [UInt8], mode: String?) throws(HTTPFailure) -> HTTPResponse {
        let isForced = try isForced(mode)
        let image = body.isEmpty ? nil : try JSON.decode(body).member("image", of: ["image"])
        do {
            let inserted = try program.insert(image, name, isForced)
            return HTTPResponse(.ok, Answer.Export(inserted.status, warnings: inserted.warnings))
        } catch let error as ServerError {
            throw HTTPFailure(error)
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
    }

    /// Whether a tray opens that a host has locked.
    private func isForced(_ mode: String?) throws(HTTPFailure) -> Bool {
        switch mode {
        case nil, "safe": false
        case "force": true
        case let mode?: throw HTTPFailure(.badRequest, "'\(mode)' is no mode: it is one of safe, force")
        }
    }
}

// Connections, the log, the configuration.
extension ControlAPI {
    private func connections() throws(HTTPFailure) -> [ConnectionStatus] {
        do {
            return try program.server.connections()
        } catch {
            throw HTTPFailure(error)
        }
    }

    private func listConnections() throws(HTTPFailure) -> HTTPResponse {
        HTTPResponse(.ok, Answer.Connections(connections: try connections().map(Answer.Connection.init)))
    }

    private func dropConnection(_ text: String) throws(HTTPFailure) -> HTTPResponse {
        guard let number = UInt64(text), text.first != "+" else {
            throw HTTPFailure(.badRequest, "'\(text)' is no number of a connection; /v1/connections lists them")
        }
        do {
            try program.server.drop(connection: number)
        } catch {
            throw HTTPFailure(error)
        }
        return HTTPResponse(.noContent)
    }

    private func logLevel() -> HTTPResponse {
        HTTPResponse(.ok, Answer.LogLevel(level: program.logs.level.rawValue))
    }

    private func setLogLevel(_ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let text = try JSON.decode(body).member("level", of: ["level"])
        let level: Logger.Level
        do {
            level = try parseLogLevel(text ?? "")
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
        program.logs.level = level
        logger.notice("log level changed", metadata: ["level": "\(level)"])
        return logLevel()
    }

    private func reload() throws(HTTPFailure) -> HTTPResponse {
        guard let reload = program.reload else {
            throw HTTPFailure(.conflict, "the server was started without --config; there is nothing to read again")
        }
        do {
            return HTTPResponse(.ok, Answer.Reload(changes: try reload()))
        } catch let error as ServerError {
            throw HTTPFailure(error)
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
    }
}

extension HTTPFailure {
    /// A refusal of the server.
    init(_ error: ServerError) {
        let status: HTTPStatus =
            switch error {
            case .noSuchExport, .noSuchConnection, .noSnapshot, .noSuchFault: .notFound
            case .nameTaken, .forkTaken, .targetTaken, .tooManyExports, .inUse, .stillUnstable, .noTray, .trayIsLocked,
                .trayIsClosed, .discInUse, .noWriteCache, .isRecorded, .noPower, .hasPower, .cutArmed,
                .cutUnderWay, .momentNotCome, .cutTakenBack, .noOverlay, .cannotOperate, .imageUsed, .snapshotUsed,
                .snapshotTaken, .standsForOthers, .noFaults:
                .conflict
            case .export, .cannotGrow, .noDisc, .beyondDrive, .fault: .unprocessableContent
            case .stopping: .serviceUnavailable
            case .ring, .endpoint, .image, .command, .interrupted, .flush, .stillInUse, .stillCutting, .stillReverting,
                .overlay,
                .cutNotStored:
                .internalServerError
            }
        self.init(status, "\(error)")
    }
}

extension SettingsValue {
    /// The text of a member of an object that has no members but `known`.
    func member(_ name: String, of known: [String]) throws(HTTPFailure) -> String? {
        guard case .table(let members) = content else {
            throw HTTPFailure(.badRequest, "the request's content is no JSON object; {\"\(name)\": \"...\"} is one")
        }
        for key in members.keys.sorted() where !known.contains(key) {
            throw HTTPFailure(
                .unprocessableContent, "there is no such key: '\(key)'; known: \(known.joined(separator: ", "))")
        }
        guard let member = members[name] else { return nil }
        guard case .string(let text) = member.content else {
            throw HTTPFailure(.unprocessableContent, "'\(name)' has to be a string")
        }
        return text
    }
}
