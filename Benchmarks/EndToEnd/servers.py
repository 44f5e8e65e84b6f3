"""How each server is started, reached and looked at."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from images import Image, make_empty, make_qcow2

TICKS = os.sysconf("SC_CLK_TCK")
# So long a server may take to begin, to end, and to reap the processes that it had for clients.
PATIENCE_SECONDS = 10


class ServerFailed(Exception):
    """A server that did not serve."""


class Server:
    """A server of one image; a subclass says with which command. One that forks names a file with its process."""

    name = ""
    program = ""
    transports = {"unix", "tcp"}
    cache_modes = {"writeback"}
    kinds = {"raw"}
    pid_file = None

    def __init__(self, folder, image, transport="unix", cache="writeback"):
        self.folder, self.image, self.transport, self.cache = folder, image, transport, cache
        self.socket = folder / "socket"
        self.keys = folder / "keys" / "keys.psk"
        self.process = None
        self.forked_pid = None

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    @classmethod
    def version(cls):
        return first_line([cls.program, "--version"])

    @classmethod
    def can(cls, case):
        return (case.transport in cls.transports and case.cache in cls.cache_modes and case.kind in cls.kinds
                and case.server in ("", cls.name))

    @classmethod
    def image(cls, kind, images, folder):
        """An image of a kind, made in a folder; `raw` is made elsewhere."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def export(self):
        return ""

    def arguments(self, case):
        """The load's arguments, as far as they are for this server."""
        return case.arguments

    @property
    def uri(self):
        if self.transport == "tcp":
            return f"nbd://127.0.0.1:{self.port}/{self.export()}"
        if self.transport == "tls":
            return f"nbds+unix://spindle@/{self.export()}?socket={self.socket}&tls-psk-file={self.keys}"
        return f"nbd+unix:///{self.export()}?socket={self.socket}"

    def __enter__(self):
        self.socket.unlink(missing_ok=True)
        self.port = free_port()
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.accepts():
            status = self.process.poll()
            has_failed = status is not None and (self.pid_file is None or status != 0)
            if has_failed or time.monotonic() > deadline:
                self.stop()
                raise ServerFailed("does not serve: " + (self.folder / "log").read_text(errors="replace"))
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.forked_pid or self.process.pid

    def stop(self):
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_running():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
            time.sleep(0.01)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        elif self.forked_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.forked_pid, number)

    def is_running(self):
        if self.process.poll() is None:
            return True
        try:
            # What has forked away is somebody else's to reap, and may stay a zombie.
            return self.forked_pid is not None and self.state()[0] != "Z"
        except OSError:
            return False

    def state(self):
        """The fields of /proc/PID/stat (proc(5)) from the third, the state, on."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def connect(self):
        if self.transport in ("tcp", "iscsi"):
            return socket.create_connection(("127.0.0.1", self.port))
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.socket))
        return client

    def accepts(self):
        try:
            if self.pid_file is not None:
                self.forked_pid = int(self.pid_file.read_text())
            self.connect().close()
            return True
        except (OSError, ValueError):
            return False

    def processor_seconds(self):
        """The time of all its threads, and (in ticks) of processes that it had for clients and that have ended."""
        # The clock of another process, as clock_getcpuclockid(3) has it: to the nanosecond, unlike the ticks in /proc.
        own = time.clock_gettime(~self.pid << 3 | 2)
        return own + sum(map(int, self.state()[13:15])) / TICKS

    def wait_for_children(self):
        """A process that nbd-server has for a client ends a moment after the client, and counts from then on."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        if not children.exists():
            time.sleep(0.1)
            return
        deadline = time.monotonic() + PATIENCE_SECONDS
        while children.read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.01)

    def memory_kib(self):
        """What it has in memory, and what it had at the most (VmRSS and VmHWM of proc(5))."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return tuple(int(re.search(rf"^{name}:\s*(\d+)", status, re.M).group(1)) for name in ("VmRSS", "VmHWM"))


class Spindle(Server):
    name = "spindle"
    transports = {"unix", "tcp", "tls", "iscsi"}
    cache_modes = {"writeback", "none"}
    kinds = {"raw", "qcow2", "qcow2-subclusters", "qcow2-full", "overlay-file", "overlay-memory", "overlay-read"}

    @classmethod
    def is_installed(cls):
        return True

    @classmethod
    def image(cls, kind, images, folder):
        match kind:
            case "overlay-file":
                return Image(make_empty(folder / "base"), is_overlay=True, changes=folder / "changes")
            case "overlay-memory":
                return Image(make_empty(folder / "base"), is_overlay=True)
            case "overlay-read":
                return Image(images.warm_pages(), is_overlay=True, changes=folder / "changes")
        return qcow2_image(kind, images, folder)

    @property
    def uri(self):
        if self.transport == "iscsi":
            return f"iscsi://127.0.0.1:{self.port}/iqn.2026-11.org.spindle:disk/0"
        return super().uri

    def command(self):
        listen = f"unix:{self.socket}" if self.transport in ("unix", "tls") else f"{self.transport}:127.0.0.1:{self.port}"
        tls = ["--tls", "require", "--tls-psk", str(self.keys)] if self.transport == "tls" else []
        image = f"overlay:{self.image.path}" if self.image.is_overlay else str(self.image.path)
        if self.transport == "iscsi":
            image = "disk=" + image
        changes = ["--changes", str(self.image.changes)] if self.image.changes else []
        return [self.program, "serve", "--listen", listen, "--cache", self.cache, "--image-format", self.image.format,
                *changes, *tls, image]


class SpindleNBD(Spindle):
    """What the same requests take over NBD, beside iSCSI; it has no digests."""

    name = "spindle-nbd"
    transports = {"iscsi"}
    kinds = {"raw"}

    def __init__(self, folder, image, transport="tcp", cache="writeback"):
        super().__init__(folder, image, "tcp", cache)

    def arguments(self, case):
        return tuple(argument for argument in case.arguments if argument != "--digests")


class SpindleRaw(Spindle):
    """What the same requests take on a raw image, beside layers."""

    name = "spindle-raw"
    transports = {"unix"}
    kinds = Spindle.kinds - {"raw"}

    @classmethod
    def image(cls, kind, images, folder):
        return Image(images.warm_pages() if kind in ("qcow2-full", "overlay-read") else make_empty(folder / "image"))


class Nbdkit(Server):
    name = "nbdkit"
    program = "nbdkit"
    transports = {"unix", "tcp", "tls"}
    kinds = {"raw", "overlay-memory"}

    @classmethod
    def image(cls, kind, images, folder):
        return Image(make_empty(folder / "base"), is_overlay=True)

    def command(self):
        listen = ["-i", "127.0.0.1", "-p", str(self.port)] if self.transport == "tcp" else ["-U", str(self.socket)]
        tls = ["--tls=require", f"--tls-psk={self.keys}"] if self.transport == "tls" else []
        # In blocks of 4 KiB, its smallest: larger ones have to be read before they can be written.
        cow = ["--filter=cow"] if self.image.is_overlay else []
        block = ["cow-block-size=4k"] if self.image.is_overlay else []
        return [self.program, "-f", *listen, *tls, *cow, "file", str(self.image.path), *block]


class QemuNbd(Server):
    name = "qemu-nbd"
    program = "qemu-nbd"
    cache_modes = {"writeback", "none"}
    kinds = {"raw", "qcow2", "qcow2-subclusters", "qcow2-full", "overlay-file", "overlay-read"}

    @classmethod
    def image(cls, kind, images, folder):
        match kind:
            case "overlay-file":
                return make_qcow2(folder / "overlay.qcow2", "extended_l2=on", base=make_empty(folder / "base"))
            case "overlay-read":
                return make_qcow2(folder / "overlay.qcow2", "extended_l2=on", base=images.warm_pages())
        return qcow2_image(kind, images, folder)

    def command(self):
        listen = ["-b", "127.0.0.1", "-p", str(self.port)] if self.transport == "tcp" else ["-k", str(self.socket)]
        return [self.program, "-t", "-e", "256", *listen, "-f", self.image.format, "--aio=io_uring",
                f"--cache={self.cache}", str(self.image.path)]


class NbdServer(Server):
    name = "nbd-server"
    program = "nbd-server"

    @classmethod
    def version(cls):
        return first_line([cls.program, "-V"])

    def export(self):
        return "disk"

    def command(self):
        self.pid_file = self.folder / "nbd.pid"
        self.pid_file.unlink(missing_ok=True)
        listen = f"listenaddr=127.0.0.1\nport={self.port}" if self.transport == "tcp" else f"unixsock={self.socket}"
        configuration = self.folder / "nbd.conf"
        configuration.write_text(f"[generic]\n{listen}\n[disk]\nexportname={self.image.path}\nflush=true\ntrim=true\n")
        return [self.program, "-C", str(configuration), "-p", str(self.pid_file)]


class Tgt(Server):
    name = "tgt"
    program = "tgtd"
    transports = {"iscsi"}
    target = "iqn.2026-11.org.example:tgt"

    @classmethod
    def version(cls):
        return first_line([cls.program, "-V"])

    @property
    def uri(self):
        return f"iscsi://127.0.0.1:{self.port}/{self.target}/1"

    def command(self):
        return ["env", f"TGT_IPC_SOCKET={self.folder / 'tgt'}", self.program, "-f", "--iscsi",
                f"portal=127.0.0.1:{self.port}"]

    def __enter__(self):
        super().__enter__()
        try:
            self.manage("new", "--mode", "target", "-T", self.target)
            for digest in "HeaderDigest", "DataDigest":
                self.manage("update", "--mode", "target", "--name", digest, "--value", "CRC32C,None")
            self.manage("new", "--mode", "logicalunit", "--lun", "1", "-b", str(self.image.path))
            self.manage("bind", "--mode", "target", "-I", "ALL")
        except ServerFailed:
            self.stop()
            raise
        return self

    def manage(self, operation, *arguments):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            result = subprocess.run(
                ["env", f"TGT_IPC_SOCKET={self.folder / 'tgt'}", "tgtadm", "--lld", "iscsi", "--op", operation,
                 "--tid", "1", *arguments], capture_output=True, errors="replace")
            if result.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise ServerFailed(f"tgtadm: {result.stderr}")
            time.sleep(0.1)

    def stop(self):
        """SIGTERM is not for a tgtd that has targets."""
        self.signal(signal.SIGKILL)
        self.process.wait()


SERVERS = [Spindle, Nbdkit, QemuNbd, NbdServer, SpindleNBD, Tgt, SpindleRaw]


def qcow2_image(kind, images, folder):
    """What Spindle and QEMU have alike."""
    match kind:
        case "qcow2":
            return make_qcow2(folder / "image.qcow2")
        case "qcow2-subclusters":
            return make_qcow2(folder / "image.qcow2", "extended_l2=on")
        case "qcow2-full":
            image = folder / "image.qcow2"
            subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", str(images.warm_pages()), str(image)], check=True)
            return Image(image, "qcow2")
    raise ValueError(kind)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_line(command):
    result = subprocess.run(command, capture_output=True, errors="replace")
    lines = (result.stdout or result.stderr).strip().splitlines()
    return lines[0] if result.returncode == 0 and lines else "unknown"
