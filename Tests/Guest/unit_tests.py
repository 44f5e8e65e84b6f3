"""The units of contrib/systemd: as systemd reads them, and in a guest whose first process is systemd."""

import os
import re
import shutil
import subprocess

# The most that `systemd-analyze security` may hold against the service, of 100.
EXPOSURE = 20
UNITS = ["spindle.socket", "spindle@default.service", "nbd@nbd0.service"]


def run(context):
    context.outcomes.run("units: systemd-analyze verify finds nothing", verify, context)
    context.outcomes.run("units: systemd-analyze security is content", security, context)


def installed(context):
    """A folder with the units, where the program is the one under test."""
    folder = context.folder / "units"
    if not folder.exists():
        shutil.copytree(context.project / "contrib/systemd", folder)
        service = folder / "spindle@.service"
        service.write_text(service.read_text().replace("/usr/bin/spindle", str(context.program)))
    return folder


def verify(context):
    # The empty name at the end of the path stands for the folders where systemd looks otherwise: nbd@.service is there.
    path = f"{installed(context)}:"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *UNITS], timeout=60,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": path}, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0 and not done.stderr, done.stderr


def security(context):
    folder = context.folder / "security"
    folder.mkdir()
    shutil.copy(installed(context) / "spindle@.service", folder / "spindle@default.service")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager",
                           folder / "spindle@default.service"], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Overall exposure level .*: \d", done.stdout), done.stdout
