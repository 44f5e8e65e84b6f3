"""A guest: one boot of Debian's kernel in QEMU, without KVM, that runs a shell script and hands back what came of it."""

import dataclasses
import io
import pathlib
import subprocess
import tarfile
import tempfile
import time

INSIDE = pathlib.Path(__file__).parent / "inside"
PORTS = ("output", "status", "results")


class GuestFailed(RuntimeError):
    """The guest did not finish, or its script failed; the message ends with the tail of what it said."""


@dataclasses.dataclass
class Outcome:
    """What a script printed, its exit status and the files that it left."""

    output: str
    status: int
    files: dict[str, bytes]
    seconds: float

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


class Boot:
    """A guest that runs. Leaving the `with` statement ends it whatever it is doing."""

    def __init__(self, guest, script, *, variables=None, modules="", disks=0, fio=False, machine="pc", memory=512,
                 qemu=(), limit=240):
        """Starts QEMU.

        script     name of a script in `inside`
        variables  shell variables that the script sees
        modules    kernel modules that are loaded before it
        disks      how many SCSI disks and CD-ROM drives have to appear before it
        fio        whether fio is needed
        qemu       further arguments for QEMU
        limit      seconds after which the guest is taken to hang
        """
        self._folder = tempfile.TemporaryDirectory(prefix="spindle-guest-")
        self._path = pathlib.Path(self._folder.name)
        self._script, self._limit, self._started = script, limit, time.monotonic()
        job = {
            "init": (INSIDE / "init").read_bytes(),
            "job/modules": modules.encode(),
            "job/disks": str(disks).encode(),
            "job/network": (INSIDE / "network").read_bytes(),
            "job/script": assignments(variables or {}) + (INSIDE / script).read_bytes(),
        }
        initrd = self._path / "initrd"
        with initrd.open("wb") as file:
            for part in ["base.cpio"] + (["fio.cpio"] if fio else []):
                file.write((guest.folder / part).read_bytes())
            file.write(cpio(job))
        arguments = [
            "qemu-system-x86_64", "-accel", "tcg", "-machine", machine, "-m", str(memory), "-nodefaults",
            "-display", "none", "-no-reboot", "-kernel", guest.folder / "vmlinuz", "-initrd", initrd,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check",
            "-serial", f"file:{self._path / 'console'}", "-device", "virtio-serial-pci",
        ]
        for number, port in enumerate(PORTS, start=1):
            arguments += ["-chardev", f"file,id={port},path={self._path / port}",
                          "-device", f"virtserialport,chardev={port},nr={number}"]
        with (self._path / "errors").open("wb") as errors:
            self._qemu = subprocess.Popen([*map(str, arguments), *map(str, qemu)], stdin=subprocess.DEVNULL,
                                          stdout=errors, stderr=errors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._qemu.kill()
        self._qemu.wait()
        self._folder.cleanup()

    def output(self) -> str:
        """What the script has printed up to now."""
        return self._read("output").decode(errors="replace")

    def wait_for(self, line: str):
        """Waits until the script has printed a line."""
        while line not in self.output().splitlines():
            if self._qemu.poll() is not None or time.monotonic() - self._started > self._limit:
                raise self._failure(f"never printed '{line}'")
            time.sleep(0.05)

    def finish(self) -> Outcome:
        """Waits until the guest has powered off; a script that failed is a failure here too."""
        try:
            self._qemu.wait(max(1, self._limit - (time.monotonic() - self._started)))
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not finish within {self._limit} seconds") from None
        status = self._read("status").strip()
        if status != b"0":
            raise self._failure(f"ended with status {status.decode()}" if status else "stopped before its end")
        with tarfile.open(fileobj=io.BytesIO(self._read("results"))) as archive:
            files = {member.name.removeprefix("./"): archive.extractfile(member).read()
                     for member in archive if member.isfile()}
        return Outcome(self.output(), int(status), files, time.monotonic() - self._started)

    def _read(self, name) -> bytes:
        path = self._path / name
        return path.read_bytes() if path.exists() else b""

    def _failure(self, what):
        tails = [f"--- {name}\n{tail(self._read(name))}" for name in ("errors", "console", "output")]
        return GuestFailed(f"the guest with {self._script} {what}\n" + "\n".join(tails))


def tail(data: bytes, lines: int = 25) -> str:
    """The last lines of what was printed."""
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])


def assignments(variables) -> bytes:
    """Shell variables, quoted."""
    quoted = {name: str(value).replace("'", "'\\''") for name, value in variables.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items()).encode()


def cpio(files) -> bytes:
    """An archive in the kernel's `newc` format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    members = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    archive = b""
    for number, (name, mode, data) in enumerate([*members, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return archive
