"""Runs a command, reaper.py COMMAND..., and is the parent of whatever its processes leave behind.

libvirt kills the QEMU that it has asked for its abilities, and waits until that is gone. QEMU has gone into the background,
so it is a child of the machine's first process by then; in a container that one often waits for nobody, and libvirt for 40
seconds for each QEMU. (prctl(2), PR_SET_CHILD_SUBREAPER)
"""

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def main():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    command = subprocess.Popen(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(command.pid, number))
    while True:
        child, status = os.wait()
        if child == command.pid:
            sys.exit(os.waitstatus_to_exitcode(status) & 255)


main()
