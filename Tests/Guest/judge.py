#!/usr/bin/env python3
"""What is on a disk after a power cut: judge.py KIND OVERLAY ends with 0 if everything is there that was stable, and prints
what is not. The disk is one of inside/record.sh: its marks say what a client was told. ext4 alone can be looked at without a
kernel."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

MARKS = 128
ROWS = {"sqlite": 20, "postgresql": 400}
POSTGRESQL = "/usr/lib/postgresql/15/bin"


class Bad(Exception):
    """Something is wrong with the disk."""


def run(*command, allowed=(0,), **options):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          errors="replace", **options)
    if done.returncode not in allowed:
        raise Bad(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout


def marked(disk):
    """The last thing that the client was told to be stable, as far as the disk knows; -1: nothing."""
    with disk.open("rb") as file:
        file.seek(-MARKS * 512, os.SEEK_END)
        marks = re.findall(rb"mark (\d+)\n", file.read())
    return max(map(int, marks), default=-1)


def content(number):
    return f"content of {number}\n".encode() * 1000


def files(folder, last):
    """Every file that fsync(2) has made stable is whole, unless it was removed later."""
    for number in range(max(last - 5, 1), last + 1):
        path = folder / f"folder{number % 3}/file{number}"
        # The next but five may have been made, and this one removed.
        if not path.exists() and (folder / f"folder{(number + 6) % 3}/file{number + 6}").exists():
            continue
        if not path.exists() or path.read_bytes() != content(number):
            raise Bad(f"file {number} of {last} is {'not whole' if path.exists() else 'not there'}")


def replace(folder, last):
    """The file has one of its versions, as a whole."""
    if last < 0:
        return
    data = (folder / "file").read_bytes() if (folder / "file").exists() else None
    if data not in map(content, range(7)):
        raise Bad("the file is not there" if data is None else f"the file has {len(data)} bytes, of no version")


def sqlite(folder, last):
    """The database is sound, and every transaction is there as a whole that was committed."""
    if last < 0:
        return
    database = folder / "database"
    if not database.exists():
        raise Bad(f"{last} transactions were committed, and there is no database")
    sound = run("sqlite3", database, "PRAGMA integrity_check", allowed=(0, 1, 11, 26)).strip()
    if sound != "ok":
        raise Bad(f"the database is corrupt: {sound[:300]}")
    found = run("sqlite3", database, "SELECT number || ' ' || count(*) FROM entry GROUP BY number ORDER BY number").split("\n")
    counts = {int(line.split()[0]): int(line.split()[1]) for line in found if line}
    missing = [number for number in range(1, last + 1) if counts.get(number) != ROWS["sqlite"]]
    if missing or set(counts.values()) - {ROWS["sqlite"]}:
        raise Bad(f"transactions {missing} of {last} that were committed are not there: {counts}")


def user():
    """PostgreSQL refuses to work for root."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def postgresql(folder, last):
    """The database recovers by itself, and all rows have the number of the last transaction."""
    query = "SELECT number::text || ':' || count(*) AS found FROM entry GROUP BY number"
    done = subprocess.run([f"{POSTGRESQL}/postgres", "--single", "-F", "-D", folder / "data", "postgres"], input=query + "\n",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace", cwd="/", **user())
    found = re.findall(r'found = "(\d+):(\d+)"', done.stdout)
    if done.returncode != 0 or not found:
        raise Bad(f"PostgreSQL ended with {done.returncode}: {done.stderr[-1500:]}")
    numbers = {int(number): int(count) for number, count in found}
    if list(numbers.values()) != [ROWS["postgresql"]] or min(numbers) < last:
        raise Bad(f"after transaction {last} the table has these rows: {numbers}")


def look(kind, overlay):
    """Raises Bad if something is missing on the disk of a kind of workload."""
    with tempfile.TemporaryDirectory(prefix="judge-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        disk = folder / "disk"
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, disk)
        # The journal is replayed as mount(8) would do it; behind that nothing may be wrong.
        run("e2fsck", "-y", "-E", "journal_only", disk, allowed=(0, 1))
        run("e2fsck", "-f", "-n", disk)
        (folder / "root").mkdir()
        run("debugfs", "-R", f"rdump / {folder}/root", disk)
        {"files": files, "replace": replace, "sqlite": sqlite, "postgresql": postgresql}[kind](folder / "root", marked(disk))


if __name__ == "__main__":
    try:
        look(*sys.argv[1:])
    except Bad as bad:
        print(bad)
        sys.exit(1)
