"""The commands of README for Linux and for virtual machines, run as they are printed."""

import re
import shlex

from guest import NETWORK
from server import Server, free_port, identify, sparse


def run(context):
    context.outcomes.run("readme: Mount it on Linux", mount, context)
    context.outcomes.run("readme: Hang a VM on it", hang, context)
    context.outcomes.run("readme: Hang a VM on iSCSI", over_iscsi, context)


def blocks(context, section):
    """The shell commands of a section, a text for each block."""
    readme = (context.project / "README.md").read_text()
    text = re.search(rf"^## {section}\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert text, f"README has no section '{section}'"
    return re.findall(r"^```sh\n(.*?)^```", text[1], re.MULTILINE | re.DOTALL)


def serve_arguments(command):
    """What `spindle serve` is given, without its endpoint."""
    words = shlex.split(command)
    assert words[:3] == ["spindle", "serve", "--listen"], command
    return words[4:]


def mount(context):
    """One block for the server, one for the client."""
    serve, client = blocks(context, "Mount it on Linux")
    *options, image = serve_arguments(serve)
    path = sparse(context.folder / image, 256 << 20)
    with Server(context.program, *options, path) as server:
        commands = client.replace("server.example 10809", f"10.0.2.2 {server.port}")
        assert commands != client, "the client's block does not connect to server.example 10809"
        outcome = context.guest.boot(
            "readme.sh", modules="virtio_net nbd ext4 crc32c_generic", qemu=NETWORK,
            files={"job/readme": commands.encode(), "etc/motd": b"of the guest\n"})
        assert server.stop() == 0, "the server did not end well"
    assert "of the guest" in outcome.output, outcome.output


def drives(command):
    """QEMU's options for drives and devices."""
    words = shlex.split(command.replace("\\\n", " "))
    return [word for place, word in enumerate(words) if "-d" in (word[:2], words[place - 1][:2])]


def hang(context):
    """One block for the server, one for QEMU, of which the drive's options count."""
    serve, qemu = blocks(context, "Hang a VM on it")
    *options, image = serve_arguments(serve)
    path = sparse(context.folder / f"vm-{image}", 256 << 20)
    socket = context.folder / "readme.sock"
    with Server(context.program, *options, f"disk={path}", listen=f"unix:{socket}"):
        outcome = context.guest.boot("disk.sh", modules="ata_piix sd_mod", disks=1,
                                     qemu=drives(qemu.replace("/tmp/disk.sock", str(socket))))
    serial = re.search(r"Serial Number:\s+(\S+)", outcome.text("hdparm"))
    assert serial and f"serial={serial[1]}" in serve, outcome.text("hdparm")
    assert outcome.text("size").strip() == str((256 << 20) // 512), outcome.text("size")


def over_iscsi(context):
    """The same for iSCSI; only the port differs from what is printed."""
    serve, qemu = blocks(context, "Hang a VM on iSCSI")
    assert "iscsi:127.0.0.1:3260" in serve and "file.portal=127.0.0.1:3260," in qemu, serve + qemu
    *options, image = serve_arguments(serve)
    path = sparse(context.folder / f"iscsi-{image}", 192 << 20)
    portal = f"127.0.0.1:{free_port()}"
    with Server(context.program, *options, f"disk={path}", listen=f"iscsi:{portal}") as server:
        outcome = context.guest.boot("disk.sh", modules="ata_piix sd_mod sr_mod", disks=2,
                                     qemu=drives(qemu.replace("127.0.0.1:3260", portal)))
        assert server.stop() == 0, "the server did not end well"
    expected = identify(context.program, *options, "--format", "hdparm", path).decode()
    assert outcome.text("hdparm") == expected, f"hdparm -I says {outcome.text('hdparm')}, and spindle identify {expected}"
    assert outcome.text("size").strip() == str((192 << 20) // 512), outcome.text("size")
