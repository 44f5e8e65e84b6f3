// Overlays and their snapshots.

import Server
import Settings

extension ControlAPI {
    func revert(_ name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let snapshot = body.isEmpty ? nil : try JSON.decode(body).member("snapshot", of: ["snapshot"])
        do {
            let (bytes, changed) = try program.server.revert(name, to: snapshot)
            return HTTPResponse(
                .ok, Answer.Reverted(export: name, revertedBytes: bytes, changed: changed.map(Answer.Blocks.init)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func commit(_ name: String) throws(HTTPFailure) -> HTTPResponse {
        do {
            return HTTPResponse(.ok, Answer.Committed(export: name, committedBytes: try program.server.commit(name)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func changes(of name: String, since snapshot: String?) throws(HTTPFailure) -> HTTPResponse {
        do {
            let blocks = try program.server.changedBlocks(of: name, since: snapshot)
            return HTTPResponse(.ok, Answer.Changes(export: name, since: snapshot, changed: Answer.Blocks(blocks)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func takeSnapshot(of name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        guard let snapshot = try JSON.decode(body).member("name", of: ["name"]), !snapshot.isEmpty else {
            throw HTTPFailure(.unprocessableContent, "'name' is missing: a snapshot has a name")
        }
        do {
            return HTTPResponse(.created, Answer.Export(try program.server.takeSnapshot(snapshot, of: name)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func discardSnapshot(_ snapshot: String, of name: String) throws(HTTPFailure) -> HTTPResponse {
        do {
            try program.server.discardSnapshot(snapshot, of: name)
            return HTTPResponse(.noContent)
        } catch {
            throw HTTPFailure(error)
        }
    }

    func fork(_ name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let content = try JSON.decode(body)
        let known = ["name", "snapshot", "changes"]
        let snapshot = try content.member("snapshot", of: known)
        let changes = try content.member("changes", of: known)
        guard let new = try content.member("name", of: known) else {
            throw HTTPFailure(.unprocessableContent, "'name' is missing: the new export's")
        }
        return try created { try program.fork(name, new, snapshot, changes) }
    }
}
