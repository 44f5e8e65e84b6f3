"""A guest's file systems and databases are recorded, and the power cut afterwards, at many places and in several ways.

Each test has a side that holds and one that does not: if nothing fails, the cuts are none.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import judge
from guest import NETWORK, program, tools
from judge import MARKS, POSTGRESQL, ROWS, Bad, files, marked, user
from server import Server, sparse

JUDGE = pathlib.Path(__file__).with_name("judge.py")


@dataclasses.dataclass
class Side:
    """A workload of inside/record.sh, and what the judge finds after one of the cuts; None: nothing, after any."""

    name: str
    mount: str = "defaults"
    word: str = "-"
    filesystem: str = "ext4"
    finding: str = None


def run(context):
    run = context.outcomes.run
    run("power: ext4 keeps what fsync has made stable, and without barriers it does not", ext4, context, "files",
        [Side("ext4", "commit=1"), Side("ext4-nobarrier", "commit=1,nobarrier", finding="file .* is not|e2fsck")], limit=12)
    run("power: ext4 keeps a replaced file, and with noauto_da_alloc it does not", ext4, context, "replace",
        [Side("replace"), Side("replace-noauto", "noauto_da_alloc", finding="the file has 0 bytes")])
    # xfs has no option for it any more (Linux 4.19), so the kernel is told that the drive has no cache.
    run("power: xfs and btrfs keep what fsync has made stable, and without flushes they do not", others, context,
        [Side("xfs", filesystem="xfs"), Side("xfs-no-flush", "write-through", filesystem="xfs", finding="file .* is not"),
         Side("btrfs", filesystem="btrfs"),
         Side("btrfs-nobarrier", "nobarrier", filesystem="btrfs", finding="file .* is not")])
    # An old journal that is there again takes the last transaction back: the removal is not made stable with FULL.
    missing = "that were committed are not there"
    run("power: SQLite keeps what it has committed, and without fsync it does not", ext4, context, "sqlite",
        [Side("sqlite-extra", word="synchronous=EXTRA"), Side("sqlite-wal", word="journal_mode=WAL,synchronous=FULL"),
         Side("sqlite-full", word="synchronous=FULL", finding=missing),
         Side("sqlite-off", word="synchronous=OFF", finding=missing)], {"files": tools("sqlite3")})
    run("power: PostgreSQL keeps what it has committed, and without full_page_writes torn pages destroy it", databases, context,
        [Side("postgresql", word="full_page_writes=on"),
         Side("postgresql-torn", word="full_page_writes=off", finding="the table has these rows|PostgreSQL ended")])
    run("power: the commands of docs/power-cuts.md find what SQLite loses", document, context)


def document(context):
    """The commands of docs/power-cuts.md, as they are printed: the client's in a guest."""
    text = (context.project / "docs/power-cuts.md").read_text()
    (first, client, check, ci), = [[block for language, block in blocks if language == "sh"]
                                   for name, blocks in everything(text).items() if name == "How to test a database"]
    for mode, found in (("OFF", "committed"), ("EXTRA", "no outcome of")):
        folder = context.folder / f"document-{mode}"
        folder.mkdir()
        *before, serve = first.splitlines()
        shell(context, folder, "\n".join(before))
        words = serve.replace("run.rec", f"{folder}/run.rec").replace("disk.img", f"{folder}/disk.img").split()
        assert words[:4] == ["spindle", "serve", "--listen", "tcp:0.0.0.0:10809"], serve
        with Server(context.program, *words[4:]) as server:
            commands = client.replace("server.example 10809", f"10.0.2.2 {server.port}").replace("=OFF", f"={mode}")
            context.guest.boot("readme.sh", modules="virtio_net nbd ext4 crc32c_generic", qemu=NETWORK,
                               files={"job/readme": commands.encode(), **tools("sqlite3")})
            assert server.stop() == 0, "the server did not end well"
        said = shell(context, folder, check)
        assert found in said and (folder / "broken.qcow2").exists() == (mode == "OFF"), said
    assert " 0 failed" in shell(context, context.folder, ci)


def everything(text):
    """The blocks of a document by its larger sections."""
    parts = re.split("^## (.*)$", text, flags=re.MULTILINE)
    return {name: re.findall(r"^```(\w*)\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
            for name, part in zip(parts[1::2], parts[2::2])}


def shell(context, folder, commands):
    """Runs commands of a document."""
    for name, target in (("contrib", context.project / "contrib"), ("spindle", context.program)):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    done = subprocess.run(["sh", "-e", "-c", commands], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, errors="replace",
                          env={**os.environ, "PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert done.returncode == 0, done.stdout
    return done.stdout


class Recordings:
    """Recordings of workloads in one guest."""

    def __init__(self, context, workload, sides, bases, boot):
        self._context = context
        self._paths = {side.name: context.folder / f"{side.name}.rec" for side in sides}
        servers, jobs = [], []
        try:
            for side, base in zip(sides, bases):
                servers.append(Server(context.program, "--record", str(self._paths[side.name]), f"power=overlay:{base}"))
                jobs.append(f"{servers[-1].port} {side.filesystem} {side.mount} {workload} {side.word}")
            boot = {"variables": {}, "modules": "", **boot}
            outcome = context.guest.boot(
                "record.sh", qemu=NETWORK, **{
                    **boot, "modules": f"virtio_net nbd ext4 crc32c_generic {boot['modules']}",
                    "variables": {"jobs": "\n".join(jobs), **boot["variables"]}})
            assert outcome.output.count("recorded") == len(sides), outcome.output
            for server in servers:
                assert server.stop() == 0, "the server did not end well"
        finally:
            for server in servers:
                server.kill()

    def cut(self, side, *words, statuses=(0,)):
        """`spindle cut`, of the recording of a side."""
        command, *rest = words
        done = subprocess.run([self._context.program, "cut", command, self._paths[side.name], *map(str, rest)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace")
        assert done.returncode in statuses, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def commands(self, side):
        """What was recorded."""
        return json.loads(self.cut(side, "list", "--json").stdout)["commands"]


def formatted(path, size, *mkfs):
    """An image with a file system that mkfs(8) makes, by words in which PATH and SIZE stand, and room for marks behind it."""
    sparse(path, size)
    kilobytes = f"{size // 1024 - MARKS // 2}k"
    subprocess.run([str(word).replace("PATH", str(path)).replace("SIZE", kilobytes) for word in mkfs],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def ext4(context, workload, sides, boot=None, limit=4):
    """Each flush of the workload is a cut, and a program outside of the guest looks at the outcomes."""
    bases = [formatted(context.folder / f"{side.name}.img", 24 << 20, *MAKERS["ext4"]) for side in sides]
    recordings = Recordings(context, workload, sides, bases, boot or {})
    for side in sides:
        bisect(context, recordings, side, workload, "subset", limit)


# xfs is made smaller than its tools like, as its developers' tests do.
MAKERS = {"ext4": ["mkfs.ext4", "-q", "-F", "-b", "1024", "PATH", "SIZE"],
          "xfs": ["env", "TEST_DIR=-", "TEST_DEV=-", "QA_CHECK_FS=-", "mkfs.xfs", "-q", "-f", "-K", "-l", "size=8m",
                  "-d", "size=SIZE", "PATH"],
          "btrfs": ["mkfs.btrfs", "-q", "-f", "-K", "-M", "-m", "single", "-d", "single", "-b", "SIZE", "PATH"]}
CHECKERS = {"xfs": ["xfs_repair", "-n", "-f"], "btrfs": ["btrfs", "check"]}


def others(context, sides):
    """These need a kernel to replay their logs: one guest mounts some outcomes of each side."""
    bases = [formatted(context.folder / f"{side.name}.img", 64 << 20, *MAKERS[side.filesystem]) for side in sides]
    recordings = Recordings(context, "files", sides, bases, {"modules": "xfs btrfs"})
    overlays = {path: side for side in sides
                for path in outcomes(context, recordings, side, "subset", evenly(recordings.commands(side), 6))}
    marks = {path: marked(raw(path)) for path in overlays}
    with Server(context.program, *(f"{path.stem}={path}" for path in overlays)) as server:
        outcome = context.guest.boot(
            "recover.sh", modules="virtio_net nbd xfs btrfs crc32c_generic", qemu=NETWORK, memory=768,
            variables={"port": server.port,
                       "exports": "\n".join(f"{path.stem} {side.filesystem}" for path, side in overlays.items())})
        assert server.stop() == 0, "the server did not end well"
    for side in sides:
        paths = [path for path in overlays if overlays[path] is side]
        verdict(side, paths, lambda path: recovered(context.folder / path.stem, outcome.files, side, path, marks[path]))


def evenly(commands, count):
    """Some flushes, or where there are none, any commands, evenly chosen: as many commands have ended when they come."""
    points = flushes(commands)
    chosen = points if len(points) >= count else [entry["number"] for entry in commands]
    return [chosen[(number + 1) * len(chosen) // count - 1] for number in range(count)]


def flushes(commands):
    return [entry["number"] - 1 for entry in commands if entry["kind"] == "flush"]


def outcomes(context, recordings, side, keep, points):
    """Overlays of cuts, one for each."""
    for number, point in enumerate(points):
        path = context.folder / f"{side.name}-{number}.qcow2"
        recordings.cut(side, "make", "--at", point, "--keep", keep, "--seed", number, "-o", path)
        yield path


def verdict(side, paths, judgement):
    """All outcomes are well, or one of them shows what is to be found."""
    findings = []
    for path in paths:
        try:
            judgement(path)
        except Bad as bad:
            findings.append(f"{path.stem}: {bad}")
    print(f"{side.name}: {len(findings)} of {len(paths)} outcomes fail")
    assert bool(findings) == bool(side.finding), (side.name, findings)
    assert not side.finding or any(re.search(side.finding, finding) for finding in findings), (side.name, findings)


def recovered(folder, found, side, overlay, last):
    """What the guest has found, and what the file system's own checker says of the disk then."""
    for path, data in found.items():
        if path.startswith(f"{overlay.stem}/root/"):
            target = folder / path.removeprefix(f"{overlay.stem}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    files(folder / "root", last)
    complaint = found[f"{overlay.stem}/mount"].decode(errors="replace")
    if complaint:
        raise Bad(complaint)
    judge.run(*CHECKERS[side.filesystem], raw(overlay))


def raw(overlay):
    """The whole disk of an overlay."""
    disk = overlay.with_suffix(".img")
    judge.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, disk)
    return disk


def databases(context, sides):
    """PostgreSQL's pages are 8 KiB, and a drive writes them sector by sector."""
    base = cluster(context.folder)
    guest = {name.lstrip("/"): pathlib.Path(name).read_bytes()
             for name in ("/usr/share/postgresql/15/timezonesets/Default", "/usr/lib/postgresql/15/lib/plpgsql.so")}
    guest |= tools("setpriv")
    for name in ("postgres", "psql"):
        guest |= program(f"{POSTGRESQL}/{name}")
    boot = {"files": guest, "memory": 1024, "variables": {"uid": user().get("user", os.geteuid())}}
    recordings = Recordings(context, "postgresql", sides, [base] * len(sides), boot)
    first_mark = base.stat().st_size // 512 - MARKS
    for side in sides:
        # All of a checkpoint and of what comes before the next: from the first mark to the second.
        commands = recordings.commands(side)
        start, end = (entry["number"] for entry in commands if entry["lba"] in (first_mark + 1, first_mark + 2))
        paths = list(outcomes(context, recordings, side, "torn", flushes(commands[start:end])))
        verdict(side, paths, lambda path: judge.look("postgresql", path))


def cluster(folder):
    """An image with a database as initdb(1) and one table make it, small."""
    root = folder / "cluster"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    folder.chmod(0o755)
    settings = ["max_connections=10", "shared_buffers=8MB", "jit=off", "dynamic_shared_memory_type=mmap"]
    subprocess.run([f"{POSTGRESQL}/initdb", "-D", root / "data", "-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8",
                    "--wal-segsize=1", "--no-sync"], check=True, stdout=subprocess.DEVNULL, env={"TZ": "GMT"}, cwd="/", **user())
    with (root / "data/postgresql.conf").open("a") as file:
        file.writelines(line + "\n" for line in settings)
    table = ("CREATE TABLE entry (id int PRIMARY KEY, number int, content text)\n"
             f"INSERT INTO entry SELECT id, 0, repeat('x', 60) FROM generate_series(1, {ROWS['postgresql']}) AS id\n")
    subprocess.run([f"{POSTGRESQL}/postgres", "--single", "-F", "-D", root / "data", "postgres"], input=table.encode(),
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **user())
    # A superblock is two sectors. With a checksum, ext4 itself does not survive that one of them is missing.
    return formatted(folder / "cluster.img", 64 << 20, "mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^metadata_csum", "-d", root,
                     "PATH", "SIZE")


def bisect(context, recordings, side, kind, keep, limit):
    """Searches all cuts of a recording for one that a judge does not like."""
    commands = recordings.commands(side)
    overlay = context.folder / f"{side.name}-fails.qcow2"
    done = recordings.cut(side, "bisect", "--limit", limit, "--seed", 1, "--keep", keep,
                          "--check", f"{sys.executable} {JUDGE} {kind} \"$1\"", "-o", overlay, statuses=(0, 2))
    said = done.stderr.splitlines()
    flushes = sum(entry["kind"] == "flush" for entry in commands)
    print(f"{side.name}: {len(commands)} commands, {flushes} flushes; {' '.join(said[-2:])}")
    told = (side.name, done.returncode, done.stdout, done.stderr[-3000:])
    assert done.returncode == (2 if side.finding else 0), told
    if side.finding:
        # What was in the page cache alone is gone after any cut, even if the drive has lost nothing.
        assert re.search(side.finding, done.stderr) and re.search("^Again: .* --(lose|keep all) ", done.stdout, re.MULTILINE), told
