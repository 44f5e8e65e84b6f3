"""Linux's own initiator against Spindle's iSCSI target (QEMU's user network), and QEMU's as the reference machine has it."""

import json
import random

import drive_tests
from guest import INSIDE, program
from server import Server, free_port, identify, sparse

NETWORK = ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
SECRET = "correct-horse-battery"


def run(context):
    if context.outcomes.wanted("iscsi: piix3-ide"):
        drive_tests.reference(context, over="iscsi")
    context.outcomes.run("iscsi: Linux logs in, and sees the ATA drive", initiator, context)
    context.outcomes.run("iscsi: fio verifies random writes and trims", verify, context)


def boot(context, script, server, variables=None, **options):
    return context.guest.start(
        script, modules="virtio_net iscsi_tcp sd_mod sg ext4 crc32c_generic", qemu=NETWORK,
        variables={"port": server.iscsi, "target": "iqn.2026-11.org.spindle:disk", **(variables or {})},
        files={**program("/usr/sbin/iscsistart", "/usr/bin/iscsistart"), "job/iscsi-login": (INSIDE / "iscsi-login").read_bytes()},
        **options)


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
    assert "ATA" in outcome.text("inquiry") and "QEMU HARDDISK" in outcome.text("inquiry")
    assert "SMART overall-health self-assessment test result: PASSED" in outcome.text("smartctl"), outcome.text("smartctl")
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
