"""DVD-ROMs: QEMU's own with a disc that Spindle serves, and Spindle's over iSCSI, as Linux and tools for discs see them."""

import hashlib
import random
import re
import struct
import subprocess

from guest import NETWORK, program
from server import Server, free_port, identify, sparse

TOOLS = ["eject", "wodim", "cd-info", "cd-drive", "isoinfo", "sg_opcodes", "sg_luns", "sg_turs", "sg_get_config"]
DISCS = ["sr0", "sr1", "sr2"]


def run(context):
    context.outcomes.run("disc: Linux and its tools see a DVD-ROM, and another disc in it", discs, context)


def disc(context, name):
    """A disc with one file, in ISO 9660 and UDF: its path, and what sha256sum(1) prints of the file."""
    source = context.folder / name
    source.mkdir()
    content = random.randbytes(3_000_001)
    (source / "payload.bin").write_bytes(content)
    image = context.folder / f"{name}.iso"
    subprocess.run(["genisoimage", "-quiet", "-R", "-J", "-udf", "-V", "SPINDLE", "-o", image, source], check=True)
    # Like Debian's discs, this one boots as a disk, too: lshw tells the signature, and finds the second partition.
    with image.open("r+b") as file:
        file.seek(440)
        file.write(bytes.fromhex("dec0adde") + bytes(2))
        for flag, kind, first, count in ((0x80, 0, 0, image.stat().st_size // 512), (0, 0xEF, 100, 1000)):
            file.write(struct.pack("<B3xB3xII", flag, kind, first, count))
        file.seek(510)
        file.write(b"\x55\xaa")
    return image, f"{hashlib.sha256(content).hexdigest()}  -"


def discs(context):
    first, sum_of_first = disc(context, "disc")
    second, sum_of_second = disc(context, "other")
    # More than a CD holds.
    large = sparse(context.folder / "large.iso", 1 << 30, first.read_bytes())
    control = context.folder / "disc-control"
    portal = free_port()
    config = context.folder / "disc.toml"
    config.write_text(f"""
        [[export]]
        name = "disc"
        image = "{first}"
        device = "ide-cd"
        [[export]]
        name = "full"
        image = "{first}"
        device = "spindle-cd"
        [[export]]
        name = "large"
        image = "{large}"
        device = "ide-cd"
        """)

    def ctl(*words):
        command = [context.program, "ctl", "--control", f"unix:{control}", *map(str, words)]
        return subprocess.run(command, capture_output=True, errors="replace")

    socket = f"unix:{context.folder}/disc-nbd"
    arguments = ["-drive", f"if=none,id=cd,file=nbd:{socket},format=raw,readonly=on",
                 "-device", "ide-cd,bus=ide.1,unit=0,drive=cd"]
    files = {**program("/usr/sbin/iscsistart", "/usr/bin/iscsistart")}
    for tool in TOOLS:
        files |= program(f"/usr/bin/{tool}")
    with Server(context.program, "--listen", f"iscsi:127.0.0.1:{portal}", "--control", f"unix:{control}",
                "--sandbox-path", context.folder, "--config", config, listen=socket) as server:
        with context.guest.start(
                "disc.sh", modules="ata_piix sr_mod sg isofs udf virtio_net iscsi_tcp crc32c_generic", disks=1,
                qemu=NETWORK + arguments, files=files,
                variables={"port": portal, "target": "iqn.2026-11.org.spindle:disc",
                           "full": "iqn.2026-11.org.spindle:full", "large": "iqn.2026-11.org.spindle:large"}) as guest:
            guest.wait_for("locked")
            refused = ctl("eject", "disc")
            assert refused.returncode == 1 and "has locked the tray" in refused.stderr, refused
            assert "tray locked" in ctl("list").stdout, ctl("list")
            guest.wait_for("ejected")
            shown = ctl("show", "disc").stdout
            assert "tray open" in shown and str(first) in shown, shown
            inserted = ctl("insert", "disc", second)
            assert inserted.returncode == 0, inserted
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"
    check(context, outcome, first, sum_of_first)
    assert outcome.text("payload-other").strip() == sum_of_second, "not the disc that was put in"
    assert "Medium not present" in outcome.text("open"), outcome.text("open")


def names(context, device, image):
    """Vendor, product and version of a drive, as the kernel prints them."""
    lines = identify(context.program, "--device", device, "--format", "kernel", str(image)).decode()
    return re.search(r"CD-ROM +(\S.*) PQ:", lines)[1]


def check(context, outcome, image, checksum):
    """What the kernel and tools have said."""
    assert outcome.text("failed") == "", outcome.text("failed") + outcome.output
    kernel = outcome.text("dmesg") + outcome.text("dmesg-later")
    device = "ide-cd,bus=ide.1,unit=0"
    for line in identify(context.program, "--device", device, "--format", "kernel", str(image)).decode().splitlines():
        assert line in kernel.splitlines(), f"no line {line!r}:\n{kernel}"
    drives = [line for line in kernel.splitlines() if "scsi3-mmc drive: 4x/4x cd/rw xa/form2 tray" in line]
    assert len({line.split("[")[1][:3] for line in drives}) == 4, drives
    section = identify(context.program, "--device", device, "--format", "lshw", str(image)).decode()
    assert "partitioned:dos" in section, section
    assert section in re.split(r"^(?=  \*-)", outcome.text("lshw"), flags=re.MULTILINE), f"no {section}:\n{outcome.text('lshw')}"
    for name in DISCS:
        for system in ("iso9660", "udf"):
            assert outcome.text(f"payload-{name}-{system}").strip() == checksum, f"{name} reads something else as {system}"
        assert "Volume id: SPINDLE" in outcome.text(f"isoinfo-{name}"), outcome.text(f"isoinfo-{name}")
        assert "ISO 9660" in outcome.text(f"cd-info-{name}"), outcome.text(f"cd-info-{name}")
        assert "first: 1 last 1" in outcome.text(f"toc-{name}"), outcome.text(f"toc-{name}")
        assert "Current profile: CD-ROM" in outcome.text(f"config-{name}"), outcome.text(f"config-{name}")
    assert "QEMU DVD-ROM" in outcome.text("inq-sr1") and "SPINDLE" in outcome.text("inq-sr2")
    seen = [re.sub(r"^\[\S+\] +", "", line).rstrip() for line in outcome.text("lsscsi").splitlines()]
    expected = [f"cd/dvd  {names(context, device, image)}  /dev/sr{number}"
                for number, device in enumerate(["ide-cd", "ide-cd", "spindle-cd", "ide-cd"])]
    assert seen == expected, f"lsscsi has {seen}, and spindle identify {expected}"
    assert "Current profile: DVD-ROM" in outcome.text("config-sr3"), outcome.text("config-sr3")
    for feature in ["Core", "Morphing", "Removable media", "Random readable", "Power management", "Timeout", "Drive serial number"]:
        assert feature in outcome.text("config-sr2"), f"no {feature}:\n{outcome.text('config-sr2')}"
    # Below ATA, wodim takes QEMU's drive for an older one, and asks for no capabilities.
    for name in DISCS[1:]:
        assert "Does read CD-R media" in outcome.text(f"prcap-{name}"), outcome.text(f"prcap-{name}")
        assert "Get configuration" in outcome.text(f"opcodes-{name}"), outcome.text(f"opcodes-{name}")
        assert "0000000000000000" in outcome.text(f"luns-{name}"), outcome.text(f"luns-{name}")
    assert "Error in getting" not in outcome.text("cd-drive-sr2"), outcome.text("cd-drive-sr2")
