// iSCSI's sessions: their events, and the loop's calls to them (RFC 7143). Their tasks are in
// Loop+Tasks.swift.

import Counters
import Glibc
import IOUring
import ISCSI
import Listening
import Logging

/// From the initiator to the loop.
extension Loop {
    /// How long a session may be silent before its initiator is asked for a sign of life, and how long that may take,
    /// in seconds.
    private static let silentSeconds = 30

    /// An initiator has come.
    mutating func beginISCSI(_ slot: ConnectionSlot, _ portal: Portal?) {
        let requiresCHAP = shared.secrets != nil
        let portal = portal?.description ?? Listening.portal(of: connections[slot].descriptor)
        let session = TargetSession(shared.sessionHandles.take(), portal: portal, requiresCHAP: requiresCHAP)
        sessions.iscsi.insert(session, at: slot)
        connections[slot].crossing.comesInPieces = true
    }

    /// Does what ``advance(_:)`` says.
    mutating func advanceISCSI(_ slot: ConnectionSlot) -> Bool {
        if !sessions.iscsi[slot].waiting.isEmpty { serveWaitingTasks(slot) }
        if sessions.iscsi[slot].session.awaitsPayload { return takeTaskPayload(slot) }
        // An initiator that asks without reading the answers waits until it has read them.
        guard connections[slot].wordBytes < Limits.receiveBufferBytes else { return false }
        let input = connections[slot].nextBytes() ?? .empty
        // A silent client costs nothing.
        if connections[slot].phase == .handshake, !input.isEmpty, !knowsTargets(slot) { lookUpTargets(slot) }
        let (consumed, event) = input.withBytes { sessions.iscsi[slot].session.advance($0) }
        if consumed > 0 { connections[slot].consume(consumed) }
        return perform(event, consumed: consumed, slot)
    }

    /// Whether a session knows which targets there are: at its beginning, and a discovery session as long as it lasts.
    private func knowsTargets(_ slot: ConnectionSlot) -> Bool {
        guard let version = sessions.iscsi[slot].knownVersion else { return false }
        return !sessions.iscsi[slot].session.isDiscovering || version == shared.exports.directory.version
    }

    private mutating func perform(_ event: Session.Event, consumed: Int, _ slot: ConnectionSlot) -> Bool {
        switch event {
        case .needMoreBytes(let count): return consumed > 0 || receiveMissing(count, slot)
        case .say: say(slot)
        case .authenticate: return authenticate(slot)
        case .open(let target): return open(target: target, slot)
        case .begin(let task): return begin(task, slot)
        case .payload: return takeTaskPayload(slot)
        case .solicit(let number): solicit(number, slot)
        case .complete(let number): complete(number, slot)
        case .fail(let number, let failure): fail(number, failure, slot)
        case .manage(let management): return manage(management, slot)
        case .end(let end): self.end(end, slot)
        }
        return true
    }

    /// Judges an initiator's answer to the challenge, when it has its turn (``LoginBrake``).
    ///
    /// - Returns: false before that.
    private mutating func authenticate(_ slot: ConnectionSlot) -> Bool {
        guard let answer = sessions.iscsi[slot].session.answer else { preconditionFailure("what is to be judged?") }
        let attempt = LoginAttempt(
            origin: connections[slot].peer.origin, user: answer.name,
            initiator: sessions.iscsi[slot].session.initiator.name)
        let time = clock.now()
        if let turn = sessions.iscsi[slot].judgedAt {
            guard time >= turn else { return false }
        } else {
            switch shared.loginBrake.turn(of: attempt, now: time) {
            case .now(let isSlow): sessions.iscsi[slot].isSlow = isSlow
            case .at(let turn):
                sessions.iscsi[slot].isSlow = true
                sessions.iscsi[slot].judgedAt = turn
                return false
            case .never:
                sessions.iscsi[slot].isSlow = true
                sessions.iscsi[slot].session.judged(.postponed)
                return true
            }
        }
        let judgement = shared.targets.judge(answer)
        if judgement != .refused {
            shared.loginBrake.noteSuccess(attempt, now: time)
        } else if shared.loginBrake.noteFailure(attempt, now: time) {
            note(
                .warning, "logins slowed down", slot,
                [
                    "reason":
                        "\(LoginBrake.freeFailures) of its address have failed; further ones wait, and their failures are logged as debug"
                ])
        }
        sessions.iscsi[slot].session.judged(judgement)
        return true
    }

    /// Once a second: an answer to the challenge may have its turn.
    mutating func retryLogin(_ slot: ConnectionSlot) {
        guard connections[slot].frontEnd == .iscsi, connections[slot].phase == .handshake,
            sessions.iscsi[slot].judgedAt != nil
        else { return }
        pump(slot)
        finishIfIdle(slot)
    }

    /// Opens the target that an initiator has named, or nothing for a discovery session, which has to be as short as a
    /// login.
    private mutating func open(target: Int?, _ slot: ConnectionSlot) -> Bool {
        let initiator = sessions.iscsi[slot].session.initiator
        sessions.iscsi[slot].facts = .known(name: initiator.name, chapUser: initiator.chapName)
        guard let target else {
            lookUpTargets(slot)
            sessions.iscsi[slot].session.opened()
            say(slot)
            return true
        }
        // Changes since the login began count. The unit with the lowest number comes first.
        let name = sessions.iscsi[slot].session.targetName
        let all = shared.exports.directory.visible.entries
        let entries = all.filter { $0.target?.name.text == name && mayOpen($0, slot) }
            .sorted { ($0.target?.logicalUnit ?? 0) < ($1.target?.logicalUnit ?? 0) }
        if !all.contains(where: { $0.target?.name.text == name }) {
            let wasThere = sessions.iscsi[slot].session.directory[target].names == nil
            return openAskedFor(name, wasThere: wasThere, slot)
        }
        guard !entries.isEmpty else {
            // It may not know that there is one.
            sessions.iscsi[slot].session.refuseOpening(.notFound, "no access rule of the target lets the initiator in")
            return true
        }
        if entries[0].homeLoop == index {
            if let user = ownerOfSession(replacedBy: slot, entries[0]) {
                let claimant = initiator.chapName.map { "it has proved to be '\($0)'" } ?? "it has proved nothing"
                sessions.iscsi[slot].session.refuseOpening(
                    .authorizationFailure, "a session of '\(user)' has its name and ISID, and \(claimant)")
                return true
            }
            if endReplacedSessions(by: slot, entries[0]), entries.contains(where: { hasNoRoom($0) }),
                holds(entries[0], slot)
            {
                return false
            }
        }
        connections[slot].choices = [entries[0]]
        sessions.iscsi[slot].further = Array(entries.dropFirst())
        return open(0, slot)
    }

    /// Has an export made whose target an initiator has named.
    ///
    /// - Parameter wasThere: the target was there when the login began.
    /// - Returns: false while that takes its time.
    private mutating func openAskedFor(_ name: String, wasThere: Bool, _ slot: ConnectionSlot) -> Bool {
        guard chooseStandIn(forTarget: name, slot) else {
            if wasThere {
                sessions.iscsi[slot].session.refuseOpening(.targetRemoved, "the target has just been removed")
            } else {
                sessions.iscsi[slot].session.refuseOpening(.notFound, "no target has that name, and none may get it")
            }
            return true
        }
        return open(0, slot)
    }

    /// Chooses what stands for the export of a target that is not there.
    ///
    /// - Returns: false if nothing does.
    mutating func chooseStandIn(forTarget name: String, _ slot: ConnectionSlot) -> Bool {
        let prefix = shared.targets.prefix
        let export = String(name.dropFirst(prefix.text.count + 1))
        let template = shared.exports.directory.entries.first { entry in
            guard case .named(let pattern) = entry.definition.copies else { return false }
            return pattern.matches(Array(export.utf8)) && mayOpen(entry, slot)
        }
        // The target of some names is not made of the name alone.
        guard let template, TargetName(export: export, prefix: prefix)?.text == name else { return false }
        sessions.iscsi[slot].askedExport = export
        connections[slot].choices = [template]
        return true
    }

    /// A unit has as many sessions as it can have.
    private func hasNoRoom(_ entry: ExportEntry) -> Bool {
        exports.contains(entry.number) && exports[entry.number].server.isFull
    }

    /// A name and an ISID prove nothing: a session of a user who has proved to be that one is begun anew by that user
    /// alone.
    ///
    /// - Returns: the user whose session another one, or nobody in particular, would begin anew.
    private func ownerOfSession(replacedBy slot: ConnectionSlot, _ entry: ExportEntry) -> String? {
        let claimant = sessions.iscsi[slot].session.initiator.chapName
        for other in usedSlots where isReplaced(other, by: slot, entry) {
            let user = sessions.iscsi[other].session.initiator.chapName
            if user != nil, user != claimant { return user }
        }
        return nil
    }

    /// A session is one of the same initiator port with the same target.
    private func isReplaced(_ other: ConnectionSlot, by slot: ConnectionSlot, _ entry: ExportEntry) -> Bool {
        other != slot && connections[other].frontEnd == .iscsi && connections[other].entry != nil
            && connections[other].entry?.target?.name == entry.target?.name
            && sessions.iscsi[other].session.initiator.isSamePort(as: sessions.iscsi[slot].session.initiator)
    }

    /// Ends a session that its initiator begins anew (6.3.5). The new one waits for the old requests (``Fence``).
    ///
    /// - Returns: whether something of it is still there, and has a place that the new one may need.
    private mutating func endReplacedSessions(by slot: ConnectionSlot, _ entry: ExportEntry) -> Bool {
        var isLeaving = false
        for other in usedSlots where isReplaced(other, by: slot, entry) {
            if connections[other].phase != .closing {
                end(other, .replaced, "its initiator has begun the session anew")
            }
            if connections[other].phase == .closing { isLeaving = true }
        }
        return isLeaving
    }

    private mutating func end(_ end: Session.End, _ slot: ConnectionSlot) {
        let reason = sessions.iscsi[slot].session.reason ?? ""
        switch end {
        case .loggedOut:
            drain(slot, .disconnect)
        case .loginFailed:
            note(sessions.iscsi[slot].isSlow ? .debug : .warning, "login failed", slot, ["reason": "\(reason)"])
            say(slot)
            drain(slot, .handshakeFailed)
        case .violation:
            note(.warning, "client cut off", slot, ["reason": "\(reason)"])
            abort(slot, .violation)
        }
    }

    /// Once a second: an initiator that is silent is asked whether it is there, and has to answer.
    ///
    /// - Returns: whether the connection was ended.
    mutating func checkSession(_ slot: ConnectionSlot, idleSeconds: Int) -> Bool {
        guard connections[slot].frontEnd == .iscsi, connections[slot].phase == .transmission else { return false }
        if leaveWithdrawnUnits(slot) { return true }
        guard idleSeconds >= Self.silentSeconds else { return false }
        if sessions.iscsi[slot].session.isPinged {
            end(slot, .stalled, "it has not answered a NOP-In within \(Self.silentSeconds) s")
            return true
        }
        sessions.iscsi[slot].session.ping()
        say(slot)
        return false
    }
}

/// From the loop to the initiator.
extension Loop {
    /// Finds out which targets the initiator may find.
    mutating func lookUpTargets(_ slot: ConnectionSlot) {
        let directory = shared.exports.directory.visible
        var names: Set<TargetName> = []
        var targets: [TargetInformation] = []
        for entry in directory.entries where mayOpen(entry, slot) {
            if case .named(let pattern) = entry.definition.copies {
                targets.append(targetInformation(named: pattern.text, slot))
                targets[targets.count - 1].names = TargetNames(
                    prefix: shared.targets.prefix.text + ":" + pattern.prefix, suffix: pattern.suffix)
            }
            guard let target = entry.target, names.insert(target.name).inserted else { continue }
            targets.append(targetInformation(named: target.name.text, slot))
        }
        sessions.iscsi[slot].knownVersion = directory.version
        sessions.iscsi[slot].session.directory = targets
    }

    private func targetInformation(named name: String, _ slot: ConnectionSlot) -> TargetInformation {
        TargetInformation(
            name: name, addresses: sessions.iscsi[slot].portal.map { ["\($0),1"] } ?? [],
            requiresCHAP: shared.secrets != nil)
    }

    /// Whether the rules of an export let an initiator in, as far as it has said who it is.
    func mayOpen(_ entry: ExportEntry, _ slot: ConnectionSlot) -> Bool {
        entry.definition.admits(connections[slot].peer, sessions.iscsi[slot].facts)
    }

    /// The target is open. It is the only one that the session may still ask for.
    mutating func beginTasks(_ slot: ConnectionSlot, _ export: ExportNumber) {
        let name = sessions.iscsi[slot].session.targetName
        sessions.iscsi[slot].session.directory = [targetInformation(named: name, slot)]
        guard connect(to: export, slot), makeLandingPlaces(slot) else {
            sessions.iscsi[slot].session.refuseOpening(.outOfResources, "there is no room for another session")
            return
        }
        sessions.iscsi[slot].session.opened()
        connections[slot].crossing.isDigested = sessions.iscsi[slot].session.settled.hasDataDigest
        connections[slot].identityName = sessions.iscsi[slot].session.initiator.chapName
        connections[slot].initiatorName = sessions.iscsi[slot].session.initiator.name
        say(slot)
    }

    /// The server stops, or the target goes.
    mutating func announceShutdown(_ slot: ConnectionSlot) {
        sessions.iscsi[slot].session.beginShutdown(seconds: UInt16(clamping: shared.limits.shutdownSeconds))
        say(slot)
    }
}

extension Initiator {
    /// The name of the initiator port (4.2.7.2): of the node, and the ISID.
    var portName: [UInt8] {
        let digits = String(isid.rawValue, radix: 16)
        return Array("\(name),i,0x\(String(repeating: "0", count: max(0, 12 - digits.count)))\(digits)".utf8)
    }

    /// The same initiator port: what a name and an ISID stand for (4.4.1).
    fileprivate func isSamePort(as other: Initiator) -> Bool { name == other.name && isid == other.isid }
}
