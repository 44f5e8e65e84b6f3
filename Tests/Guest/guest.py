"""A guest: one boot of Debian's kernel in QEMU, without KVM, that runs a script and hands back what came of it."""

import dataclasses
import io
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time

INSIDE = pathlib.Path(__file__).parent / "inside"
PORTS = ("output", "status", "results")
# QEMU's user network, for guests that talk to the host.
NETWORK = ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]


class GuestFailed(RuntimeError):
    """The guest did not finish, or its script failed; the message ends with the tail of what it said."""


@dataclasses.dataclass
class Outcome:
    """What a script that ended well has printed and the files that it left."""

    output: str
    files: dict[str, bytes]

    def text(self, name: str) -> str:
        """A file that the script left, as text."""
        return self.files[name].decode(errors="replace")


@dataclasses.dataclass
class GuestFiles:
    """Where the builder has put the parts of the guest."""

    folder: pathlib.Path

    def boot(self, script: str, **options) -> Outcome:
        """Runs a script of the folder `inside` to its end; see `Boot` for the options."""
        with self.start(script, **options) as boot:
            return boot.finish()

    def start(self, script: str, **options) -> "Boot":
        """Starts a guest that the caller wants to watch."""
        return Boot(self, script, **options)


class Machine:
    """A QEMU that runs. Leaving the `with` statement ends it whatever it is doing."""

    def __init__(self, arguments, *, machine="pc", limit=600):
        """Starts QEMU with some arguments.

        limit  seconds after which the machine is taken to hang; most need less than 60, on a busy host some five times that
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="spindle-guest-")
        self.folder = pathlib.Path(self._temporary.name)
        self._limit, self._started = limit, time.monotonic()
        command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", machine, "-nodefaults", "-display", "none",
                   "-no-reboot", "-serial", f"file:{self.folder / 'console'}"]
        with (self.folder / "errors").open("wb") as errors:
            self._qemu = subprocess.Popen([*command, *self.prepare(arguments)], stdin=subprocess.DEVNULL,
                                          stdout=errors, stderr=errors)

    def prepare(self, arguments):
        """The last word on the arguments, once there is a folder."""
        return list(map(str, arguments))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._qemu.kill()
        self._qemu.wait()
        self._temporary.cleanup()

    def read(self, name) -> bytes:
        """A file in the machine's folder: nothing if it is not there."""
        path = self.folder / name
        return path.read_bytes() if path.exists() else b""

    def console(self) -> str:
        """What came over the serial line."""
        return self.read("console").decode(errors="replace")

    def runs(self) -> bool:
        """The machine is on and has time left."""
        return self._qemu.poll() is None and self.seconds() < self._limit

    def seconds(self) -> float:
        """For how long the machine has been on."""
        return time.monotonic() - self._started

    def wait(self):
        """Waits until the machine is off."""
        try:
            self._qemu.wait(max(1, self._limit - self.seconds()))
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not finish within {self._limit} seconds") from None

    def failure(self, what):
        """The tail of all that the machine has said."""
        tails = [f"--- {name}\n{tail(self.read(name))}" for name in ("errors", "console", "output")]
        return GuestFailed(f"the machine {what}\n" + "\n".join(tails))


class Boot(Machine):
    """A machine that runs a script."""

    def __init__(self, guest, script, *, variables=None, modules="", disks=0, fio=False, memory=512, qemu=(),
                 files=None, append="", **options):
        """Starts it.

        script     name of a script in `inside`
        variables  shell variables that the script sees
        modules    kernel modules that are loaded before it
        disks      how many SCSI disks and CD-ROM drives have to appear before it
        fio        whether fio is needed
        qemu       further arguments for QEMU
        files      further files in the guest: their names without the first slash, and their contents
        append     further words for the kernel's command line
        """
        self._guest, self._script, self._fio, self._append = guest, script, fio, append
        self._job = {
            "init": (INSIDE / "init").read_bytes(),
            "job/modules": modules.encode(),
            "job/disks": str(disks).encode(),
            "job/network": (INSIDE / "network").read_bytes(),
            "job/script": assignments(variables or {}) + (INSIDE / script).read_bytes(),
            **(files or {}),
        }
        super().__init__(["-m", memory, *qemu], **options)

    def prepare(self, arguments):
        with (self.folder / "initrd").open("wb") as initrd:
            for part in ["base.cpio"] + (["fio.cpio"] if self._fio else []):
                initrd.write((self._guest.folder / part).read_bytes())
            initrd.write(cpio(self._job))
        own = ["-kernel", self._guest.folder / "vmlinuz", "-initrd", self.folder / "initrd",
               "-append", f"console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check {self._append}",
               "-device", "virtio-serial-pci"]
        for number, port in enumerate(PORTS, start=1):
            own += ["-chardev", f"file,id={port},path={self.folder / port}",
                    "-device", f"virtserialport,chardev={port},nr={number}"]
        return super().prepare([*own, *arguments])

    def output(self) -> str:
        """What the script has printed up to now."""
        return self.read("output").decode(errors="replace")

    def wait_for(self, line: str):
        """Waits until the script has printed a line."""
        while line not in self.output().splitlines():
            if not self.runs():
                raise self.failure(f"with {self._script} never printed '{line}'")
            time.sleep(0.05)

    def finish(self) -> Outcome:
        """Waits until the guest has powered off; a script that failed is a failure here too."""
        self.wait()
        status = self.read("status").strip().decode()
        if status != "0":
            raise self.failure(f"with {self._script} " + (f"ended with status {status}" if status else "broke down"))
        with tarfile.open(fileobj=io.BytesIO(self.read("results"))) as archive:
            files = {member.name.removeprefix("./"): archive.extractfile(member).read()
                     for member in archive if member.isfile()}
        return Outcome(self.output(), files)


def tail(data: bytes, lines: int = 25) -> str:
    """The last lines of what was printed."""
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])


def assignments(variables) -> bytes:
    """Shell variables, quoted."""
    quoted = {name: str(value).replace("'", "'\\''") for name, value in variables.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items()).encode()


def program(path, name=None) -> dict[str, bytes]:
    """A program of this machine and the libraries that it is linked with, as files for a guest."""
    linked = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, errors="replace").stdout
    libraries = [word for word in linked.split() if word.startswith("/")]
    files = {library: pathlib.Path(library).read_bytes() for library in libraries}
    files[str(name or path)] = pathlib.Path(path).read_bytes()
    return {target.lstrip("/"): data for target, data in files.items()}


def tools(*names) -> dict[str, bytes]:
    """Programs of this machine by their names, where a guest's shell finds them."""
    files = {}
    for name in names:
        files |= program(shutil.which(name), f"/usr/bin/{name}")
    return files


def cpio(files) -> bytes:
    """An archive in the kernel's `newc` format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    folders = sorted({str(folder) for name in files for folder in pathlib.PurePath(name).parents} - {"."})
    members = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    archive = bytearray()
    for number, (name, mode, data) in enumerate([*members, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
