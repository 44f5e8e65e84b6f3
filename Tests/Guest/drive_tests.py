"""QEMU's ide-hd above Spindle: what Linux and its tools print for the disk is what `spindle identify` says of it."""

import concurrent.futures
import contextlib
import itertools
import random
import tempfile

import comparison
from drives import AHCI, GEOMETRIES, MACHINES, PIIX, SLOTS, Drive, boot_record, random_drives, table
from server import Server, free_port, sparse

MODULES = "ata_piix ahci sd_mod sr_mod sg"


def run(context):
    if not context.outcomes.wanted("drive: "):
        return
    seed = random.randrange(2**31)
    print(f"random drives: seed {seed}")
    drives = {
        PIIX: table()[0::2] + random_drives(16, seed),
        AHCI: table()[1::2] + random_drives(18, seed + 1),
    }
    # A guest has one processor: two of them keep two busy.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        boots = [pool.submit(reference, context)]
        for controller in drives:
            for batch in batches(drives[controller], len(SLOTS[controller])):
                places = list(zip(SLOTS[controller], batch))
                boots.append(pool.submit(boot, context, controller, places))
        rows = [row for finished in boots for row in finished.result()]
    (context.results / "drives.md").write_text(comparison.markdown(rows))


def batches(items, size):
    iterator = iter(items)
    return iter(lambda: list(itertools.islice(iterator, size)), [])


# The empty DVD drive of the reference machine, and its name as QEMU's and Spindle's device.
DVD, DVD_SLOT = "ide-cd,bus=ide.0,unit=0", (0, 0)


def reference(context, over="nbd"):
    """The disk as slave beside an empty DVD drive: there the names of everything have to be the same as well."""
    drive = Drive("serial=918a6997-1928-38a1-9,write-cache=on", cache="none")
    return boot(context, PIIX, [((0, 1), drive)], dvd=True, over=over)


def boot(context, controller, places, dvd=False, over="nbd"):
    """One guest with a drive in each of some slots: a test and a row of the table for each.

    dvd     whether the reference machine's DVD drive is there, and then the names that the only disk has there
    over    the protocol by which QEMU has the drives
    """
    arguments = ["-device", DVD] if dvd else []
    with contextlib.ExitStack() as servers:
        sockets = servers.enter_context(tempfile.TemporaryDirectory(prefix="spindle-guest-sockets-"))
        options = []
        for number, (slot, drive) in enumerate(places):
            specification = drive.specification(slot)
            options.append(["--controller", controller, "--cache", drive.cache, "--device", specification,
                            image(context, drive)])
            if over == "iscsi":
                portal = f"127.0.0.1:{free_port()}"
                listen, target = f"iscsi:{portal}", "iqn.2026-11.org.spindle:null"
                file = f"file.driver=iscsi,file.portal={portal},file.target={target},file.lun=0,file.transport=tcp"
            else:
                socket = f"{sockets}/{number}"
                listen, file = f"unix:{socket}", f"file=nbd:unix:{socket}"
            servers.enter_context(Server(context.program, *options[-1], listen=listen))
            name, aio, more = ("drive-ide0-0-1", ",aio=native", ",id=ide0-0-1,bootindex=3") if dvd else (f"drive{number}", "", "")
            arguments += ["-drive", f"{file},format=raw,if=none,id={name},cache={drive.cache}{aio}",
                          "-device", f"{specification},drive={name}{more}"]
        try:
            outcome = context.guest.boot("probe.sh", modules=MODULES, disks=len(places) + int(dvd), qemu=arguments,
                                         machine=MACHINES[controller])
        except RuntimeError as error:
            outcome = str(error)
    protocol = "iscsi" if over == "iscsi" else "drive"
    rows = []
    for (slot, drive), given in zip(places, options):
        if isinstance(outcome, str):
            compared, differences = {}, [outcome]
        else:
            compared, differences = comparison.compare(context.program, given, slot, outcome, names_too=dvd)
        context.outcomes.record(f"{protocol}: {controller} {drive.specification(slot)} on {drive.image}, {drive.cache}",
                                "\n".join(differences) or None)
        rows.append(comparison.Row(controller, drive.specification(slot), drive.image, drive.cache, compared,
                                   len(differences)))
    if dvd and not isinstance(outcome, str):
        differences = comparison.compare_dvd(context.program, ["--device", DVD, "null:0"], DVD_SLOT, outcome)
        context.outcomes.record(f"{protocol}: {controller} {DVD}, empty", "\n".join(differences) or None)
    return rows


def image(context, drive):
    """The image that a server serves."""
    if not drive.image.startswith("boot-record:"):
        return drive.image
    heads, sectors = map(int, drive.image.partition(":")[2].split("x"))
    assert (heads, sectors) in GEOMETRIES
    path = context.folder / f"record-{heads}-{sectors}.img"
    return path if path.exists() else sparse(path, 1 << 30, boot_record(heads, sectors))
