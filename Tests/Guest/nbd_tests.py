"""nbd-client and the kernel's nbd driver against Spindle over TCP (QEMU's user network)."""

import itertools
import json
import pathlib
import random
import subprocess

from guest import NETWORK, program
from server import Server, identify_words, sparse



def run(context):
    context.outcomes.run("nbd: queue attributes are the drive's", queue_attributes, context)
    for kind, options in [("ext4", ""), ("xfs", "-C 4")]:
        name = f"nbd: {kind} over {'four connections' if options else 'one connection'}"
        context.outcomes.run(name, filesystem, context, kind, options)
    context.outcomes.run("nbd: fio verifies random writes and trims", verify, context)
    for kind, options in [("netlink", ""), ("ioctl", "-nonetlink")]:
        name = f"nbd: grown while mounted, connected by {kind}"
        context.outcomes.run(name, grow, context, kind, options)
    context.outcomes.run("nbd: server killed under nbd-client -persist", persist, context)


def boot(context, script, **options):
    return context.guest.boot(script, modules="virtio_net nbd ext4 crc32c_generic xfs", qemu=NETWORK, **options)


def queue_attributes(context):
    """Every combination of write cache, TRIM, rotation rate and physical sector size."""
    drives = {}
    for cache, trim, rotation, physical in itertools.product(["on", "off"], [True, False], [1, 7200], [512, 4096]):
        specification = f"ide-hd,write-cache={cache},rotation_rate={rotation},physical_block_size={physical}"
        specification += "" if trim else ",discard_granularity=0"
        drives[f"cache-{cache}-trim-{trim}-rotation-{rotation}-physical-{physical}"] = specification
    servers = {name: Server(context.program, "--device", drives[name], f"{name}=null:3G") for name in drives}
    try:
        exports = " ".join(f"{name}:{server.port}" for name, server in servers.items())
        outcome = boot(context, "queues.sh", variables={"exports": exports})
    finally:
        for server in servers.values():
            server.kill()
    differences = []
    for name, specification in drives.items():
        expected = expected_attributes(identify_words(context.program, "--device", specification, "null:3G"))
        seen = dict(line.split(" ", 1) for line in outcome.text(name).splitlines())
        seen["rotational flag"] = str(int(seen.pop("flags"), 16) >> 4 & 1)
        differences += [f"{specification}: {attribute} is {seen[attribute]!r}, the drive says {expected[attribute]!r}"
                        for attribute in expected if seen[attribute] != expected[attribute]]
    assert not differences, "\n".join(differences)


def expected_attributes(words):
    """What Linux 6.1 makes of a drive over NBD.

    Its driver knows neither the rotational flag (the flag itself is looked at instead) nor block sizes, which
    nbd-client does not ask for.
    """
    trim = words[169] & 1
    return {
        "size": str(words[100] | words[101] << 16 | words[102] << 32),
        "write_cache": "write back" if words[85] & 0x20 else "write through",
        "fua": str(words[87] >> 6 & 1),
        "rotational": "0",
        "rotational flag": str(int(words[217] != 1)),
        "logical_block_size": "512",
        "physical_block_size": "512",
        "discard_granularity": "512" if trim else "0",
        "discard_max_bytes": str((2**32 - 1) * 512) if trim else "0",
    }


def filesystem(context, kind, options):
    image = sparse(context.folder / f"{kind}.img", 512 << 20)
    with Server(context.program, f"disk of {kind}={image}") as server:
        outcome = boot(context, "filesystem.sh", variables={
            "port": server.port, "name": f"disk of {kind}", "options": options, "kind": kind})
        assert server.stop() == 0, "the server did not end well"
    connections = int(outcome.text("connections"))
    assert connections == (4 if options else 1), f"{connections} connections"
    assert int(outcome.text("files")) > 100, outcome.output


def verify(context):
    seed = random.randrange(2**31)
    image = sparse(context.folder / "verify.img", 256 << 20)
    with Server(context.program, f"verify={image}") as server:
        try:
            outcome = boot(context, "verify.sh", variables={"port": server.port, "name": "verify", "seed": seed},
                           fio=True)
        except RuntimeError as error:
            raise RuntimeError(f"seed {seed}: {error}") from None
    job = json.loads(outcome.text("fio.json"))["jobs"][0]
    amounts = {direction: job[direction]["total_ios"] for direction in ("read", "write", "trim")}
    assert job["error"] == 0 and all(amounts.values()), f"seed {seed}: {amounts}, error {job['error']}"


def grow(context, kind, options):
    """`spindle ctl grow`, then contrib/linux/nbd-resize in the guest and resize2fs, all while the file system is used."""
    image = sparse(context.folder / f"grow-{kind}.img", 32 << 20)
    control = context.folder / f"grow-{kind}.control"
    strict = subprocess.run(["perl", "-Mstrict", "-e", "print $INC{'strict.pm'}"], check=True, stdout=subprocess.PIPE,
                            errors="replace").stdout
    files = {"job/nbd-resize": (context.project / "contrib/linux/nbd-resize").read_bytes(),
             strict.lstrip("/"): pathlib.Path(strict).read_bytes(),
             **program("/usr/bin/perl"), **program("/sbin/resize2fs", "/usr/bin/resize2fs")}
    with Server(context.program, "--control", f"unix:{control}", f"grow={image}") as server:
        with context.guest.start("grow.sh", modules="virtio_net nbd ext4 crc32c_generic", qemu=NETWORK, files=files,
                                 variables={"port": server.port, "name": "grow", "options": options}) as guest:
            guest.wait_for("mounted")
            subprocess.run([context.program, "ctl", "--control", f"unix:{control}", "grow", "grow", "96M"], check=True,
                           stdout=subprocess.DEVNULL)
            outcome = guest.finish()
        assert server.stop() == 0, "the server did not end well"
    assert outcome.text("size") == f"{96 << 20}\n", outcome.text("size")
    assert image.stat().st_size == 96 << 20


def persist(context):
    image = sparse(context.folder / "persist.img", 64 << 20)
    with Server(context.program, f"persist={image}") as server:
        with context.guest.start("persist.sh", modules="virtio_net nbd", qemu=NETWORK, variables={
                "port": server.port, "name": "persist", "records": 240}) as guest:
            for record in (40, 100, 160):
                guest.wait_for(f"record {record}")
                server.kill()
                server.start()
            outcome = guest.finish()
    connections = len(outcome.text("connections").splitlines())
    assert connections >= 4, f"{connections} connections although the server was killed three times"
