"""Every command line of the documents for users, run as it is printed, in a machine's name spaces of its own: its network, its
/run and /tmp.

A section's commands are run here, or ELSEWHERE names the test that runs them.
"""

import os
import pathlib
import re
import subprocess

# The documents for users, in their order.
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("drive", "drive-state", "reference", "configuration", "images", "tls", "iscsi",
                                                       "one-command", "limits", "operations", "bench", "protocol", "security",
                                                       "faults"))]
# Sections whose commands other tests run.
ELSEWHERE = {
    "Install": "make fresh-test",
    "Quick start": "make fresh-test",
    "As a service": "make fresh-test; units: in the guest",
    "Mount it on Linux": "readme_tests.py",
    "Growing a drive": "nbd_tests.py",
    "Initiators": "iscsi_tests.py",
}
# What is not run as printed, and why.
LEFT_OUT = {
    "qemu-system-x86_64": "readme_tests.py and drive_tests.py boot guests with these options",
}

PRELUDE = r"""
set -u
ip link set lo up
mount -t tmpfs tmpfs /run && mkdir /run/programs && cp "$PROGRAM" /run/programs/spindle
mount -t tmpfs -o mode=1777 tmpfs /tmp
export HOME=/tmp/home PATH=/run/programs:/usr/sbin:/usr/bin:/sbin:/bin USER=root
mkdir "$HOME"
unset TMPDIR
sudo() { "$@"; }
export -f sudo
# Each document begins in a folder of its own, with images. A reader of README has none yet: it makes its first one.
page() {
    stop
    mkdir -p "/tmp/pages/$1" && cd "/tmp/pages/$1" && truncate -s 64M disk.img backup.img other.img
    [ "$1" = README.md ] || truncate -s 3G drive.img
}
server=
stop() {
    [ -z "$server" ] || { kill -TERM "$server" && wait "$server" || echo "FAILED the server ended with $?"; }
    server=
}
serve() {
    stop
    # What an earlier server said is not this one's.
    : > said
    bash -c "exec $1" > said 2>&1 &
    server=$!
    for try in $(seq 600); do
        grep -q "^serving " said && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    echo "FAILED $1: $(cat said)"; server=
}
run() {
    echo "RUN $1"
    bash -c "$1" < /dev/null > said-by 2>&1
    status=$?
    [ $status = 0 ] || { echo "FAILED $1: status $status"; cat said-by; }
    sed 's/^/OUT /' said-by
}
"""


def run(context):
    context.outcomes.run("documents: every command line is run as printed", commands, context)
    context.outcomes.run("documents: the packages of the programs that they run are named", packages, context)
    context.outcomes.run("documents: the least Swift is that of Package.swift", versions, context)


def sections(text):
    """Of each section the blocks of code: (language, text)."""
    found, name = {}, "beginning"
    for part in re.split(r"^(#{2,3} .*)$", text, flags=re.MULTILINE):
        if re.fullmatch("#{2,3} .*", part):
            name = part.lstrip("# ").strip()
        else:
            found.setdefault(name, []).extend(re.findall(r"^```(\w*)\n(.*?)^```", part, re.MULTILINE | re.DOTALL))
    return found


def lines_of(language, text):
    """The command lines of a block, each with what is printed below it."""
    text = text.replace("\\\n", " ")
    if language == "sh":
        return [(line, "") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if language == "console":
        return [tuple(part.split("\n", 1)) if "\n" in part else (part, "")
                for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return []


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def script_of(name, blocks):
    script, expected = [], []
    for language, text in blocks:
        if language == "toml":
            target = "spindle.toml" if "[[export]]" in text else "other.toml"
            script.append(f"cat > {target} <<'END'\n{text}END")
        for command, printed in lines_of(language, text):
            if command.split()[0] in LEFT_OUT:
                continue
            is_server = command.startswith("spindle serve ") and "--run" not in command and "stdin" not in command
            if is_server and "--control" not in command and "--config" not in command and "--tls" not in command \
                    and "unix:" not in command and "iscsi:" not in command:
                raise AssertionError(f"'{command}' of '{name}' is of no known kind")
            script.append(f"{'serve' if is_server else 'run'} {quoted(command)}")
            if printed.strip() and "identify" in command:
                expected.append((command, printed))
    return script, expected


def commands(context):
    all_of_them, expected, known = [], [], set()
    for page in PAGES:
        all_of_them.append(f"page {page}")
        for name, blocks in sections((context.project / page).read_text()).items():
            known.add(name)
            if name in ELSEWHERE:
                continue
            script, printed = script_of(name, blocks)
            # `spindle bench` loads what somebody serves.
            if any("bench" in line for line in script):
                script.insert(0, "serve 'spindle serve --control unix:/tmp/c null:1G'")
            all_of_them += [f"echo 'SECTION {page}: {name}'", *script, "stop"]
            expected += printed
    assert ELSEWHERE.keys() <= known, f"no document has the sections {ELSEWHERE.keys() - known}"
    assert sum(line.startswith(("run ", "serve ")) for line in all_of_them) > 40, all_of_them
    script = context.folder / "commands.sh"
    script.write_text(PRELUDE + "\n".join(all_of_them) + "\n")
    spaces = ["unshare", "--net", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    done = subprocess.run([*spaces, "bash", script], env={**os.environ, "PROGRAM": str(context.program)}, capture_output=True,
                          errors="replace", timeout=300)
    said = done.stdout + done.stderr
    assert "FAILED" not in said and done.returncode == 0, said
    for command, printed in expected:
        after = said.split(f"RUN {command}\n", 1)
        assert len(after) == 2, f"'{command}' was not run:\n{said}"
        out = [line[4:].rstrip() for line in re.split(r"^(?!OUT )", after[1], flags=re.MULTILINE)[0].splitlines()]
        wanted = [line.rstrip() for line in printed.strip("\n").splitlines()]
        if wanted[-1] == "...":
            wanted, out = wanted[:-1], out[:len(wanted) - 1]
        assert out == wanted, f"'{command}' printed {out}, and the documents have {wanted}"


def programs(page):
    """The programs that a page's commands run."""
    for blocks in sections(page).values():
        for language, text in blocks:
            for command, _ in lines_of(language, text):
                for part in re.split("[|;&]+", re.sub(r"\s#.*", "", command)):
                    yield re.match(r"\s*(?:\w+=\S+ )*(?:sudo (?:-u \S+ )?)?(\S*)", part)[1]


def packages(context):
    """Nobody guesses where a program comes from: README or the page names its package, unless every Debian has it."""
    readme = (context.project / "README.md").read_text()
    missing, known = [], set()
    for page in PAGES:
        text = (context.project / page).read_text()
        prose = re.sub("^```.*?^```", "", readme + text, flags=re.MULTILINE | re.DOTALL)
        for program in sorted(set(programs(text)) - {"", "spindle"}):
            found = subprocess.run(["dpkg", "-S", f"*bin/{program}"], capture_output=True, errors="replace").stdout
            package = found.split(":")[0]
            assert package, f"'{program}' of {page} is in no installed package"
            known.add(package)
            priority = subprocess.run(["dpkg-query", "-W", "-f", "${Priority}", package], capture_output=True, errors="replace").stdout
            if priority not in ("required", "important") and not re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", prose):
                missing.append(f"{page}: {program} of {package}")
    assert {"libnbd-bin", "nbd-client", "qemu-system-x86"} <= known, known
    assert not missing, missing


def links(document, text):
    """The files that a document links to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            yield (document.parent / target.split("#")[0]).resolve()


def broken_links(folder):
    return [f"{document}: {target}" for document in pathlib.Path(folder).rglob("*.md")
            for target in links(document, document.read_text()) if not target.exists()]


def versions(context):
    tools = {re.search(r"swift-tools-version: ([\d.]+)", path.read_text())[1]
             for path in [context.project / "Package.swift", *context.project.glob("*/Package.swift")]}
    assert len(tools) == 1, f"the least Swift is {tools}"
    least = tools.pop()
    for file in ("README.md", "Makefile"):
        said = set(re.findall(r"Swift (\d+\.\d+) toolchain", (context.project / file).read_text()))
        assert said == {least}, f"{file} asks for Swift {said}, Package.swift for {least}"
