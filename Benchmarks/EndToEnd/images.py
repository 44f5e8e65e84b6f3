"""The images that are loaded, and how the page cache holds them.

Where a file system has large folios, a file that is written or read in large pieces is cached in them. For a
WRITE of 4 KiB ext4 goes through all blocks of the folio, which takes it several times as long as where a page is cached
on its own. How an image is cached depends on how it came there, so it is said here, not left to chance.
"""
import os

IMAGE_BYTES = 256 << 20
PAGE_BYTES = 4096


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

    def of(self, case):
        """The image for a case, ready for it."""
        if case.cache != "writeback":
            # The first one to read past the page cache would have to write what others have left in it.
            with open(self.direct, "rb") as file:
                os.fdatasync(file.fileno())
            return self.direct
        # The page cache may have lost what nobody has read for a while.
        if case.in_large_folios:
            warm(self.in_large_folios)
            return self.in_large_folios
        warm(self.in_pages, is_by_page=True)
        return self.in_pages


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
