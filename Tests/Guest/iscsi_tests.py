"""Linux's own initiator against Spindle's iSCSI target (QEMU's user network), and QEMU's as the reference machine has it."""

import json
import random
import re
import subprocess

import comparison
import drive_tests
from guest import INSIDE, NETWORK, tools
from server import Server, free_port, identify, sparse

SECRET = "correct-horse-battery"
USER, OWN_SECRET = "iqn.2026-11.org.example:alice", "battery-staple-2"
# scsi_satl(8), and those of its programs that no other test needs.
SATL = ("bash", "scsi_satl", "sg_luns", "sg_requests", "sg_senddiag", "sg_turs")


def run(context):
    if context.outcomes.wanted("iscsi: piix3-ide"):
        drive_tests.reference(context, over="iscsi")
    context.outcomes.run("iscsi: Linux logs in, and sees the ATA drive", initiator, context)
    context.outcomes.run("iscsi: fio verifies random writes and trims", verify, context)
    context.outcomes.run("iscsi: two paths, a drive that grows, and a target that is killed", sessions, context)
    context.outcomes.run("iscsi: three units of a target, and two initiators that reserve one", units, context)
    context.outcomes.run("iscsi: tools reach the drive through scsi-generic", generic, context)


def boot(context, script, server, variables=None, **options):
    return context.guest.start(
        script, modules="virtio_net iscsi_tcp sd_mod sg ext4 crc32c_generic", qemu=NETWORK,
        variables={"port": server.iscsi, "target": "iqn.2026-11.org.spindle:disk", **(variables or {})},
        files={**tools("iscsistart", "skdump", *SATL), "job/iscsi-login": (INSIDE / "iscsi-login").read_bytes()},
        **options)


def daemon(*names, settings=""):
    """The initiator's daemon, which comes back whenever a target does, and further tools. `settings` are lines of its file."""
    return {"etc/passwd": b"root:x:0:0:root:/:/bin/sh\n",
            "etc/iscsi/initiatorname.iscsi": b"InitiatorName=iqn.2026-11.org.example:guest\n",
            "etc/iscsi/iscsid.conf": b"node.startup = manual\nnode.session.timeo.replacement_timeout = 600\n"
                                     b"node.conn[0].timeo.noop_out_interval = 5\nnode.conn[0].timeo.noop_out_timeout = 60\n"
                                     + settings.encode(),
            "job/iscsi-daemon": (INSIDE / "iscsi-daemon").read_bytes(), **tools("iscsid", "iscsiadm", *names)}


class Target(Server):
    """A server with an iSCSI endpoint, whose port is `iscsi`."""

    def __init__(self, context, *arguments):
        self.iscsi = free_port()
        super().__init__(context.program, "--listen", f"iscsi:127.0.0.1:{self.iscsi}", *arguments)


def initiator(context):
    """With CHAP: what tools say of the disk is what the drive says, and a file system holds what was written."""
    image = sparse(context.folder / "iscsi.img", 256 << 20)
    secrets = context.folder / "chap"
    secrets.write_text(f"alice:{SECRET}\n")
    device = "ide-hd,serial=918a6997-1928-38a1-9"
    with Target(context, "--chap", secrets, "--device", device, f"disk={image}") as server:
        with boot(context, "iscsi.sh", server, {"user": "alice", "password": SECRET}) as guest:
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"
    said = outcome.text("hdparm")
    for words in ["QEMU HARDDISK", "918a6997-1928-38a1-9", "Firmware Revision:  2.5+"]:
        assert words in said, f"hdparm -I does not say {words!r}:\n{said}"
    seen = "".join(outcome.text("words").split())
    expected = "".join(identify(context.program, "--device", device, "--format", "words", str(image)).decode().split())
    assert seen == expected, f"hdparm --Istdout says {seen}, and spindle identify {expected}"
    assert re.findall(r"write-caching =  (\d)", outcome.text("cache")) == list("10011"), outcome.text("cache")
    assert "SG_IO" not in outcome.text("cache"), outcome.text("cache")
    assert "ATA" in outcome.text("inquiry") and "QEMU HARDDISK" in outcome.text("inquiry")
    assert "SMART overall-health self-assessment test result: PASSED" in outcome.text("smartctl"), outcome.text("smartctl")
    assert "registers missing" not in outcome.text("smartctl"), outcome.text("smartctl")
    assert "Overall Status: GOOD" in outcome.text("skdump"), outcome.text("skdump")
    assert "total number of bad errors: 0" in outcome.text("satl"), outcome.text("satl")
    assert int(outcome.text("files")) > 100, outcome.output


def verify(context):
    seed = random.randrange(2**31)
    image = sparse(context.folder / "iscsi-verify.img", 256 << 20)
    with Target(context, f"disk={image}") as server:
        with boot(context, "iscsi-verify.sh", server, {"seed": seed}, fio=True) as guest:
            outcome = guest.finish()
    job = json.loads(outcome.text("fio.json"))["jobs"][0]
    amounts = {direction: job[direction]["total_ios"] for direction in ("read", "write", "trim")}
    assert job["error"] == 0 and all(amounts.values()), f"seed {seed}: {amounts}, error {job['error']}"


def sessions(context):
    """A file system on two paths: the drive grows, the target is killed twice, and a path goes. Both sides prove who they are."""
    image = sparse(context.folder / "iscsi-sessions.img", 64 << 20)
    control = context.folder / "iscsi-sessions.control"
    secrets, own = context.folder / "chap-initiators", context.folder / "chap-own"
    secrets.write_text(f"{USER}:{SECRET}\n")
    own.write_text(f"disks:{OWN_SECRET}\n")
    discovery = "".join(f"discovery.sendtargets.auth.{name} = {value}\n"
                        for name, value in (("authmethod", "CHAP"), ("username", USER), ("password", SECRET)))
    with Target(context, "--chap", secrets, "--chap-target", own, "--control", f"unix:{control}", f"disk={image}") as server:
        with context.guest.start(
                "iscsi-sessions.sh", modules="virtio_net iscsi_tcp sd_mod ext4 crc32c_generic dm_multipath dm_round_robin",
                qemu=NETWORK, files=daemon(settings=discovery),
                variables={"port": server.iscsi, "target": "iqn.2026-11.org.spindle:disk", "records": 60,
                           "user": USER, "password": SECRET, "user_in": "disks", "password_in": OWN_SECRET}) as guest:
            guest.wait_for("logged in")
            connections = subprocess.run([context.program, "ctl", "--control", f"unix:{control}", "connections"], check=True,
                                         capture_output=True, errors="replace").stdout
            assert USER in connections, connections
            subprocess.run([context.program, "ctl", "--control", f"unix:{control}", "grow", "disk", "96M"], check=True,
                           stdout=subprocess.DEVNULL)
            for record in (10, 30):
                guest.wait_for(f"record {record}")
                server.kill()
                server.start()
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"
    assert "iqn.2026-11.org.spindle:disk" in outcome.text("found"), outcome.text("found")
    # 19 is ISCSI_ERR_FATAL_LOGIN: the initiator gave up. A target that refuses makes it 24.
    assert outcome.text("impostor") == "19\n", outcome.text("impostor")
    assert outcome.text("size") == f"{96 << 20}\n", outcome.text("size")
    assert outcome.text("files") == "61\n", outcome.text("files")
    states = re.findall(r"\d+:\d+ ([AF])", outcome.text("paths"))
    assert sorted(states) == ["A", "F"], f"the paths are {outcome.text('paths')}"


def units(context):
    """A group of exports is one target with several disks. Two initiators share one by reservations, which are there
    when the target was killed and started again."""
    target, sizes, folder = "iqn.2026-11.org.example:group", (16 << 20, 48 << 20, 32 << 20), context.folder / "reserved"
    folder.mkdir()
    tables = [f'[[export]]\nname = "unit{lun}"\nimage = "{sparse(context.folder / f"unit{lun}.img", size)}"\n'
              f'device = "ide-hd,serial=GROUP-{lun}"\n' for lun, size in enumerate(sizes)]
    settings = context.folder / "units.toml"
    settings.write_text("".join(tables) + f'[[target]]\nname = "{target}"\nluns = ["unit0", "unit1", "unit2"]\n')
    with Target(context, "--config", settings, "--reservations", folder) as server:
        with context.guest.start("iscsi-units.sh", modules="virtio_net iscsi_tcp sd_mod sg crc32c_generic", qemu=NETWORK,
                                 files=daemon("sg_persist"),
                                 variables={"port": server.iscsi, "target": target}) as guest:
            guest.wait_for("reserved")
            server.kill()
            server.start()
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"

    def says(name, *words):
        text = outcome.text(name)
        assert all(word in text for word in words), f"{name} does not say {words}: {text}"

    disks = outcome.text("lsscsi").splitlines()
    places = [line.split()[0].strip("[]").split(":") for line in disks]
    assert [place[-1] for place in places] == ["0", "1", "2"] and len({tuple(place[:-1]) for place in places}) == 1, disks
    assert all(" disk    ATA      QEMU HARDDISK    2.5+  /dev/sd" in line for line in disks), disks
    for lun, size in enumerate(sizes):
        assert outcome.text(f"size-{lun}") == f"{size}\n", f"LUN {lun} has {outcome.text(f'size-{lun}')}"
        says(f"inquiry-{lun}", "QEMU HARDDISK", f"Unit serial number: GROUP-{lun} ")
    for name in ("before", "alice-holds", "other-unit", "bob-holds", "bob-after-restart", "alice-after-release"):
        assert outcome.text(name) == "written\n", f"{name}: {outcome.text(name)}"
    # EBADE is what Linux makes of RESERVATION CONFLICT.
    for name in ("bob-is-kept-out", "alice-is-kept-out", "alice-after-restart"):
        says(name, "Invalid exchange")
    says("kernel", ":1: reservation conflict", f"nexus error, dev {outcome.text('bob').strip().removeprefix('/dev/')},")
    says("reserved-by-alice", "Key=0xa11ce", "type: Write Exclusive\n")
    says("reserved-after-restart", "Key=0xb0b", "type: Write Exclusive\n")
    says("released", "there is NO reservation held")
    read = [outcome.text(name).strip() for name in ("bob-reads", "alice-reads", "bob-reads-last")]
    assert read == ["alice", "bob", "alice"], read


def generic(context):
    """QEMU hands the guest's commands on as they are: what tools say of the drive is what `spindle identify` says."""
    image = sparse(context.folder / "iscsi-generic.img", 256 << 20)
    device = "ide-hd,serial=918a6997-1928-38a1-9"
    files = tools(*SATL, "sg_opcodes", "sg_persist")
    with Target(context, "--device", device, f"disk={image}") as server:
        disk = ["-device", "virtio-scsi-pci", "-device", "scsi-generic,drive=disk", "-drive",
                f"if=none,id=disk,format=raw,file=iscsi://127.0.0.1:{server.iscsi}/iqn.2026-11.org.spindle:disk/0"]
        outcome = context.guest.boot("generic.sh", modules="virtio_scsi sd_mod sg", disks=1, qemu=disk, files=files)
        assert server.stop() == 0, "the server did not end well"

    def says(name, *words, status=("0",)):
        text = outcome.text(name)
        assert outcome.text(f"{name}.status").strip() in status, f"{name}: {text}"
        for word in words:
            assert word in text, f"{name} does not say {word!r}:\n{text}"

    seen = "".join(outcome.text("words").split())
    expected = "".join(identify(context.program, "--device", device, "--format", "words", str(image)).decode().split())
    assert seen == expected, f"hdparm --Istdout says {seen}, and spindle identify {expected}"
    expected = identify(context.program, "--device", device, "--format", "hdparm", str(image)).decode()
    says("hdparm")
    # hdparm complains of sense data in fixed format, and goes on.
    seen = "".join(line for line in outcome.text("hdparm").splitlines(keepends=True) if not line.startswith("SG_IO: "))
    assert seen == expected, f"hdparm -I says {seen}, and spindle identify {expected}"
    says("cache", "write-caching =  1 (on)")
    says("cache-off", "setting drive write-caching to 0 (off)", "write-caching =  0 (off)")
    says("cache-is-off", "write-caching =  0 (off)")
    says("cache-on", "setting drive write-caching to 1 (on)", "write-caching =  1 (on)")
    # Without the drive's registers smartctl judges by the attributes.
    says("smartctl", "QEMU HARDDISK", "SMART Status not supported: Incomplete response, ATA output registers missing",
         "test result: PASSED", "Warning: This result is based on an Attribute check.", "190 Airflow_Temperature_Cel")
    says("inquiry", "Vendor identification: ATA", "Product identification: QEMU HARDDISK")
    says("designators", "vendor id: ATA", "QEMU HARDDISK", "iqn.2026-11.org.spindle:disk")
    says("limits", "Maximum unmap LBA count")
    says("opcodes", "Persistent reserve out, register and move", "Compare and write", "ATA pass-through(16)")
    for name in ("register", "reserve", "release"):
        says(name)
    says("reservation", "Key=0x1234", "Write Exclusive, registrants only")
    says("satl", "total number of bad errors: 0")
    kernel = identify(context.program, "--device", device, "--format", "kernel", str(image)).decode()
    names = re.search(r"Direct-Access +(.*) PQ:", kernel)[1]
    assert re.fullmatch(rf"\[[\d:]+\] +disk    {re.escape(names)}  /dev/sda *\n", outcome.text("lsscsi")), outcome.text("lsscsi")
    seen = comparison.lshw_fields(outcome.text("lshw"))
    expected = comparison.lshw_fields(identify(context.program, "--device", device, "--format", "lshw", str(image)).decode())
    # Where the disk hangs is the virtual controller's affair.
    for fields in (seen, expected):
        fields.pop("bus info")
    assert seen == expected, f"lshw says {seen}, and spindle identify {expected}"
