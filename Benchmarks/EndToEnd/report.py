"""The results as Markdown."""
from itertools import pairwise
from statistics import median


BESIDE_ISCSI = ("tgt", "spindle-nbd")
BESIDE_LAYERS = ("spindle-raw",)


class Table:
    """Medians of the rounds, by case and server."""

    def __init__(self, document):
        self.cases = document["cases"]
        self.all_servers = list(document["servers"])
        # Targets and layers, and what is measured beside them, have tables of their own.
        self.servers = [name for name in self.all_servers if name not in BESIDE_ISCSI + BESIDE_LAYERS]
        self.peers = [name for name in self.servers if name != "spindle"]
        self.entries, self.failures = {}, {}
        for entry in document["measurements"]:
            place = self.failures if "failure" in entry else self.entries
            place.setdefault((entry["case"], entry["server"]), []).append(entry)

    def median(self, case, server, value):
        entries = self.entries.get((case, server))
        return median(value(entry) for entry in entries) if entries else None

    def ratio(self, case, peer, value):
        """How many times as much Spindle has."""
        ratios = self.ratios((case, "spindle"), (case, peer), value)
        return median(ratios) if ratios else None

    def ratios(self, one, other, value):
        """How many times as much one pair of case and server has as another, in each round that has both."""
        values = {entry["round"]: value(entry) for entry in self.entries.get(one, [])}
        return [values[entry["round"]] / value(entry) for entry in self.entries.get(other, [])
                if entry["round"] in values and value(entry) > 0]

    def cell(self, case, server, value, text):
        figure = self.median(case, server, value)
        if figure is None:
            return "failed" if (case, server) in self.failures else ""
        return text(figure)

    def best_peer(self, case, value):
        """The peer with the lowest figure."""
        figures = [(figure, peer) for peer in self.peers if (figure := self.median(case, peer, value)) is not None]
        return min(figures)[1] if figures else None


def rate(entry):
    return entry["requestsPerSecond"]


def p99(entry):
    return entry["latencyMicroseconds"]["p99"]


def processor(entry):
    return entry["serverProcessorMicrosecondsPerRequest"]


def markdown(document):
    table = Table(document)
    special = {kind: [name for name in table.cases if name.startswith(f"{kind}-")]
               for kind in ("sweep", "memory", "scale", "flat", "iscsi", "layers")}
    cases = [name for name in table.cases if not any(name in names for names in special.values())]
    parts = [conditions(document)]
    if cases:
        parts += [
            "Requests per second; behind each peer's, how many times as many Spindle answers:\n\n"
            + rows(table, cases, rate, thousands, ratios=True),
            "p99 in microseconds, from a request's sending to the end of its reply; last, Spindle's in multiples of "
            "the lowest of the peers:\n\n"
            + rows(table, cases, p99, thousands, best=True),
            "Processor time of the server for each request, in microseconds; behind each peer's, how many times as "
            "much Spindle takes:\n\n"
            + rows(table, cases, processor, lambda value: f"{value:,.1f}", ratios=True),
        ]
    if special["scale"]:
        parts += [
            "Requests per second by connections; behind each peer's, how many times as many Spindle answers:\n\n"
            + rows(table, special["scale"], rate, thousands, ratios=True),
            "\n".join(line for server in table.servers if (line := falls(table, special["scale"], server)))]
    if special["flat"]:
        parts.append(flatness(table, special["flat"]))
    if special["iscsi"]:
        parts += iscsi(table, special["iscsi"])
    if special["layers"]:
        parts += layers(table, special["layers"])
    if special["memory"]:
        parts.append(memory(table))
    if table.failures:
        parts.append("What failed:\n\n" + "\n".join(
            f"- {table.cases[case]['title']}, {server}, {times(len(entries))}: {entries[-1]['failure']}"
            for (case, server), entries in table.failures.items()))
    return "\n\n".join(parts) + "\n"


def rows(table, cases, value, text, ratios=False, best=False, servers=None):
    servers = servers or table.servers
    heads = servers + ["Spindle / best peer"] * best
    lines = ["| load | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for case in cases:
        cells = []
        for server in servers:
            cell = table.cell(case, server, value, text)
            ratio = table.ratio(case, server, value) if ratios and server != "spindle" else None
            cells.append(cell if ratio is None else f"{cell} ({ratio:.2f}×)")
        if best:
            peer = table.best_peer(case, value)
            ratio = table.ratio(case, peer, value)
            cells.append("" if ratio is None else f"{ratio:.2f}× {peer}")
        lines.append(f"| {table.cases[case]['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def iscsi(table, cases):
    """Beside a target of others, and beside NBD: over TCP, for digests have no counterpart there."""
    servers = ["spindle"] + [name for name in BESIDE_ISCSI if name in table.all_servers]
    parts = [
        "iSCSI, requests per second; after the others', how many times as many Spindle answers over iSCSI (spindle-nbd "
        "is Spindle over NBD and TCP, without digests):\n\n" + rows(table, cases, rate, thousands, True, servers=servers),
        "iSCSI, processor time of the server for each request, in microseconds:\n\n"
        + rows(table, cases, processor, lambda value: f"{value:,.1f}", True, servers=servers)]
    lines = [f"- {table.cases[case]['title']}: {median(ratios):.2f}×" for case in cases
             if (ratios := table.ratios((f"{case}-digests", "spindle"), (case, "spindle"), rate))]
    return parts + (["With digests Spindle answers, of what it answers without:\n\n" + "\n".join(lines)] if lines else [])


def layers(table, cases):
    """Beside others' layers, and beside a raw image, at depth 32 (256 KiB: 8)."""
    servers = ["spindle"] + [name for name in ("qemu-nbd", "nbdkit", *BESIDE_LAYERS) if name in table.all_servers]
    return [
        "Layers, requests per second; after the others', how many times as many Spindle answers (spindle-raw is Spindle with a "
        "raw image, nbdkit has its cow filter):\n\n" + rows(table, cases, rate, thousands, True, servers=servers),
        "Layers, processor time of the server for each request, in microseconds:\n\n"
        + rows(table, cases, processor, lambda value: f"{value:,.1f}", True, servers=servers)]


def falls(table, cases, server):
    """Where a server answers fewer requests a second over more connections."""
    measured = [case for case in cases if (case, server) in table.entries]
    if len(measured) < 2:
        return ""
    found = []
    for fewer, more in pairwise(measured):
        ratio = table.median(more, server, rate) / table.median(fewer, server, rate)
        if ratio < 1:
            ratios = table.ratios((more, server), (fewer, server), rate)
            lower = sum(ratio < 1 for ratio in ratios)
            found.append(f"from {connections(fewer)} to {connections(more)} connections to {ratio:.2f}× "
                         f"(in {lower} of {len(ratios)} rounds)")
    return f"- {server} " + ("falls " + ", ".join(found) if found else "never falls") + "."


def connections(case):
    return case.removeprefix("scale-c")


def flatness(table, cases):
    lines = ["| Spindle serves | requests/s | to the first | server's microseconds a request | to the first |",
             "|---|" + "---:|" * 4]
    for case in cases:
        entries = table.entries.get((case, "spindle"))
        if not entries:
            continue
        count, size = table.cases[case]["exportCount"], binary_size(entries[0]["exportBytes"])
        cells = [f"{count} export{'s' if count > 1 else ''} of {size}"]
        for value, text in (rate, thousands), (processor, lambda value: f"{value:,.2f}"):
            ratios = table.ratios((case, "spindle"), (cases[0], "spindle"), value)
            cells += [text(table.median(case, "spindle", value)), f"{median(ratios):.2f}×" if ratios else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return (
        "What size and number of exports cost: 4 KiB random reads at depth 32 of the last 64 MiB of one export. The "
        "images are sparse: what is read are holes, which the page cache holds as pages of zeroes, like data. Where "
        "files cannot have 16 TiB, the largest power of two stands in. The client is not `spindle bench`, which reads "
        "all of an export, so these figures can be compared with one another only.\n\n" + "\n".join(lines))


def binary_size(byte_count):
    return f"{byte_count >> 40} TiB" if byte_count >= 1 << 40 else f"{byte_count >> 30} GiB"


def memory(table):
    lines = ["Resident memory in MiB, pages of the image that are mapped included:", "",
             "| | " + " | ".join(table.servers) + " |", "|---|" + "---:|" * len(table.servers)]
    for title, case, key in [("64 idle connections", "memory-read", "idleResidentKiB"),
                             ("64 connections, depth 128, 256 KiB: peak of reads", "memory-read", "peakResidentKiB"),
                             ("the same: peak of writes", "memory-write", "peakResidentKiB")]:
        cells = [table.cell(case, server, lambda entry: entry[key] / 1024, lambda value: f"{value:,.1f}")
                 for server in table.servers]
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines.append("")
    lines.append("nbd-server has a process for each client; its figure is that of the parent.")
    return "\n".join(lines)


def times(count):
    return "once" if count == 1 else f"{count} times"


def thousands(value):
    return f"{value:,.0f}"


def conditions(document):
    machine, how = document["machine"], document["conditions"]
    versions = "; ".join(f"{name}: {version}" for name, version in document["servers"].items())
    virtual = ", a virtual machine" if machine["isVirtual"] else ""
    return (
        f"{machine['processors']} processors ({machine['processor']}){virtual}, {machine['memoryGiB']} GiB of memory, "
        f"{machine['system']}, Linux {machine['kernel']}; image of {how['imageBytes'] >> 20} MiB on "
        f"{machine['fileSystem']}. Where nothing else is said it is in the page cache, page by page, and the socket is a "
        f"Unix socket. Client and server share the machine; the client is {how['client'].partition(',')[0]}. Rounds of "
        f"{how['secondsPerMeasurement']:g} s, {how['rounds']} of them, medians. {how['date']}, commit {how['commit']}."
        f"\n\n{versions}.")
