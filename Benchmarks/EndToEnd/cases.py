"""The loads that are measured."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A load on every server that can serve it."""

    name: str
    title: str
    arguments: tuple = ()
    transport: str = "unix"
    cache: str = "writeback"
    # The image is in the page cache in folios as large as the file system allows, instead of page by page.
    in_large_folios: bool = False
    # What the disk is kept in: see images.py.
    kind: str = "raw"
    # Part of a run with QUICK=1.
    quick: bool = True
    # The only one that is asked.
    server: str = ""
    # What the server has in memory is of interest, with idle clients, too. That is not noisy and takes long: one round.
    is_memory: bool = False
    # So many exports of so many bytes, sparse; the load is on the end of one of them (see client.py).
    export_count: int = 0
    export_bytes: int = 0


def bench(operation="read", block="4k", depth=32, connections=1, *more):
    arguments = ["--operation", operation, "--block-size", block, "--depth", str(depth),
                 "--connections", str(connections)]
    if operation not in ("read", "connect", "flush"):
        arguments.append("--destroy-data")
    if block == "256k":
        arguments += ["--pattern", "sequential"]
    return tuple(arguments + list(more))


LOADS = [
    ("read-d1", "4 KiB random read, depth 1", bench("read", depth=1)),
    ("read-d32", "4 KiB random read, depth 32", bench("read")),
    ("write-d1", "4 KiB random write, depth 1", bench("write", depth=1)),
    ("write-d32", "4 KiB random write, depth 32", bench("write")),
    ("read-d32-c4", "4 KiB random read, depth 32, 4 connections", bench("read", connections=4)),
    ("mixed-d32", "4 KiB, 70 % reads, depth 32, a FLUSH every 64 writes",
     bench("rw", "4k", 32, 1, "--mix", "70", "--flush-every", "64")),
    ("seqread-d8", "256 KiB sequential read, depth 8", bench("read", "256k", 8)),
    ("seqwrite-d8", "256 KiB sequential write, depth 8", bench("write", "256k", 8)),
]


def of(names, prefix, suffix, quick, **how):
    chosen = [load for load in LOADS if load[0] in names]
    return [Case(f"{prefix}-{name}", f"{title}{suffix}", arguments, quick=name in quick, **how)
            for name, title, arguments in chosen]


CASES = [Case(name, title, arguments, quick=name != "write-d1") for name, title, arguments in LOADS]
CASES += of({"read-d1", "read-d32", "write-d32", "read-d32-c4", "seqread-d8", "seqwrite-d8"}, "tcp", ", TCP",
            {"read-d32"}, transport="tcp")
CASES += of({"read-d32", "write-d32", "seqread-d8"}, "none", ", O_DIRECT", {"read-d32"}, cache="none")
CASES += of({"read-d32", "write-d32", "seqread-d8", "seqwrite-d8"}, "tls", ", TLS", {"seqread-d8"}, transport="tls")
CASES += of({"read-d32", "write-d32"}, "folios", ", page cache in large folios", {"write-d32"}, in_large_folios=True)
CASES += [
    Case("connect", "connect to first byte", bench("connect")),
    Case("memory-read", "256 KiB sequential read, depth 128, 64 connections", bench("read", "256k", 128, 64),
         is_memory=True),
    Case("memory-write", "256 KiB sequential write, depth 128, 64 connections", bench("write", "256k", 128, 64),
         is_memory=True, quick=False),
]
CASES += [Case(f"scale-c{count}", f"4 KiB random read, depth 32, {count} connection{'s' if count > 1 else ''}",
               bench("read", connections=count), quick=count in (1, 4, 64)) for count in (1, 2, 4, 8, 16, 64)]
# Over TCP, against another target, and against our own NBD with the same requests.
CASES += [Case(f"iscsi-{name}{suffix}", title + words, bench(operation, block, depth, 1, *more), transport="iscsi",
               quick=name == "read-d32")
          for name, title, operation, block, depth in [
              ("read-d32", "4 KiB random read, depth 32", "read", "4k", 32),
              ("write-d32", "4 KiB random write, depth 32", "write", "4k", 32),
              ("seqread-d8", "256 KiB sequential read, depth 8", "read", "256k", 8),
              ("seqwrite-d8", "256 KiB sequential write, depth 8", "write", "256k", 8)]
          for suffix, words, more in [("", "", ()), ("-digests", ", digests", ("--digests",))]]
# Layers over an image, beside others' and beside the same requests to a raw image. The writes go where nothing was written
# before, each time to a new disk.
CASES += [Case(f"layers-{name}", title, arguments, kind=kind, quick=quick)
          for name, title, arguments, kind, quick in [
              ("write-qcow2", "4 KiB random write into a new qcow2 image", bench("write"), "qcow2", False),
              ("write-subclusters", "4 KiB random write into a new qcow2 image with subclusters", bench("write"),
               "qcow2-subclusters", False),
              ("write-overlay", "4 KiB random write into a new overlay in a file", bench("write"), "overlay-file", True),
              ("write-memory", "4 KiB random write into a new overlay in memory", bench("write"), "overlay-memory", False),
              ("read-qcow2", "4 KiB random read of a full qcow2 image", bench("read"), "qcow2-full", False),
              ("read-overlay", "4 KiB random read through an overlay in a file", bench("read"), "overlay-read", True),
              ("seqread-overlay", "256 KiB sequential read through an overlay in a file", bench("read", "256k", 8),
               "overlay-read", False)]]
# The first is what the others are compared with.
CASES += [Case(f"flat-{name}", title, server="spindle", export_count=count, export_bytes=size, quick=quick)
          for name, title, count, size, quick in [
              ("1g", "1 export of 1 GiB", 1, 1 << 30, True),
              ("1t", "1 export of 1 TiB", 1, 1 << 40, False),
              ("16t", "1 export of 16 TiB, or as large as a file can be", 1, 1 << 44, True),
              ("x100", "100 exports of 1 GiB", 100, 1 << 30, False),
              ("x1000", "1000 exports of 1 GiB", 1000, 1 << 30, True)]]
# The chart.
CASES += [Case(f"sweep-d{depth}", f"4 KiB random read, depth {depth}", bench("read", depth=depth),
               quick=depth in (1, 8, 64)) for depth in (1, 2, 4, 8, 16, 32, 64, 128)]
