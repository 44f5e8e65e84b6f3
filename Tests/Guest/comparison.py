"""One disk in a guest and the same drive in the reports of `spindle identify`, line by line and byte by byte."""

import dataclasses
import json
import re
import subprocess

from server import identify

REPORTS = ["kernel log", "hdparm --Istdout", "hdparm -I", "sg_inq", "sg_vpd", "sg_modes", "sg_readcap", "smartctl -i",
           "lshw"]


@dataclasses.dataclass
class Row:
    """A drive in the table: how many lines or fields of each report were compared."""

    controller: str
    specification: str
    image: str
    cache: str
    compared: dict[str, int]
    differences: int


def markdown(rows) -> str:
    """The table of all drives."""
    lines = ["| controller | device | image | cache | " + " | ".join(REPORTS) + " | differences |",
             "|" + " --- |" * (len(REPORTS) + 5)]
    for row in rows:
        counts = [str(row.compared.get(report, "-")) for report in REPORTS]
        lines.append(f"| {row.controller} | `{row.specification}` | {row.image} | {row.cache} | " + " | ".join(counts)
                     + f" | {row.differences or 'none'} |")
    return "\n".join(lines) + "\n"


def compare(program, options, slot, outcome, names_too):
    """Returns how much of each report was compared, and the differences in words."""
    comparison = Comparison(program, options, f"{slot[0]}:0:{slot[1]}:0", outcome, names_too)
    if not any(name.startswith(comparison.address) for name in outcome.files):
        return {}, [f"the guest has no disk {comparison.address}"]
    for check in (comparison.kernel_log, comparison.words, comparison.hdparm, comparison.inquiry,
                  comparison.vital_product_data, comparison.mode_pages, comparison.capacity, comparison.smartctl,
                  comparison.lshw):
        check()
    return comparison.compared, comparison.differences


def compare_dvd(program, options, slot, outcome):
    """Returns how a DVD drive differs in the kernel's log and for lshw, in words."""
    comparison = Comparison(program, options, f"{slot[0]}:0:{slot[1]}:0", outcome, names_too=True)
    comparison.kernel_log("|cdrom: ")
    comparison.lshw()
    return comparison.differences


class Comparison:
    """What a guest says of one disk."""

    def __init__(self, program, options, address, outcome, names_too):
        self._program, self._options = program, options
        self.address, self._files = address, outcome.files
        self._names_too = names_too
        self.compared, self.differences = dict.fromkeys(REPORTS, 0), []

    def _text(self, name) -> str:
        return self._files.get(f"{self.address}/{name}", b"").decode(errors="replace")

    def _bytes(self, name) -> bytes:
        return self._files.get(f"{self.address}/{name}", b"")

    def _identify(self, report) -> str:
        return identify(self._program, "--format", report, *self._options).decode()

    def _page(self, name) -> bytes:
        return bytes.fromhex(self._identify(f"scsi:{name}"))

    def _same(self, report, seen, expected):
        """Two lists of lines or two dictionaries of fields."""
        if isinstance(expected, list):
            longest = max(len(seen), len(expected))
            seen, expected = ({f"line {number + 1}": lines[number] if number < len(lines) else None
                               for number in range(longest)} for lines in (seen, expected))
        self.compared[report] += len(expected)
        for field in {**expected, **seen}:
            if seen.get(field) != expected.get(field):
                self.differences.append(
                    f"{report}, {field}: the guest has {seen.get(field)!r}, spindle identify {expected.get(field)!r}")

    def _same_bytes(self, report, name, seen, expected):
        """Linux fills an answer up to the length that was asked for."""
        padded = expected + bytes(max(0, len(seen) - len(expected)))
        self._same(report, {name: seen.hex(" ")}, {name: padded.hex(" ")})

    def kernel_log(self, others=""):
        bus, _, unit, _ = self.address.split(":")
        about = re.compile(rf"ata{int(bus) + 1}\.0{unit}: |(scsi|sd|sr) {self.address}: {others}")
        lines = [line for line in self._files["log"].decode(errors="replace").splitlines() if about.match(line)]
        expected = self._identify("kernel").splitlines()
        # The drive and the generic device are probed at the same time as all others.
        lines, expected = (sorted(text, key=lambda line: "Attached scsi generic" in line) for text in (lines, expected))
        if not self._names_too:
            lines = [line.replace(f"[{self._text('name').strip()}]", "[sda]") for line in lines]
            lines, expected = ([re.sub(r"generic sg\d+", "generic sg", line) for line in text]
                               for text in (lines, expected))
        self._same("kernel log", lines, expected)

    def words(self):
        self._same("hdparm --Istdout", self._text("words").split(), self._identify("words").split())

    def hdparm(self):
        text = self._text("hdparm").replace(f"/dev/{self._text('name').strip()}:", "/dev/sda:")
        self._same("hdparm -I", text.splitlines(), self._identify("hdparm").splitlines())

    def inquiry(self):
        # On a device sg_inq asks for the serial number as well.
        lines = self._text("inquiry").splitlines()
        serial = [line for line in lines if "Unit serial number" in line]
        decoded = decode(["sg_inq", "--inhex=-"], self._identify("scsi:inquiry")).splitlines()
        self._same("sg_inq", [line for line in lines if line not in serial], decoded)
        expected = self._page("vpd-80")[4:].decode().strip()
        self._same("sg_inq", {"serial": "".join(serial).partition(":")[2].strip()}, {"serial": expected})

    def vital_product_data(self):
        pages = [f"{page:02x}" for page in self._bytes("pages")[4:]]
        self._same("sg_vpd", {"pages": pages}, {"pages": [f"{page:02x}" for page in self._page("vpd-00")[4:]]})
        for page in pages:
            # Page B9h is in the list of Linux 6.1, and yet it refuses it.
            if page == "b9":
                continue
            self._same_bytes("sg_vpd", f"page {page}", self._bytes(f"vpd-{page}.bytes"), self._page(f"vpd-{page}"))
            decoded = decode(["sg_vpd", "--inhex=-"], self._identify(f"scsi:vpd-{page}"))
            self._same("sg_vpd", self._text(f"vpd-{page}").splitlines(), decoded.splitlines())

    def mode_pages(self):
        pages = self._page("mode")
        self._same_bytes("sg_modes", "current pages", self._bytes("mode.bytes"), pages)
        self._same_bytes("sg_modes", "changeable pages", self._bytes("changeable.bytes"),
                         self._page("mode-3f-changeable"))
        # The text shows the block descriptor and the pages as hexadecimal numbers, 16 to a line.
        shown = re.findall(r"^ [0-9a-f]{2}     (.*?)$", self._text("mode"), re.MULTILINE)
        self._same("sg_modes", {"text": bytes.fromhex("".join(shown)).hex(" ")}, {"text": pages[8:].hex(" ")})

    def capacity(self):
        short, long = self._page("readcap10"), self._page("readcap16")
        self._same_bytes("sg_readcap", "READ CAPACITY (10)", self._bytes("readcap10.bytes"), short)
        self._same_bytes("sg_readcap", "READ CAPACITY (16)", self._bytes("readcap16.bytes"), long)
        text = self._text("readcap16")
        number = lambda pattern: int(re.search(pattern + r"=(\d+)", text)[1])
        self._same("sg_readcap", {
            "last block": number("Last LBA"), "block length": number("Logical block length"),
            "exponent": number("physical block exponent"), "lbpme": number("lbpme"), "lbprz": number("lbprz"),
        }, {
            "last block": int.from_bytes(long[0:8]), "block length": int.from_bytes(long[8:12]),
            "exponent": long[13] & 0xF, "lbpme": long[14] >> 7, "lbprz": long[14] >> 6 & 1,
        })

    def smartctl(self):
        drive = json.loads(self._identify("json"))
        fields = re.findall(r"^([A-Z][^:\n]*?): +(.*?)$", self._text("smartctl"), re.MULTILINE)
        # What the machine's clock and smartctl's own database say is not the drive's. SMART support comes twice.
        seen = {name: value.strip() for name, value in fields if name not in ("Local Time is", "Device is")}
        self._same("smartctl -i", seen, smartctl_fields(drive))

    def lshw(self):
        sections = re.split(r"^  \*-", self._files["lshw"].decode(errors="replace"), flags=re.MULTILINE)
        bus = "scsi@{0}:{1}.{2}.{3}".format(*self.address.split(":"))
        section = next((section for section in sections if f"bus info: {bus}\n" in section), "")
        seen, expected = lshw_fields(section), lshw_fields(self._identify("lshw"))
        # What is on the disk is not the drive's: lshw looks for a partition table.
        if "capabilities" not in expected:
            seen.pop("capabilities", None)
        if not self._names_too:
            # With several disks in a machine lshw numbers them.
            for fields in (seen, expected):
                fields.pop("physical id", None)
                fields.pop("logical name", None)
        self._same("lshw", seen, expected)


def decode(command, hexadecimal) -> str:
    """What a tool of sg3-utils prints for data that it is given."""
    return subprocess.run(command, input=hexadecimal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          timeout=30).stdout


def lshw_fields(section) -> dict[str, str]:
    return dict(re.findall(r"^       (\S[^:]*): (.*)$", section, re.MULTILINE))


def smartctl_fields(drive) -> dict[str, str]:
    """What smartctl 7.3 prints, from the members of spindle's report in JSON."""
    fields = {
        "Device Model": drive["model"].strip() or "[No Information Found]",
        "Serial Number": drive["serial"].strip() or "[No Information Found]",
        "Firmware Version": drive["firmware"].strip() or "[No Information Found]",
        "User Capacity": f"{drive['bytes']:,} bytes [{shortened(drive['bytes'])}]",
        "ATA Version is": "ATA/ATAPI-7, ATA/ATAPI-5 published, ANSI NCITS 340-2000",
        "SMART support is": "Enabled",
    }
    logical, physical = drive["logicalSectorBytes"], drive["physicalSectorBytes"]
    if logical == physical:
        fields["Sector Size"] = f"{logical} bytes logical/physical"
    else:
        fields["Sector Sizes"] = f"{logical} bytes logical, {physical} bytes physical"
    if drive["wwn"]:
        digits = f"{int(drive['wwn'], 16):016x}"
        fields["LU WWN Device Id"] = f"{digits[0]} {digits[1:7]} {digits[7:]}"
    rate = drive["rotationRate"]
    if rate == 1:
        fields["Rotation Rate"] = "Solid State Device"
    elif 1 < rate <= 0x400:
        fields["Rotation Rate"] = f"Unknown (0x{rate:04x})"
    elif 0x400 < rate < 0xFFFF:
        fields["Rotation Rate"] = f"{rate} rpm"
    if drive["trim"]:
        fields["TRIM Command"] = "Available, deterministic"
    elif rate == 1:
        # smartctl speaks of TRIM for every solid state drive, and for others only if they have it.
        fields["TRIM Command"] = "Unavailable"
    return fields


def shortened(count: int) -> str:
    """smartctl's short form of a capacity: three digits, the rest cut off."""
    unit, name = 1, "B"
    for name in ("B", "KB", "MB", "GB", "TB", "PB"):
        if count < unit * 1000 or name == "PB":
            break
        unit *= 1000
    whole = count // unit
    if unit == 1 or whole >= 100:
        return f"{whole} {name}"
    if whole >= 10:
        return f"{whole}.{count * 10 // unit % 10} {name}"
    return f"{whole}.{count * 100 // unit % 100:02d} {name}"
