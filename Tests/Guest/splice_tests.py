"""Replies that are spliced from the page cache, on the oldest kernel that Spindle runs on: the server runs in the guest."""

from guest import program
from server import sparse


def run(context):
    context.outcomes.run("splice: large reads arrive from the page cache as they are", arrive, context)


def arrive(context):
    files = program(context.program, "usr/bin/spindle") | program("/usr/bin/nbdcopy", "usr/bin/nbdcopy")
    disk = sparse(context.folder / "splice.img", 64 << 20)
    outcome = context.guest.boot("splice.sh", modules="virtio_blk ext4 crc32c_generic", memory=1024, files=files,
                                 qemu=["-drive", f"file={disk},if=virtio,format=raw"])
    copied = outcome.text("copied").splitlines()
    assert len(copied) == 4, copied
