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
