"""The results as Markdown."""
from statistics import median


class Table:
    """Medians of the rounds, by case and server."""

    def __init__(self, document):
        self.cases = document["cases"]
        self.servers = list(document["servers"])
        self.peers = [name for name in self.servers if name != "spindle"]
        self.entries = {}
        for entry in document["measurements"]:
            self.entries.setdefault((entry["case"], entry["server"]), []).append(entry)

    def median(self, case, server, value):
        entries = self.entries.get((case, server))
        return median(value(entry) for entry in entries) if entries else None

    def ratio(self, case, peer, value):
        """How many times as much Spindle has: the median of the ratios within a round."""
        ours = {entry["round"]: value(entry) for entry in self.entries.get((case, "spindle"), [])}
        ratios = [ours[entry["round"]] / value(entry) for entry in self.entries.get((case, peer), [])
                  if entry["round"] in ours and value(entry) > 0]
        return median(ratios) if ratios else None


def rate(entry):
    return entry["requestsPerSecond"]


def p99(entry):
    return entry["latencyMicroseconds"]["p99"]


def processor(entry):
    return entry["serverProcessorMicrosecondsPerRequest"]


def markdown(document):
    table = Table(document)
    cases = [name for name in table.cases if not name.startswith("sweep-") and name != "memory"]
    parts = [conditions(document)]
    if cases:
        parts += [
            "Requests per second; behind each peer's, how many times as many Spindle answers:\n\n"
            + rows(table, cases, rate, thousands, ratios=True),
            "p99 in microseconds, from a request's sending to the end of its reply:\n\n"
            + rows(table, cases, p99, lambda value: f"{value:,.0f}"),
            "Processor time of the server for each request, in microseconds:\n\n"
            + rows(table, cases, processor, lambda value: f"{value:,.1f}"),
        ]
    if "memory" in table.cases:
        parts.append(memory(table))
    return "\n\n".join(parts) + "\n"


def rows(table, cases, value, text, ratios=False):
    lines = ["| load | " + " | ".join(table.servers) + " |", "|---|" + "---:|" * len(table.servers)]
    for case in cases:
        cells = []
        for server in table.servers:
            figure = table.median(case, server, value)
            cell = "" if figure is None else text(figure)
            if ratios and server != "spindle" and figure is not None:
                ratio = table.ratio(case, server, value)
                cell += f" ({ratio:.2f}×)" if ratio is not None else ""
            cells.append(cell)
        lines.append(f"| {table.cases[case]['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory(table):
    def mebibytes(server, key):
        value = table.median("memory", server, lambda entry: entry[key])
        return "" if value is None else f"{value / 1024:,.1f}"

    lines = ["Resident memory in MiB:", "", "| | " + " | ".join(table.servers) + " |",
             "|---|" + "---:|" * len(table.servers)]
    for title, key in [("64 idle connections", "idleResidentKiB"),
                       ("64 connections at depth 128 of 256 KiB, peak", "peakResidentKiB")]:
        lines.append(f"| {title} | " + " | ".join(mebibytes(server, key) for server in table.servers) + " |")
    lines.append("")
    lines.append("nbd-server has a process for each client; its figure is that of the parent.")
    return "\n".join(lines)


def thousands(value):
    return f"{value:,.0f}"


def conditions(document):
    machine, how = document["machine"], document["conditions"]
    versions = "; ".join(f"{name}: {version}" for name, version in document["servers"].items())
    virtual = ", a virtual machine" if machine["isVirtual"] else ""
    return (
        f"{machine['processors']} processors ({machine['processor']}){virtual}, {machine['memoryGiB']} GiB of memory, "
        f"{machine['system']}, Linux {machine['kernel']}; image of {how['imageBytes'] >> 20} MiB on "
        f"{machine['fileSystem']}, in the page cache but for O_DIRECT. Client and server share the machine; the client is "
        f"{how['client'].partition(',')[0]}. Unix socket where nothing else is said. {how['rounds']} rounds of "
        f"{how['secondsPerMeasurement']:g} s, medians. {how['date']}, commit {how['commit']}.\n\n{versions}.")
