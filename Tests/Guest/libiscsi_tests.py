"""libiscsi's own test program (on this host) against every emulation of a disk: all of its tests in one run, then suite by
suite in an order by chance. What it leaves out is in docs/iscsi.md.

Tests/InteropTests/LibiscsiTests.swift has the plain disk, and asks each disk itself whether it has what is left out.
"""

import concurrent.futures
import random
import re
import subprocess

from iscsi_tests import Target
from server import sparse

TOOL = ["iscsi-test-cu", "--dataloss", "--allow-sanitize", "-t"]
SIZE = 256 << 20
LARGE = "ide-hd,physical_block_size=4096"
# Name, image, device, controller. Without the name of a file the image is in memory.
DISKS = [("memory", None, "ide-hd", "piix3-ide"), ("file", "file.img", "ide-hd", "piix3-ide"),
         ("overlay", "base.img", "ide-hd", "piix3-ide"),
         ("hd", None, "spindle-hd", "ich9-ahci"), ("ssd", None, "spindle-ssd", "ich9-ahci"),
         ("ahci", None, "ide-hd", "ich9-ahci"), ("large", None, LARGE, "piix3-ide"),
         ("large-ahci-file", "large.img", LARGE, "ich9-ahci")]


def run(context):
    context.outcomes.run("libiscsi: all of its tests, behind every emulation, in any order", emulations, context)


def emulations(context):
    seed = random.randrange(2**31)
    tables = []
    for name, file, device, controller in DISKS:
        image = sparse(context.folder / f"libiscsi-{file}", SIZE) if file else f"memory:{SIZE}"
        if name == "overlay":
            image = f"overlay:{image}"
        tables.append(f'[[export]]\nname = "{name}"\nimage = "{image}"\ndevice = "{device}"\ncontroller = "{controller}"\n')
    settings = context.folder / "libiscsi.toml"
    settings.write_text("".join(tables))
    suites = tests_of_the_tool(dots=1)
    assert len(suites) == 51, suites
    with Target(context, "--config", settings) as server:
        # The tool sleeps most of the time.
        with concurrent.futures.ThreadPoolExecutor(len(DISKS)) as pool:
            found = [pool.submit(all_orders, context, server, name, device, random.Random(f"{seed} {name}"), suites)
                     for name, _, device, _ in DISKS]
            mistakes = [mistake for future in found for mistake in future.result()]
        assert server.stop() == 0, "the server did not end well"
    assert not mistakes, f"seed {seed}:\n" + "\n".join(mistakes)


def all_orders(context, server, name, device, generator, suites):
    """What was not as documented with one disk."""
    url = f"iscsi://127.0.0.1:{server.iscsi}/iqn.2026-11.org.spindle:{name}/0"
    left_out, wrong = documented(context, device)
    mistakes = []
    outcome = outcomes([*TOOL, "ALL", url, url])
    if len(outcome) != 230:
        mistakes.append(f"{name}: {len(outcome)} tests")
    again = {}
    for suite in generator.sample(suites, len(suites)):
        two_paths = "Multipath" in suite
        if two_paths:
            # MultipathIO.CompareAndWrite of 1.19 expects zeroes in block 256, and does not write them.
            subprocess.run(["qemu-io", "-f", "raw", "-c", "write -z 128k 512", url], check=True, stdout=subprocess.DEVNULL)
        # On one path the tool leaves tests of two paths out.
        again |= outcomes([*TOOL, suite, url, *([url] if two_paths else [])])
    for what, found in (("in one run", outcome), ("suite by suite", again)):
        failed = {test for test, said in found.items() if said.startswith("FAILED")}
        skipped = {test for test, said in found.items() if said == "skipped"}
        if found.keys() != outcome.keys():
            mistakes.append(f"{name}, {what}: only {len(found)} tests")
        if failed != wrong:
            mistakes.append(f"{name}, {what}: failed: " + ", ".join(f"{test} {found[test]}" for test in sorted(failed)))
        if skipped != left_out:
            mistakes.append(f"{name}, {what}: left out otherwise than documented: {sorted(skipped ^ left_out)}")
    return mistakes


def outcomes(command):
    """Of each test: passed, skipped, or FAILED and why."""
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", timeout=600).stdout
    found, suite = {}, ""
    for part in re.split(r"^(?=Suite: |  Test: |Run Summary)", said, flags=re.MULTILINE):
        if part.startswith("Suite: "):
            suite = part.split()[1]
        elif part.startswith("  Test: "):
            failure = re.search(r"^    \d+\. (.*)", part, re.MULTILINE)
            found[f"{suite}.{part.split()[1]}"] = \
                f"FAILED {failure[1]}" if failure else "skipped" if "[SKIPPED]" in part else "passed"
    return found


def tests_of_the_tool(dots):
    """The suites (1) or the tests (2) of the family ALL, without its name."""
    names = subprocess.run(["iscsi-test-cu", "--list"], stdout=subprocess.PIPE, errors="replace", timeout=60).stdout.split()
    return [name if dots == 1 else name.removeprefix("ALL.") for name in names
            if name.startswith("ALL.") and name.count(".") == dots]


def documented(context, device):
    """The tests that are left out with a disk, and those that are wrong about it, in docs/iscsi.md."""
    page = (context.project / "docs/iscsi.md").read_text()
    is_large = device in (LARGE, "spindle-ssd")
    rows = [row.split("|")[1:3] for row in page[page.index("| Left out "):].split("\n\n")[0].splitlines()[2:]]
    every = tests_of_the_tool(dots=2)
    names = [name for names, why in rows if not (is_large and "physical blocks" in why) for name in re.findall("`([^`]+)`", names)]
    if device == "spindle-hd":
        names += re.findall("`([^`]+)`", page[page.index("has no TRIM either"):].split("\n\n")[0])
    left_out = {test for name in names for test in every if test == name or test.startswith(name + ".")}
    wrong = {"GetLBAStatus.UnmapSingle"} if is_large else set()
    return left_out, wrong | {"WriteSame10.UnmapUntilEnd"} if device == "spindle-ssd" else wrong
