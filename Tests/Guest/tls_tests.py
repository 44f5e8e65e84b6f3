"""TLS by the kernel (CONFIG_TLS), which Debian's has: the server itself runs in the guest."""

import re

from guest import program

# The kernel's own TLS, and what it encrypts with; on a machine these come by themselves.
MODULES = "tls gcm ghash-generic ctr chacha20poly1305 chacha_generic poly1305_generic"
KEY = "alice:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


def run(context):
    context.outcomes.run("tls: the kernel encrypts what the server sends", kernel_encrypts, context)


def kernel_encrypts(context):
    """Each copy has at least one connection; every one of them counts in the kernel's statistics."""
    files = program(context.program, "usr/bin/spindle") | program("/usr/bin/nbdcopy", "usr/bin/nbdcopy")
    outcome = context.guest.boot("kernel-tls.sh", modules=MODULES, memory=1024, files=files, variables={"keys": KEY})
    sessions = dict(re.findall(r"(\S+): (\d+) sessions", outcome.text("sessions")))
    assert len(sessions) == 4 and all(int(count) > 0 for count in sessions.values()), sessions
