"""A machine that boots from Spindle: SeaBIOS, extlinux and Linux from the second IDE disk, over NBD and iSCSI, in QEMU and in
libvirt."""

import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree

from guest import INSIDE, Machine, tail
from server import Server, free_port, sparse

NAME = "boot: QEMU boots from the second IDE disk, writes, and finds it on the next boot"


def run(context):
    context.outcomes.run(NAME, boots_and_boots_again, context)
    context.outcomes.run("boot: QEMU boots from the second IDE disk over iSCSI", boots_over_iscsi, context)
    for protocol in ("nbd", "iscsi"):
        context.outcomes.run(f"boot: libvirt's schema accepts the domain, {protocol}", valid_domain, context, protocol)
        context.outcomes.run(f"boot: libvirt starts the domain, {protocol}", libvirt, context, protocol)


def installed(context):
    """The image of a disk on which a guest has installed a system, through Spindle."""
    image = context.folder / "system.img"
    if image.exists():
        return image
    archive = context.folder / "boot.tar"
    with tarfile.open(archive, "w") as tar:
        files = {name: INSIDE / "boot" / name for name in ("init", "start", "extlinux.conf")}
        for name, path in {**files, "vmlinuz": context.guest.folder / "vmlinuz"}.items():
            data = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    # A disk has no end in the middle of a sector; an archive may.
    archive.write_bytes(archive.read_bytes() + bytes(-archive.stat().st_size % 512))
    unfinished = sparse(context.folder / "installing.img", 256 << 20)
    socket = context.folder / "install.sock"
    with Server(context.program, f"system={unfinished}", listen=f"unix:{socket}") as server:
        context.guest.boot("install.sh", modules="ata_piix sd_mod sr_mod virtio_blk crc32c_generic ext4", disks=2,
                           qemu=[*disk(f"file=nbd:unix:{socket}"), "-drive", f"if=virtio,file={archive},format=raw,read-only=on"])
        assert server.stop() == 0, "the server did not end well"
    unfinished.rename(image)
    return image


def disk(file):
    """The drives of the reference machine, in the words of its command line: the disk as slave beside an empty DVD drive."""
    return ["-device", "ide-cd,bus=ide.0,unit=0",
            "-drive", f"{file},format=raw,if=none,id=drive-ide0-0-1,cache=none,aio=native",
            "-device", "ide-hd,bus=ide.0,unit=1,drive=drive-ide0-0-1,id=ide0-0-1,bootindex=3,write-cache=on"]


def boots_and_boots_again(context):
    image = installed(context)
    for number in (1, 2):
        # Each boot has a server of its own: what the next one finds has been through the image.
        socket = context.folder / f"boot{number}.sock"
        with Server(context.program, f"system={image}", listen=f"unix:{socket}") as server:
            with Machine(["-m", "512", *disk(f"file=nbd:unix:{socket}")]) as machine:
                machine.wait()
                assert_booted(machine.console(), number)
            assert server.stop() == 0, "the server did not end well"


def boots_over_iscsi(context):
    """The disk of the reference machine."""
    image = installed(context)
    boots = image_boots(image)
    portal = f"127.0.0.1:{free_port()}"
    file = f"file.driver=iscsi,file.portal={portal},file.target=iqn.2026-11.org.spindle:system,file.lun=0,file.transport=tcp"
    with Server(context.program, "--device", "ide-hd,unit=1,write-cache=on", "--cache", "none", f"system={image}",
                listen=f"iscsi:{portal}") as server:
        with Machine(["-m", "512", *disk(file)]) as machine:
            machine.wait()
            assert_booted(machine.console(), boots + 1)
        assert server.stop() == 0, "the server did not end well"


def assert_booted(console, number):
    expected = f"boot {number} from /dev/sda1 is done, {number} files are good"
    assert expected in console, f"the machine never said '{expected}'\n{tail(console.encode())}"
    assert "not there" not in console, tail(console.encode())


def domain_file(context, protocol):
    names = {"nbd": "spindle-guest", "iscsi": "spindle-guest-iscsi"}
    return context.project / f"contrib/libvirt/{names[protocol]}.xml"


def valid_domain(context, protocol):
    checked = subprocess.run(["virt-xml-validate", domain_file(context, protocol), "domain"], capture_output=True, errors="replace",
                             timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def libvirt(context, protocol):
    """A domain of contrib/libvirt, without KVM and with a console that goes to a file."""
    image = installed(context)
    boots = image_boots(image)
    with tempfile.TemporaryDirectory(prefix="spindle-guest-libvirt-") as name:
        folder = pathlib.Path(name)
        socket, port, console = folder / "socket", free_port(), folder / "console"
        host = {"socket": str(socket)} if protocol == "nbd" else {"port": str(port)}
        listen = f"unix:{socket}" if protocol == "nbd" else f"iscsi:127.0.0.1:{port}"
        domain = write_domain(domain_file(context, protocol), folder / "domain.xml", host, console)
        with Server(context.program, f"system={image}", listen=listen) as server:
            with Session(folder) as session:
                session.virsh("create", folder / "domain.xml")
                session.wait_until_gone(domain, console)
            assert server.stop() == 0, "the server did not end well"
        assert_booted(console.read_text(errors="replace"), boots + 1)


def write_domain(source, target, host, console):
    """What has to differ in a test; returns the domain's name."""
    domain = ElementTree.parse(source)
    domain.getroot().set("type", "qemu")
    domain.find("./devices/disk/source/host").attrib.update(host)
    devices, serial = domain.find("./devices"), domain.find("./devices/serial")
    devices.remove(domain.find("./devices/console"))
    serial.set("type", "file")
    ElementTree.SubElement(serial, "source", path=str(console))
    domain.write(target)
    return domain.find("./name").text


class Session:
    """A session daemon of libvirt's in a folder of its own. For root, who has no session, it runs as nobody."""

    def __init__(self, folder):
        self._log = folder / "libvirtd.log"
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
        self._options = {"env": {**os.environ, **dict.fromkeys(names, str(folder)), "LIBVIRT_AUTOSTART": "0"}, "stdin": subprocess.DEVNULL}
        self._become = []
        (folder / "libvirt").mkdir()
        (folder / "libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        if os.geteuid() == 0:
            self._become = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
            subprocess.run(["chown", "-R", "nobody:nogroup", folder], check=True)

    def __enter__(self):
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("reaper.py"), *self._become, "libvirtd"],
                                            stdout=log, stderr=log, **self._options)
        deadline = time.monotonic() + 60
        while self._virsh("version").returncode != 0:
            assert self._daemon.poll() is None and time.monotonic() < deadline, self._said()
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self._daemon.terminate()
        self._daemon.wait()

    def _said(self):
        return self._log.read_text(errors="replace")

    def _virsh(self, *arguments):
        return subprocess.run([*self._become, "virsh", "--connect", "qemu:///session", *map(str, arguments)], timeout=60, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._options)

    def virsh(self, *arguments):
        """Runs a command that has to succeed."""
        done = self._virsh(*arguments)
        assert done.returncode == 0, f"virsh {arguments}: {done.stdout}\n{self._said()}"

    def wait_until_gone(self, domain, console):
        """A domain that was created and not defined is gone once it is off."""
        deadline = time.monotonic() + 240
        while self._virsh("domstate", domain).returncode == 0:
            if time.monotonic() > deadline:
                self._virsh("destroy", domain)
                raise AssertionError("the domain did not shut down\n" + tail(console.read_bytes()))
            time.sleep(0.2)


def image_boots(image):
    """How often the installed system has booted: as its own file says."""
    dumped = subprocess.run(["debugfs", "-R", "cat /srv/boots", f"{image}?offset={2048 * 512}"], capture_output=True,
                            errors="replace", timeout=60)
    return int(dumped.stdout or 0)
