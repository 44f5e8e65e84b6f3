"""vsock sockets on a kernel that can connect to itself by them (vsock_loopback), which is where the server runs, too."""

from guest import program


def run(context):
    context.outcomes.run("vsock: libnbd copies an image there and back", copies, context)


def copies(context):
    files = program(context.program, "/usr/bin/spindle") | program("/usr/bin/nbdinfo") | program("/usr/bin/nbdcopy")
    outcome = context.guest.boot("vsock.sh", modules="vsock_loopback", memory=1024, files=files)
    assert "serving 'image' at nbd+vsock://2:10810/image: " in outcome.text("announcement"), outcome.output
    assert outcome.text("size") == "8388608\n", outcome.output
    assert "another program listens there already" in outcome.text("second"), outcome.output
