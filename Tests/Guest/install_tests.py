"""What `make install` and `make deb` put on a machine: all of it starts, is found, and goes again."""

import os
import pathlib
import re
import subprocess

from command_tests import broken_links

# The program was 62 MB once, for an import of Foundation; the limit is what a router has room for.
MOST_BYTES = 20 << 20


def run(context):
    context.outcomes.run("install: the program is small, units start it, links hold, and nothing is left", install, context)
    context.outcomes.run("install: what somebody has changed in /etc stays", changed, context)


def call(context, script, *arguments):
    done = subprocess.run([context.project / "Scripts" / script, *map(str, arguments)], cwd=context.project,
                          capture_output=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(root):
    return {str(path.relative_to(root)) for path in pathlib.Path(root).rglob("*") if path.is_file()}


def install(context):
    root = context.folder / "installed"
    prefix = "/opt/some where/spindle"
    call(context, "install", root, prefix)
    below = root / prefix[1:]
    program = below / "bin/spindle"
    assert program.stat().st_size <= MOST_BYTES, f"{program.stat().st_size} bytes, more than {MOST_BYTES}"
    version = subprocess.run([program, "--version"], capture_output=True, errors="replace", check=True).stdout
    assert re.match(r"\d+\.\d+\.\d+\n", version), version
    unit = (below / "lib/systemd/system/spindle@.service").read_text()
    assert f'ExecStart="{prefix}/bin/spindle" serve' in unit and "/usr/bin/spindle" not in unit, unit
    assert "file:///opt/some%%20where/spindle/share/doc/spindle/README.md" in unit, unit
    broken = broken_links(below / "share/doc/spindle")
    assert not broken, broken
    wanted = {"share/man/man1/spindle.1", "share/man/man5/spindle.toml.5", "share/bash-completion/completions/spindle",
              "share/zsh/site-functions/_spindle", "share/fish/vendor_completions.d/spindle.fish",
              "lib/systemd/system/spindle.socket", "lib/sysusers.d/spindle.conf"}
    assert wanted <= files(below), wanted - files(below)
    configuration = root / "etc/spindle/spindle.toml"
    text = configuration.read_text()
    assert "/var/lib/spindle" in text
    # What it serves is there once the unit has made it.
    folder = context.folder / "drives"
    folder.mkdir()
    (folder / "disk.img").write_bytes(bytes(4096))
    configuration.write_text(text.replace("/var/lib/spindle", str(folder)))
    checked = subprocess.run([program, "check", configuration], capture_output=True, errors="replace")
    assert checked.returncode == 0 and "disk.img" in checked.stdout, checked.stdout + checked.stderr
    configuration.write_text(text)
    call(context, "uninstall", root, prefix)
    assert not files(root), files(root)
    assert not (root / "etc/spindle").exists() and not (below / "share/doc/spindle").exists()


def changed(context):
    root = context.folder / "changed"
    call(context, "install", root, "/usr/local")
    own = root / "etc/spindle/default.env"
    own.write_text("SPINDLE_ARGUMENTS=null:1M\n")
    said = call(context, "install", root, "/usr/local")
    assert "default.env is there and stays as it is" in said, said
    assert own.read_text() == "SPINDLE_ARGUMENTS=null:1M\n"
    said = call(context, "uninstall", root, "/usr/local")
    assert "default.env was changed and stays" in said and files(root) == {"etc/spindle/default.env"}, (said, files(root))
    # Nothing else is touched where nothing was installed.
    done = subprocess.run([context.project / "Scripts/uninstall", root, "/usr"], capture_output=True, errors="replace",
                          env=dict(os.environ))
    assert done.returncode == 1 and "nothing was installed" in done.stderr, done.stderr
