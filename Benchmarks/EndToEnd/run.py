#!/usr/bin/env python3
"""Loads Spindle and the peers that are installed with the same requests, and compares them.

Writes results.json, results.md and results.svg. Servers take turns within a round, so that what else the machine does
meets all of them; figures are medians of the rounds, ratios are medians of the ratios within a round.
"""
import argparse
import fnmatch
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import chart  # noqa: E402
import report  # noqa: E402
from cases import CASES  # noqa: E402
from images import IMAGE_BYTES, Images  # noqa: E402
from measure import measure  # noqa: E402
from servers import SERVERS, Spindle, first_line  # noqa: E402

HERE = Path(__file__).resolve().parent
# What a measurement takes beside its time: start, warm-up, end.
OVERHEAD_SECONDS = 0.5
# What one takes that asks for 2 GiB at once.
MEMORY_SECONDS = 10
# A slice that could not begin is tried again (for a --wrapper that waits for a quiet machine).
TRY_AGAIN = 99


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spindle", default=str(HERE.parent.parent / ".build/release/spindle"), help="the program")
    parser.add_argument("--results", default=str(HERE.parent.parent / ".build-bench"),
                        help="the folder for what is written")
    parser.add_argument("--only", default="*", help="cases, by comma-separated patterns: 'read-*,tls-*'")
    parser.add_argument("--servers", default="*", help="servers, likewise")
    parser.add_argument("--seconds", type=float, default=1.0, help="for a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"),
                        help="fewer cases, shorter measurements; also with QUICK=1")
    parser.add_argument("--wrapper", help="a command before each slice of the run, which may wait for a quiet machine")
    parser.add_argument("--slice-seconds", type=float, default=60, help="how long a slice may take")
    parser.add_argument("--slice", nargs=2, metavar=("CASES", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = min(options.seconds, 0.5), min(options.rounds, 2)
    return options


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns.split(","))


def run_cases(cases, options):
    """All rounds of some cases."""
    servers = [server for server in SERVERS if server.is_installed() and matches(server.name, options.servers)]
    if not servers:
        sys.exit("none of these servers is installed")
    measurements = []
    # Not in /tmp, which is often a tmpfs: that knows no O_DIRECT on many kernels.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spindle-bench-") as name:
        folder = Path(name)
        images = Images(folder)
        subprocess.run([options.spindle, "tls-keys", "--psk", folder / "keys"], check=True, stdout=subprocess.DEVNULL)
        for number in range(1, options.rounds + 1):
            for place, case in enumerate(cases):
                # Not always the same one first, behind what the case before has written.
                first = (number + place) % len(servers)
                for server in servers[first:] + servers[:first]:
                    if not server.can(case) or (case.is_memory and number > 1):
                        continue
                    result = measure(options.spindle, server, case, folder, images, options.seconds)
                    measurements.append({"round": number, **result})
                    outcome = result.get("failure") or f"{result['requestsPerSecond']:.0f} requests/s"
                    print(f"round {number}, {case.name}, {server.name}: {outcome}", file=sys.stderr)
    return measurements


def slices(cases, options):
    """Runs of cases that take no longer than a slice may."""
    current, seconds = [], 0.0
    for case in cases:
        count = sum(1 for server in SERVERS if server.is_installed() and server.can(case))
        once = options.seconds + OVERHEAD_SECONDS
        cost = count * (once + MEMORY_SECONDS if case.is_memory else once * options.rounds)
        if current and seconds + cost > options.slice_seconds:
            yield current
            current, seconds = [], 0.0
        current.append(case)
        seconds += cost
    if current:
        yield current


def run_wrapped(cases, options):
    measurements = []
    for part in slices(cases, options):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = shlex.split(options.wrapper) + [
                sys.executable, __file__, "--spindle", options.spindle, "--servers", options.servers,
                "--seconds", str(options.seconds), "--rounds", str(options.rounds),
                "--slice", ",".join(case.name for case in part), file.name]
            while (status := subprocess.run(command).returncode) == TRY_AGAIN:
                pass
            if status != 0:
                sys.exit(status)
            measurements += json.loads(Path(file.name).read_text())
    return measurements


def machine():
    """What the figures depend on. No names of hosts or folders."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")),
                 "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1])
    system = next((line.partition("=")[2].strip('"') for line in Path("/etc/os-release").read_text().splitlines()
                   if line.startswith("PRETTY_NAME=")), "Linux")
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "isVirtual": "hypervisor" in cpu,
        "memoryGiB": round(memory / (1 << 20), 1),
        "system": system,
        "kernel": platform.release(),
        "fileSystem": first_line(["findmnt", "-n", "-o", "FSTYPE", "-T", "/var/tmp"]),
    }


def commit():
    try:
        return first_line(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"])
    except OSError:
        return "unknown"


def main():
    # Servers are ended and images removed then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = arguments()
    Spindle.program = options.spindle  # SpindleNBD's, too
    if options.slice:
        cases = [case for case in CASES if case.name in options.slice[0].split(",")]
        Path(options.slice[1]).write_text(json.dumps(run_cases(cases, options)))
        return
    cases = [case for case in CASES if matches(case.name, options.only) and (case.quick or not options.quick)]
    measurements = run_wrapped(cases, options) if options.wrapper else run_cases(cases, options)
    document = {
        "machine": machine(),
        "conditions": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit(),
            "imageBytes": IMAGE_BYTES,
            "secondsPerMeasurement": options.seconds,
            "rounds": options.rounds,
            "client": "spindle bench, on the same machine",
        },
        "servers": {server.name: server.version() for server in SERVERS
                    if any(entry["server"] == server.name for entry in measurements)},
        "cases": {case.name: {"title": case.title, "arguments": " ".join(case.arguments), "transport": case.transport,
                              "cache": case.cache, "exportCount": case.export_count} for case in cases},
        "measurements": measurements,
    }
    results = Path(options.results)
    results.mkdir(parents=True, exist_ok=True)
    (results / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (results / "results.md").write_text(report.markdown(document))
    (results / "results.svg").write_text(chart.svg(document))
    print((results / "results.md").read_text())
    if any("failure" in entry for entry in measurements if entry["server"] == "spindle"):
        sys.exit("Spindle has failed, see above.")


main()
