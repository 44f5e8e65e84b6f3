"""The units of contrib/systemd: as systemd reads them, and in a guest whose first process is systemd."""

import os
import pathlib
import re
import shutil
import subprocess

from guest import INSIDE, program

# The most that `systemd-analyze security` may hold against the service, of 100.
EXPOSURE = 20
UNITS = ["spindle.socket", "spindle@default.service", "nbd@nbd0.service"]


def run(context):
    context.outcomes.run("units: systemd-analyze verify finds nothing", verify, context)
    context.outcomes.run("units: systemd-analyze security is content", security, context)
    context.outcomes.run("units: a machine boots and shuts down with a mount of its own server", services, context)


def installed(context):
    """A folder with the units, where the program is the one under test, and its path has a space in it."""
    folder = context.folder / "units"
    if not folder.exists():
        program = context.folder / "some where/spindle"
        program.parent.mkdir()
        program.symlink_to(context.program)
        shutil.copytree(context.project / "contrib/systemd", folder)
        service = folder / "spindle@.service"
        service.write_text(service.read_text().replace("/usr/bin/spindle", f'"{program}"'))
    return folder


def verify(context):
    # The empty name at the end of the path stands for the folders where systemd looks otherwise: nbd@.service is there.
    path = f"{installed(context)}:"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *UNITS], timeout=60,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": path}, capture_output=True, errors="replace", cwd="/")
    assert done.returncode == 0 and not done.stderr, done.stderr


def security(context):
    folder = context.folder / "security"
    folder.mkdir()
    shutil.copy(installed(context) / "spindle@.service", folder / "spindle@default.service")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager",
                           folder / "spindle@default.service"], timeout=60, capture_output=True, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Overall exposure level .*: \d", done.stdout), done.stdout


SYSTEMD = pathlib.Path("/lib/systemd")
# What systemd itself needs; targets come by themselves.
OWN_UNITS = ["modprobe@.service", "nbd@.service", "systemd-poweroff.service", "systemd-udevd.service",
             "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service"]
ENVIRONMENTS = {
    "default": "SPINDLE_ARGUMENTS=system=/var/lib/spindle/system.img",
    "second": "SPINDLE_ARGUMENTS=--lock-memory --listen tcp:127.0.0.1:10811 second=memory:64M",
}


def services(context):
    """Debian's systemd starts the server, connects, mounts; the way down is the way up backwards."""
    disk = context.folder / "services.img"
    inner = context.folder / "var/spindle/system.img"
    inner.parent.mkdir(parents=True)
    for arguments in (["-L", "inner", inner, "64M"], ["-d", inner.parent.parent, disk, "128M"]):
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", *arguments], check=True, timeout=60, capture_output=True)
    # The module comes with the connection, by the drop-in.
    with context.guest.start("services/script", modules="virtio_blk ext4 crc32c_generic", memory=1024,
                             files=machine(context), qemu=["-drive", f"if=virtio,file={disk},format=raw"],
                             append="SYSTEMD_COLORS=0 systemd.show_status=1 systemd.status_unit_format=name "
                                    "systemd.log_target=console") as guest:
        outcome = guest.finish()
        console = guest.console()
    process = dict(line.split(":", 1) for line in outcome.text("process").splitlines())
    assert "0" not in process["Uid"].split() and int(process["CapBnd"], 16) == 0, process
    assert int(process["NoNewPrivs"]) == 1 and int(process["Seccomp"]) == 2, process
    way_down = ["Unmounted mnt.mount", "Stopped nbd@nbd0.service", "Stopped spindle@default.service"]
    places = [console.rfind(line) for line in way_down]
    assert -1 not in places and places == sorted(places), f"{way_down} in the wrong order:\n{console}"
    for image, name, target in ((disk, "/spindle/system.img", inner), (inner, "/greeting", "greeting")):
        subprocess.run(["debugfs", "-R", f"dump {name} {context.folder / target}", image], check=True, timeout=60,
                       capture_output=True)
    assert "over a mount" in (context.folder / "greeting").read_text()


def machine(context):
    """The files that make a guest a machine with systemd and Spindle."""
    files = {}
    for path in (SYSTEMD / "systemd", SYSTEMD / "systemd-shutdown", SYSTEMD / "system-generators/systemd-fstab-generator",
                 "/usr/bin/systemctl", "/usr/bin/udevadm"):
        files |= program(path)
    files |= program("/usr/bin/udevadm", SYSTEMD / "systemd-udevd") | program(context.program, "/usr/bin/spindle")
    own = [*(SYSTEMD / "system").glob("*.target"), *(SYSTEMD / "system" / name for name in OWN_UNITS)]
    rules = [pathlib.Path("/lib/udev/rules.d") / name for name in ("50-udev-default.rules", "99-systemd.rules")]
    files |= {str(path).lstrip("/"): path.read_bytes() for path in own + rules}
    units = context.project / "contrib/systemd"
    files |= {f"etc/systemd/system/{path.relative_to(units)}": path.read_bytes()
              for path in units.rglob("*") if path.is_file()}
    files |= {f"etc/spindle/{name}.env": f"{text}\n".encode() for name, text in ENVIRONMENTS.items()}
    # A package makes links for these.
    wanted = {
        "sysinit": "systemd-udevd.service systemd-udev-trigger.service",
        "sockets": "systemd-udevd-control.socket systemd-udevd-kernel.socket spindle.socket",
        "multi-user": "remote-fs.target job.service",
    }
    files |= {f"etc/systemd/system/{target}.target.d/wants.conf": f"[Unit]\nWants={units}\n".encode()
              for target, units in wanted.items()}
    inside = INSIDE / "services"
    return files | {
        "job/first": (inside / "first").read_bytes(),
        "etc/systemd/system/job.service": (inside / "job.service").read_bytes(),
        "etc/systemd/system/default.target": b"[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n",
        "etc/fstab": (inside / "fstab").read_bytes(),
        "etc/nbdtab": b"nbd0 127.0.0.1 system\n",
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nspindle:x:990:990::/var/lib/spindle:/usr/sbin/nologin\n",
        "etc/group": b"root:x:0:\nspindle:x:990:\n",
        "etc/machine-id": b"5b1d1e0000000000000000000000d15c\n",
        "etc/os-release": b"ID=spindle-test\n",
    }
