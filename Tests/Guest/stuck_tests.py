"""A disk that is suspended (dmsetup(8)) under one of two images, on Debian's kernel: the server runs in the guest."""

from guest import program
from server import sparse


def run(context):
    context.outcomes.run("stuck: a suspended disk stops its own image only", suspended, context)


def suspended(context):
    files = program(context.program, "usr/bin/spindle") | program("/usr/bin/nbdcopy", "usr/bin/nbdcopy")
    disk = sparse(context.folder / "stuck.img", 96 << 20)
    outcome = context.guest.boot("stuck.sh", modules="virtio_blk ext4 crc32c_generic dm_mod", memory=1024, files=files,
                                 qemu=["-drive", f"file={disk},if=virtio,format=raw"])
    rounds = outcome.text("rounds").splitlines()
    assert rounds == [f"round {number}" for number in range(1, 6)], rounds
