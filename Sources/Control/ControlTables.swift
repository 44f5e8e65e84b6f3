// The API's answers for people: `spindle ctl` without --json.

import Logs

/// Texts for people.
public enum ControlTables {
    /// `spindle ctl status`
    public static func server(_ json: [UInt8]) throws -> String {
        let server = try JSON.decode(Answer.Program.self, json)
        return Table(
            rows: [
                ["Version:", server.version],
                ["Process:", String(server.pid)],
                ["Running for:", duration(server.uptimeSeconds)],
                ["Listening on:", server.endpoints.joined(separator: " ")],
                ["Exports:", String(server.exports)],
                ["Connections:", String(server.connections)],
            ]
        ).text
    }

    /// `spindle ctl list`
    public static func exports(_ json: [UInt8]) throws -> String {
        let exports = try JSON.decode(Answer.Exports.self, json).exports
        let rows = exports.map { export in
            [export.name, size(export.sizeBytes), String(export.connections), state(export), export.description]
        }
        return Table(
            head: ["NAME", "SIZE", "CONNECTIONS", "STATE", "DESCRIPTION"], rows: rows, numbers: [1, 2],
            whenEmpty: "no exports"
        ).text
    }

    /// `spindle ctl revert`
    public static func reverted(_ json: [UInt8]) throws -> String {
        let reverted = try JSON.decode(Answer.Reverted.self, json)
        var rows = [["Export:", reverted.export], ["Forgotten:", size(reverted.revertedBytes)]]
        if let changed = reverted.changed { rows.append(["Changed:", words(of: changed)]) }
        return Table(rows: rows).text
    }

    /// `spindle ctl commit`
    public static func committed(_ json: [UInt8]) throws -> String {
        let committed = try JSON.decode(Answer.Committed.self, json)
        return Table(rows: [["Export:", committed.export], ["Written:", size(committed.committedBytes)]]).text
    }

    /// `spindle ctl changes`
    public static func changes(_ json: [UInt8]) throws -> String {
        let changes = try JSON.decode(Answer.Changes.self, json)
        let head = [
            ["Export:", changes.export], ["Since:", changes.since ?? "its image"],
            ["Changed:", words(of: changes.changed)],
        ]
        let rows = changes.changed.ranges.filter { $0.count == 2 && $0[0] <= $0[1] }.map { range in
            [String(range[0]), String(range[1]), String((range[1] - range[0]) &+ 1)]
        }
        return Table(rows: head).text + "\n"
            + Table(head: ["FIRST", "LAST", "SECTORS"], rows: rows, numbers: [0, 1, 2], whenEmpty: "nothing").text
    }

    private static func words(of blocks: Answer.Blocks) -> String {
        let places = blocks.ranges.count == 1 ? "1 place" : "\(blocks.ranges.count) places"
        let unit = blocks.unitSectors == 1 ? "" : ", rounded to \(blocks.unitSectors) each"
        return "\(sectors(blocks.sectors)) in \(places)\(unit)"
    }

    /// `spindle ctl show`, and what follows a change of an export.
    public static func export(_ json: [UInt8]) throws -> String {
        let export = try JSON.decode(Answer.Export.self, json)
        // Whatever a server answers, there is no division by 0.
        let sectors = sectors(export.sizeBytes / max(export.logicalBlockBytes, 1))
        var rows = [
            ["Name:", export.name],
            ["Description:", export.description],
            ["Size:", "\(export.sizeBytes) bytes (\(size(export.sizeBytes)), \(sectors))"],
            ["State:", state(export)],
            ["Connections:", String(export.connections)],
        ]
        if let tray = export.tray { rows.append(["Disc:", tray.image ?? "none"]) }
        if let image = export.image { rows.append(["Image:", image]) }
        if let changes = export.changes { rows.append(["Changes:", changes]) }
        if let snapshots = export.snapshots { rows.append(["Snapshots:", snapshots.joined(separator: ", ")]) }
        if let changed = export.changed { rows.append(["Changed:", words(of: changed)]) }
        return Table(rows: rows).text
    }

    /// The warnings of `spindle ctl add`.
    public static func warnings(_ json: [UInt8]) -> [String] {
        ((try? JSON.decode(Answer.Export.self, json))?.warnings ?? []).map(\.visible)
    }

    /// `spindle ctl fault`
    public static func faults(_ json: [UInt8]) throws -> String {
        let rows = try JSON.decode(Answer.Faults.self, json).faults.map { fault in
            [
                String(fault.number), String(fault.commands), String(fault.failures), String(fault.pendingSectors),
                fault.rule,
            ]
        }
        return Table(
            head: ["NUMBER", "COMMANDS", "FAILURES", "PENDING", "RULE"], rows: rows, numbers: [0, 1, 2, 3],
            whenEmpty: "no faults"
        ).text
    }

    /// `spindle ctl power`, of a cut that is to come, and of a report
    public static func power(_ json: [UInt8], picture: Bool) throws -> String {
        let power = try JSON.decode(Answer.Power.self, json)
        if let cut = power.cut, power.armed == nil { return text(of: cut, picture) }
        var rows = [["Export:", power.export], ["Power:", power.power]]
        if let armed = power.armed { rows.append(["Armed:", armed]) }
        if let failure = power.failure { rows.append(["Failure:", failure]) }
        return Table(rows: rows).text
    }

    /// `spindle ctl power`, of a cut
    public static func powerCut(_ json: [UInt8], picture: Bool) throws -> String {
        text(of: try JSON.decode(Answer.PowerCut.self, json), picture)
    }

    private static func text(of cut: Answer.PowerCut, _ picture: Bool) -> String {
        var head = [
            ["Export:", cut.export], ["Power:", cut.power], ["Kept:", sectors(cut.keptSectors)],
            ["Lost:", sectors(cut.lostSectors)], ["Flushes before:", String(cut.flushes)], ["Again:", cut.command],
        ]
        if !cut.damaged.isEmpty { head.insert(["Damaged:", runs(cut.damaged)], at: 4) }
        let below = picture ? CutPicture(of: cut.sectors, cut.writes, damaged: cut.damaged).text : list(of: cut.writes)
        return Table(rows: head).text + "\n" + below
    }

    /// The writes that a cut has put in doubt.
    static func list(of writes: [Answer.PowerCut.Write]) -> String {
        let rows = writes.map { write in
            [
                String(write.number), write.kind, String(write.lba), String(write.sectors), write.fate,
                runs(write.kept), String(write.afterFlush), String(write.connection),
            ]
        }
        return Table(
            head: ["WRITE", "KIND", "LBA", "SECTORS", "FATE", "KEPT", "AFTER FLUSH", "CONNECTION"], rows: rows,
            numbers: [0, 2, 3, 6, 7], whenEmpty: "every write had reached the image"
        ).text
    }

    static func runs(_ runs: [[UInt64]]) -> String {
        runs.map { run in (run.first == run.last ? Array(run.prefix(1)) : run).map(String.init).joined(separator: "-") }
            .joined(separator: " ")
    }

    static func sectors(_ count: UInt64) -> String { count == 1 ? "1 sector" : "\(count) sectors" }

    /// `spindle ctl connections`
    public static func connections(_ json: [UInt8]) throws -> String {
        let connections = try JSON.decode(Answer.Connections.self, json).connections
        let rows = connections.map { connection in
            [
                String(connection.number), connection.export ?? "-", connection.client, connection.identity ?? "-",
                connection.initiator ?? "-",
                connection.encrypted ? "yes" : "no", duration(connection.seconds), String(connection.requestsInFlight),
                String(connection.loop),
            ]
        }
        return Table(
            head: ["NUMBER", "EXPORT", "CLIENT", "IDENTITY", "INITIATOR", "TLS", "AGE", "IN FLIGHT", "LOOP"],
            rows: rows, numbers: [0, 6, 7, 8], whenEmpty: "no connections"
        ).text
    }

    /// `spindle ctl log-level`
    public static func logLevel(_ json: [UInt8]) throws -> String {
        try JSON.decode(Answer.LogLevel.self, json).level + "\n"
    }

    /// `spindle ctl reload`
    public static func reload(_ json: [UInt8]) throws -> String {
        let changes = try JSON.decode(Answer.Reload.self, json).changes
        return (changes.isEmpty ? ["nothing has changed"] : changes).map { $0.visible + "\n" }.joined()
    }

    private static func state(_ export: Answer.Export) -> String {
        let isOff = export.power == "off"
        let unused = isOff ? "no power" : export.template == true ? "template" : "idle"
        var words = [export.draining ? "draining" : export.connections > 0 ? "in use" : unused]
        if isOff, words != ["no power"] { words.append("no power") }
        if export.armed != nil { words.append("cut armed") }
        if export.readOnly { words.append("read-only") }
        if export.tlsOnly { words.append("TLS only") }
        if let tray = export.tray {
            if tray.image == nil { words.append("no disc") }
            if tray.open { words.append("tray open") }
            if tray.locked { words.append("tray locked") }
        }
        if let reason = export.flushFailure { words.append("flush failed (\(reason))") }
        return words.joined(separator: ", ")
    }

    /// Three digits and a binary unit.
    static func size(_ bytes: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        let unit = bytes == 0 ? 0 : (63 - bytes.leadingZeroBitCount) / 10
        let scale = UInt64(1) << UInt64(unit * 10)
        guard unit > 0, bytes % scale != 0 else { return "\(bytes / scale) \(units[unit])" }
        // In tenths, rounded down: 1023.9 of one unit is not 1024.
        let (whole, rest) = bytes.quotientAndRemainder(dividingBy: scale)
        return "\(whole).\((rest >> UInt64((unit - 1) * 10)) * 10 / 1024) \(units[unit])"
    }

    /// Two units are enough to see.
    static func duration(_ seconds: Int) -> String {
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400)
        if days > 0 { return "\(days)d \(hours % 24)h" }
        if hours > 0 { return "\(hours)h \(minutes % 60)m" }
        return minutes > 0 ? "\(minutes)m \(seconds % 60)s" : "\(seconds)s"
    }
}

/// Columns that stand one below the other.
struct Table {
    var head: [String] = []
    var rows: [[String]]
    /// Columns that end one below the other.
    var numbers: Set<Int> = []
    /// Instead of a head without rows.
    var whenEmpty = ""

    var text: String {
        guard !rows.isEmpty else { return whenEmpty + "\n" }
        let lines = (head.isEmpty ? [] : [head]) + rows.map { $0.map(\.visible) }
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let cells = line.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return numbers.contains(column) ? padding + cell : cell + padding
            }
            return trimmed(cells.joined(separator: "  ")) + "\n"
        }.joined()
    }

    private func trimmed(_ line: String) -> Substring {
        line[..<(line.lastIndex { $0 != " " }.map(line.index(after:)) ?? line.startIndex)]
    }
}
