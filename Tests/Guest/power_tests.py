"""Power cuts of a drive with a volatile write cache, as a guest's file system and git find them afterwards."""

import json
import subprocess

from guest import tools
from nbd_tests import NETWORK
from server import Server, sparse

# Of each way so many repositories meet a cut.
ROUNDS = 3


def run(context):
    # git 2.39 makes neither an object nor its length stable by itself: ext4 commits the file's name, and no content.
    for name, mount, fsync, expected in [
            ("git loses what it has committed", "commit=1", "default", "damaged"),
            ("git with core.fsync=all loses nothing", "commit=1", "all", "whole"),
            ("without barriers core.fsync=all is of no use", "nobarrier", "all", "lost")]:
        context.outcomes.run(f"power: {name}", cuts, context, mount, fsync, expected)
    # Of a recording, all cuts: exit status 0 of bisect says that none fails, 2 that one does.
    for name, mount, status in [("ext4 is whole after every recorded cut", "commit=1", 0),
                                ("without barriers ext4 is not", "commit=1,nobarrier", 2)]:
        context.outcomes.run(f"power: {name}", recorded, context, mount, status)


def cuts(context, mount, fsync, expected):
    """Commits, and the power goes: how is the repository when the machine has its disk again?"""
    image = sparse(context.folder / "power.img", 96 << 20)
    control = context.folder / "power.control"
    reports = []
    with Server(context.program, "--control", f"unix:{control}", "--write-cache-model", "volatile:64M",
                f"power={image}") as server:
        with context.guest.start("power.sh", modules="virtio_net nbd ext4 crc32c_generic", qemu=NETWORK,
                                 files=tools("git"), memory=768, variables={
                                     "port": server.port, "name": "power", "options": mount, "fsync": fsync,
                                     "rounds": ROUNDS}) as guest:
            for number in range(1, ROUNDS + 1):
                guest.wait_for(f"committed {number}")
                done = subprocess.run([context.program, "ctl", "--control", f"unix:{control}", "--json", "power", "power",
                                       "cut", "--keep", "none"], check=True, stdout=subprocess.PIPE)
                reports.append(json.loads(done.stdout))
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"
    found = outcome.text("found").split()
    lost = [report["lost-sectors"] for report in reports]
    assert len(found) == ROUNDS, found
    if expected == "whole":
        assert found == ["whole"] * ROUNDS, f"{found}, {lost} sectors lost"
    else:
        assert expected in found, f"{found}, {lost} sectors lost: if nothing is {expected}, the cut is none"


# The journal is replayed as mount(8) would do it; behind that nothing may be wrong.
CHECK = """
qemu-img convert -f qcow2 -O raw "$1" {folder}/state && e2fsck -y -E journal_only {folder}/state
e2fsck -f -n {folder}/state
"""


def recorded(context, mount, expected):
    """A file system is used and recorded, and the power cut at each flush, in several ways each."""
    base = sparse(context.folder / f"base-{expected}.img", 32 << 20)
    recording = context.folder / f"run-{expected}.rec"
    with Server(context.program, "--record", str(recording), f"power=overlay:{base}") as server:
        outcome = context.guest.boot("record.sh", modules="virtio_net nbd ext4 crc32c_generic", qemu=NETWORK,
                                     variables={"port": server.port, "name": "power", "options": mount, "files": 12})
        assert server.stop() == 0, "the server did not end well"
    assert "recorded" in outcome.output, outcome.output

    def cut(*words, statuses=(0,)):
        done = subprocess.run([context.program, "cut", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode in statuses, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    commands = json.loads(cut("list", "--json", recording).stdout)["commands"]
    # The second connection is that of mount; before it is mkfs.
    start = next(entry["number"] for entry in commands if entry["connection"] != commands[0]["connection"]) - 1
    done = cut("bisect", recording, "--from", str(start), "--limit", "6", "--seed", "1",
               "--check", CHECK.format(folder=context.folder), "-o", str(context.folder / f"fails-{expected}.qcow2"),
               statuses=(0, 2))
    assert done.returncode == expected, (done.returncode, done.stdout, done.stderr[-2000:])
    print(done.stderr.decode(errors="replace").splitlines()[-1], len(commands), "commands")
    if expected == 2:
        # What it says repeats it.
        again = [line for line in done.stdout.decode().splitlines() if line.startswith("Again:")]
        assert again and " --lose " in again[0], done.stdout
