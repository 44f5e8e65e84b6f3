"""The drives that are tried: a table in which each has one thing that is special, and random ones."""

import dataclasses
import random
import struct

PIIX, AHCI = "piix3-ide", "ich9-ahci"
SLOTS = {PIIX: [(bus, unit) for bus in (0, 1) for unit in (0, 1)], AHCI: [(bus, 0) for bus in range(6)]}
MACHINES = {PIIX: "pc", AHCI: "q35"}
SERIAL = "serial=918a6997-1928-38a1-9"


@dataclasses.dataclass(frozen=True)
class Drive:
    """What QEMU and Spindle are given alike. The image is null:SIZE or the end of a master boot record's partition."""

    properties: str = SERIAL
    image: str = "null:3G"
    cache: str = "writeback"

    def specification(self, slot) -> str:
        """The -device option of the drive in a slot, without `drive=`."""
        return ",".join(filter(None, ["ide-hd", self.properties, f"bus=ide.{slot[0]}", f"unit={slot[1]}"]))


def boot_record(heads: int, sectors: int) -> bytes:
    """A master boot record with one partition that ends on the last head and sector of such a geometry."""
    entry = struct.pack("<8BII", 0x80, 1, 1, 0, 0x83, heads - 1, sectors, 0x20, 63, 2_052_033)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


SIZES = [
    "1s", "2s", "1955s", "1M", "1000001", "100M", "1032191s", "1032192s", "1033200s", "16514064s", "16515072s", "8G",
    "268435454s", "268435455s", "268435456s", "268435457s", "200G", "4294967295s", "4294967296s", "4294967297s", "3T",
    "16T", "512T",
]
PROPERTIES = [
    "", "serial=", "serial=S1", "serial=ABCDEFGHIJ0123456789", "serial=918a6997-1928-38a1-9f3e-0123456789ab",
    "serial=  two  spaces", "model=ACME NBD DISK,ver=1.0", "model=,ver=", "ver=1", "ver=    1234", "model=A,,B",
    "model=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd,ver=FW123456",
    "model=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdTOOLONG,ver=FW123456789",
    "wwn=0x5000c50015ea71ac", "wwn=1", "wwn=0xffffffffffffffff",
    "rotation_rate=1", "rotation_rate=1024", "rotation_rate=1025", "rotation_rate=5400", "rotation_rate=7200",
    "rotation_rate=15000", "rotation_rate=65534", "rotation_rate=65535",
    "physical_block_size=1024", "physical_block_size=4096", "physical_block_size=64k", "physical_block_size=2M",
    "physical_block_size=4096,min_io_size=8192,opt_io_size=65536", "logical_block_size=512",
    "discard_granularity=0", "rotation_rate=1,discard_granularity=0", "discard_granularity=512",
    "write-cache=on", "write-cache=off", "write-cache=auto",
    "cyls=1024,heads=16,secs=63", "cyls=100,heads=4,secs=17", "cyls=65535,heads=16,secs=255", "cyls=1,heads=1,secs=1",
]
CACHES = ["writethrough", "none", "directsync", "unsafe"]
GEOMETRIES = [(10, 32), (16, 63), (255, 63)]


def table() -> list[Drive]:
    """Every size, every property, every cache mode, and geometries from boot records."""
    drives = [Drive(image=f"null:{size}") for size in SIZES]
    drives += [Drive(properties) for properties in PROPERTIES]
    drives += [Drive(cache=cache) for cache in CACHES] + [Drive("write-cache=on", cache="writethrough")]
    drives += [Drive(image=f"boot-record:{heads}x{sectors}") for heads, sectors in GEOMETRIES]
    return drives


def random_drives(count: int, seed: int) -> list[Drive]:
    """Combinations of everything."""
    chance = random.Random(seed)
    text = lambda most: "".join(chance.choice("ABCxyz019-_. ") for _ in range(chance.randint(1, most)))
    choices = [
        lambda: f"serial={text(24)}",
        lambda: f"model={text(44)}",
        lambda: f"ver={text(10)}",
        lambda: f"wwn={chance.getrandbits(64):#x}",
        lambda: f"rotation_rate={chance.choice([0, 1, 1025, 5400, 7200, chance.randint(2, 65535)])}",
        lambda: f"physical_block_size={512 << chance.randint(0, 12)}",
        lambda: f"discard_granularity={chance.choice([0, 512])}",
        lambda: f"write-cache={chance.choice(['on', 'off', 'auto'])}",
        lambda: f"cyls={chance.randint(1, 65535)},heads={chance.randint(1, 16)},secs={chance.randint(1, 255)}",
    ]
    drives = []
    for _ in range(count):
        properties = ",".join(choice() for choice in choices if chance.random() < 0.5)
        # Sizes of every magnitude, up to where QEMU's own arithmetic of cylinders still holds.
        sectors = chance.randint(1, 1 << chance.randint(1, 40))
        drives.append(Drive(properties, f"null:{sectors}s", chance.choice(["writeback", *CACHES])))
    return drives
