"""The images that are loaded, what disks are kept in, and how the page cache holds them.

A case's `kind` says what the disk is kept in. `raw` is one of three files for all measurements. All others are made for one:
`qcow2`, `qcow2-subclusters`, `overlay-file` and `overlay-memory` are new and empty, `qcow2-full` has been written to, and
`overlay-read` is a new overlay over a file that has been written to.

Where a file system has large folios, a file that is written or read in large pieces is cached in them. For a
WRITE of 4 KiB ext4 goes through all blocks of the folio, which takes it several times as long as where a page is cached
on its own. How an image is cached depends on how it came there, so it is said here, not left to chance.
"""
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

IMAGE_BYTES = 256 << 20
# Of a disk that is written to for the first time: so large that hardly a place is written to twice within a measurement.
NEW_BYTES = 8 << 30
# New disks are on a tmpfs: in seconds a hundred thousand pieces are written all over one, which a file system on a disk may
# take minutes to give back.
NEW_KINDS = {"qcow2", "qcow2-subclusters", "overlay-file", "overlay-memory"}
NEW_FOLDER = "/dev/shm"
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Image:
    """What a disk is kept in: a file; or an overlay over one, which keeps its changes in another file or in memory."""

    path: Path
    format: str = "raw"
    is_overlay: bool = False
    changes: Path | None = None


class Images:
    """Three files of random bytes. The one for O_DIRECT is its own: such writes throw pages out of the cache, which come
    back in large folios."""

    def __init__(self, folder):
        self.in_pages = folder / "image"
        self.in_large_folios = folder / "large-folios"
        self.direct = folder / "direct"
        write(self.in_pages, PAGE_BYTES)
        write(self.in_large_folios, 1 << 20)
        write(self.direct, 1 << 20)

    def of(self, case, server, folder):
        """The image for a case, ready for it; what is made for one measurement is in `folder`."""
        if case.kind != "raw":
            return server.image(case.kind, self, folder)
        return Image(self.of_all(case))

    def of_all(self, case):
        if case.cache != "writeback":
            # The first one to read past the page cache would have to write what others have left in it.
            with open(self.direct, "rb") as file:
                os.fdatasync(file.fileno())
            return self.direct
        # The page cache may have lost what nobody has read for a while.
        if case.in_large_folios:
            warm(self.in_large_folios)
            return self.in_large_folios
        return self.warm_pages()

    def warm_pages(self):
        warm(self.in_pages, is_by_page=True)
        return self.in_pages


def make_qcow2(path, *options, base=None):
    """A new image, by QEMU's own hand."""
    size = [] if base else [str(NEW_BYTES)]
    backing = ["-F", "raw", "-b", str(base)] if base else []
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(["compat=1.1", *options]), *backing, str(path), *size]
    subprocess.run(create, check=True)
    return Image(path, "qcow2")


def make_empty(path):
    """A sparse file."""
    with open(path, "wb") as file:
        file.truncate(NEW_BYTES)
    return path


def write(image, piece_bytes):
    with open(image, "wb", buffering=0) as file:
        for _ in range(IMAGE_BYTES >> 20):
            data = memoryview(os.urandom(1 << 20))
            for offset in range(0, len(data), piece_bytes):
                file.write(data[offset:offset + piece_bytes])


def warm(image, offset=0, is_by_page=False):
    """Reads an image into the page cache, as far as it is not there."""
    with open(image, "rb", buffering=0) as file:
        if is_by_page:
            # Without reading ahead, which is what makes folios larger.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.seek(offset)
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass
