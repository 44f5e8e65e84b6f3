// Every key of the configuration file, in one table: messages, documents and tests are made from it.

import ISCSI

/// One key.
public struct SettingsKey: Equatable, Sendable {
    /// The tables of the file.
    public enum Section: String, CaseIterable, Sendable {
        /// Keys above the first table.
        case server = ""
        case tls = "[tls]"
        case limits = "[limits]"
        case export = "[[export]]"
        case target = "[[target]]"
        case directory = "[[directory]]"
        case template = "[[template]]"
        /// Each element of the list `access` of an export, a directory or a template.
        case access = "access"
    }

    /// Where it may stand.
    public let section: Section
    /// Its name: the option of the command line, if there is one, without the dashes.
    public let name: String
    /// Its values, for people.
    public let type: String
    /// Its default, for people.
    public let standard: String
    /// Its meaning, in a line.
    public let help: String

    private init(_ section: Section, _ name: String, _ type: String, _ standard: String, _ help: String) {
        self.section = section
        self.name = name
        self.type = type
        self.standard = standard
        self.help = help
    }

    /// All keys, in the order in which documents list them.
    public static let all =
        serverKeys + tlsKeys + limitKeys + exportKeys + driveKeys(.export) + targetKeys + directoryKeys
        + driveKeys(.directory) + templateKeys + driveKeys(.template) + accessKeys

    /// Options of `spindle serve` that are about its process, and no keys.
    static let optionsWithoutKey = [
        "config", "control", "exit-with-parent", "group", "lock-memory", "metrics", "pid-file", "run", "sandbox",
        "sandbox-path", "user",
    ]

    private static let serverKeys = [
        SettingsKey(
            .server, "listen", "list of endpoints", "[\"tcp:127.0.0.1:10809\"]",
            "Where to listen: unix:PATH (with ,mode=0660 and ,owner=USER:GROUP behind it), tcp:HOST:PORT, "
                + "iscsi:HOST:PORT (with ,portal=HOST:PORT for what initiators are told), vsock:PORT, fd:N or systemd:NAME."
        ),
        SettingsKey(
            .server, "target-prefix", "name", "\"\(TargetName.standardPrefix.text)\"",
            "What stands before an export's name and a colon in the iSCSI name of its target."),
        SettingsKey(
            .server, "chap", "path", "none",
            "A file of CHAP secrets, lines of NAME:SECRET: iSCSI initiators have to prove who they are."),
        SettingsKey(
            .server, "chap-target", "path", "none",
            "A file with the target's own NAME:SECRET, for initiators that ask who it is."),
        SettingsKey(
            .server, "reservations", "path", "none",
            "A folder that keeps the exports' persistent reservations while the server does not run."),
        SettingsKey(
            .server, "threads", "number, 1 to 256", "one for each processor", "How many threads serve."),
        SettingsKey(
            .server, "controller", "controller", "\"piix3-ide\"",
            "The IDE controller of drives that name none: piix3-ide or ich9-ahci."),
        SettingsKey(
            .server, "log-format", "format", "\"auto\"",
            "The form of the log's lines: text, json, journal, or auto: journal where standard error is the journal's, else "
                + "text."),
        SettingsKey(
            .server, "log-level", "level", "\"notice\"",
            "The least severe level that is logged: trace, debug, info, notice, warning, error or critical."),
    ]

    private static let tlsKeys = [
        SettingsKey(
            .tls, "mode", "\"off\", \"on\" or \"require\"", "\"on\" if keys are given",
            "Whether clients may (on) or must (require) use TLS."),
        SettingsKey(
            .tls, "certificates", "path", "none",
            "A folder with ca-cert.pem, server-cert.pem and server-key.pem."),
        SettingsKey(
            .tls, "verify-peer", "true or false", "false",
            "Clients have to show a certificate that the CA has signed."),
        SettingsKey(.tls, "psk", "path", "none", "A file of pre-shared keys, lines of USER:HEXKEY."),
    ]

    private static let limitKeys = [
        SettingsKey(
            .limits, "connections", "number, 1 to 1000000", "1024", "Connections in all; more are closed at once."),
        SettingsKey(
            .limits, "connection-megabytes", "number, 1 to 64", "2",
            "Memory for the data of one connection's requests, in MiB; further requests wait."),
        SettingsKey(
            .limits, "request-megabytes", "number, 1 to 1048576", "256",
            "Memory for the data of requests in all, in MiB; each thread has at least 44."),
        SettingsKey(
            .limits, "handshake-options", "number, 4 to 1000000", "32",
            "Options of a handshake; every export adds four."),
        SettingsKey(
            .limits, "keepalive-seconds", "number, 0 to 32767", "60",
            "A TCP connection that is silent for so long is asked for a sign of life; 0: never."),
        SettingsKey(
            .limits, "handshake-seconds", "number, 1 to 3600", "10",
            "A client that has opened no export by then is disconnected."),
        SettingsKey(
            .limits, "stall-seconds", "number, 1 to 3600", "10",
            "A client that holds memory others wait for, and moves too little of it in that time, is ended."),
        SettingsKey(
            .limits, "shutdown-seconds", "number, 0 to 3600", "5",
            "How long a stopping server waits for clients to take their last replies."),
    ]

    private static let exportKeys = [
        SettingsKey(
            .export, "name", "string", "the image's name without its extension",
            "The name that clients ask for. The first export answers to the empty name, too."),
        SettingsKey(
            .export, "image", "path, overlay:PATH, memory:SIZE or null:SIZE", "has to be given",
            "A file or block device; SIZE as in 64M, 3G, 6291456s (sectors)."),
        SettingsKey(
            .export, "target", "name", "target-prefix, a colon and the export's name",
            "The iSCSI name of its target, if it is in no [[target]]."),
        SettingsKey(
            .export, "lun", "number, 0 to 63", "none",
            "Its logical unit in that target, which may then have others."),
        SettingsKey(
            .export, "changes", "path", "none",
            "A file that keeps the changes of overlay:PATH over a restart, a qcow2 image above PATH; it is made if it is missing."
        ),
        SettingsKey(
            .export, "record", "path", "none",
            "A new file for a recording of every write, zero, trim and flush; 'spindle cut' makes power cuts of it."),
        SettingsKey(
            .export, "state", "path", "none",
            "A file that keeps what a spindle-hd or spindle-ssd never forgets over a restart; it is made if it is missing."
        ),
        perClientKey(.export),
    ]

    private static let targetKeys = [
        SettingsKey(.target, "name", "name", "has to be given", "Its iSCSI name."),
        SettingsKey(
            .target, "luns", "list of strings", "has to be given",
            "The exports of its logical units 0, 1 and so on, by their names; an empty one leaves its number out."),
        SettingsKey(
            .target, "access", "list of tables", "everybody",
            "Rules for initiators that may find it, beside those of its exports."),
    ]

    private static let directoryKeys = [
        SettingsKey(
            .directory, "path", "path", "has to be given",
            "A directory: each file in it is an export of the file's name, hidden ones and links are none."),
        SettingsKey(
            .directory, "prefix", "string", "nothing", "The text before the file's name in the export's."),
    ]

    private static let templateKeys = [
        SettingsKey(
            .template, "name", "string", "has to be given",
            "The names of its exports, with one * for what makes them differ: vm-*."),
        SettingsKey(
            .template, "image", "overlay:PATH, memory:SIZE or null:SIZE", "has to be given",
            "The image of each of them: a disk of its own."),
        SettingsKey(
            .template, "count", "number, 1 to 4096", "those that clients ask for",
            "So many exports from the beginning, with 1, 2 and so on in the place of the *."),
        SettingsKey(
            .template, "most", "number, 1 to 4096", "64", "Without count: so many exports at a time."),
        SettingsKey(
            .template, "keep-seconds", "number, 0 to 1000000", "as long as the server runs",
            "Without count: how long an export stays when its last client has gone."),
        perClientKey(.template),
    ]

    private static let accessKeys = [
        SettingsKey(
            .access, "certificate", "string", "not asked for",
            "The client's certificate is that of this name: its subject, common name or another name."),
        SettingsKey(.access, "psk-user", "string", "not asked for", "The client's pre-shared key is this user's."),
        SettingsKey(
            .access, "address", "address or range", "not asked for",
            "The client comes over TCP from there: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32."),
        SettingsKey(
            .access, "user", "name or number", "not asked for", "The client on a Unix socket runs as this user."),
        SettingsKey(
            .access, "initiator", "name", "not asked for",
            "The client is an iSCSI initiator that says this name; only chap-user proves who it is."),
        SettingsKey(
            .access, "chap-user", "string", "not asked for",
            "The client is an iSCSI initiator that has proved by CHAP to be this user."),
    ]

    private static func perClientKey(_ section: Section) -> SettingsKey {
        SettingsKey(
            section, "per-client", "true or false", "false",
            "Each connection gets a disk of its own, which is gone with it: for overlay:PATH and memory:SIZE, over NBD."
        )
    }

    /// Keys that exports, directories and templates share.
    private static func driveKeys(_ section: Section) -> [SettingsKey] {
        [
            SettingsKey(
                section, "device", "text", "\"ide-hd\"",
                "The drive, in the words of QEMU's -device option: ide-hd,serial=..."),
            SettingsKey(section, "controller", "controller", "the server's", "piix3-ide or ich9-ahci."),
            SettingsKey(
                section, "cache", "cache mode", "\"writeback\"",
                "QEMU's cache mode: writeback, writethrough, none, directsync or unsafe."),
            SettingsKey(
                section, "image-format", "\"raw\" or \"qcow2\"", "\"qcow2\" for names that end in .qcow2, else \"raw\"",
                "The format of the image."),
            SettingsKey(
                section, "image-snapshot", "string", "none",
                "An internal snapshot of a qcow2 image, by its name or number: the disk as it was then, only read or below an "
                    + "overlay."),
            SettingsKey(
                section, "write-cache-model", "model", "\"image\"",
                "Where answered writes are until a flush: image, or volatile or volatile:SIZE, a cache in the drive that a power "
                    + "cut empties."),
            SettingsKey(
                section, "fault", "list of strings", "none",
                "What is wrong with a drive of spindle-hd or spindle-ssd: \"unreadable lba=81920..81927\"; docs/faults.md has the "
                    + "words."),
            SettingsKey(section, "read-only", "true or false", "false", "The image is opened for reading only."),
            SettingsKey(
                section, "locking", "\"on\" or \"off\"", "\"on\"",
                "Whether the image is locked, as QEMU locks it: off is for file systems that have no locks."),
            SettingsKey(
                section, "description", "string", "model, firmware, serial number and size",
                "A description for clients that list exports."),
            SettingsKey(section, "tls-only", "true or false", "false", "Only clients with TLS may open it."),
            SettingsKey(
                section, "access", "list of tables", "everybody",
                "Rules for clients that may open it: all conditions of one of them have to hold."),
            SettingsKey(
                section, "connections", "number, 1 to 1000000", "as many as there are",
                "How many connections may have it open at a time."),
            SettingsKey(
                section, "takeover", "true or false", "false",
                "A client that opens it ends its own connections from earlier: for drives with one client."),
        ]
    }

    /// The keys of a table.
    static func names(in section: Section) -> [String] {
        all.filter { $0.section == section }.map(\.name)
    }
}
