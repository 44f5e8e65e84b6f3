"""One measurement: a server is started, loaded, looked at, and stopped."""
import contextlib
import errno
import json
import os
import subprocess
import tempfile
from pathlib import Path

import client
from images import NEW_FOLDER, NEW_KINDS, Image, warm
from servers import ServerFailed

IDLE_CONNECTIONS = 64
WARM_UP_SECONDS = 0.2
# A client that takes so much longer than it should has not noticed that the server is stuck.
PATIENCE_SECONDS = 60
# Of a sparse export: less than Spindle remembers to be in the page cache.
RANGE_BYTES = 64 << 20


class LoadFailed(Exception):
    """A client that was not served."""


def measure(spindle, server_class, case, folder, images, seconds):
    """What was measured; of a server that fails, why."""
    try:
        result = load_exports(server_class, case, folder, seconds) if case.export_count else \
            load(spindle, server_class, case, folder, images, seconds)
    except (ServerFailed, LoadFailed, client.ConnectionFailed, OSError) as error:
        words = " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
        result = {"failure": words if len(words) <= 300 else words[:300] + "..."}
    return {"case": case.name, "server": server_class.name, **result}


def load(spindle, server_class, case, folder, images, seconds):
    """The load is that of `spindle bench`."""
    with (tempfile.TemporaryDirectory(dir=NEW_FOLDER if case.kind in NEW_KINDS else folder, prefix="spindle-bench-") as own,
          server_class(folder, images.of(case, server_class, Path(own)), case.transport, case.cache) as server):
        idle = idle_memory(server) if case.is_memory else None
        before = server.processor_seconds()
        try:
            result = subprocess.run(
                [spindle, "bench", "--json", "--seconds", str(seconds), "--warm-up", str(WARM_UP_SECONDS),
                 *server.arguments(case), server.uri],
                capture_output=True, errors="replace", timeout=seconds + PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LoadFailed("the client has not ended") from error
        if result.returncode != 0:
            raise LoadFailed(result.stderr)
        server.wait_for_children()
        processor_seconds = server.processor_seconds() - before
        resident, peak = server.memory_kib()
    report = json.loads(result.stdout)
    total = report["total"]
    if total["requests"] == 0 and not case.is_memory:
        raise LoadFailed("no request was answered in time")
    return {
        "requestsPerSecond": total["requestsPerSecond"],
        "megabytesPerSecond": total["megabytesPerSecond"],
        "latencyMicroseconds": total["latencyMicroseconds"],
        "serverProcessorMicrosecondsPerRequest":
            round(processor_seconds * 1e6 / max(1, total["requests"] + report["warmUpRequests"]), 3),
        "clientProcessorMicrosecondsPerRequest": report["clientProcessorMicrosecondsPerRequest"],
        "residentKiB": resident,
        "peakResidentKiB": peak,
        **({} if idle is None else {"idleResidentKiB": idle}),
    }


def load_exports(server_class, case, folder, seconds):
    """Reads the same range of the first of many sparse exports again and again."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        images = [Path(name) / f"{number:04}.img" for number in range(case.export_count)]
        export_bytes = [make_sparse(image, case.export_bytes) for image in images][0]
        warm(images[0], export_bytes - RANGE_BYTES)
        with server_class(folder, Image(Path(f"dir:{name}"))) as server:
            client.read_end(server, RANGE_BYTES, WARM_UP_SECONDS)
            before = server.processor_seconds()
            count, took = client.read_end(server, RANGE_BYTES, seconds)
            processor_seconds = server.processor_seconds() - before
    return {
        "requestsPerSecond": round(count / took, 6),
        "serverProcessorMicrosecondsPerRequest": round(processor_seconds * 1e6 / count, 3),
        "exportBytes": export_bytes,
    }


def make_sparse(path, wanted_bytes):
    """A file of holes, half as large as wanted, or a quarter, where files cannot be so large."""
    with open(path, "wb") as file:
        while True:
            try:
                file.truncate(wanted_bytes)
                return wanted_bytes
            except OSError as error:
                if error.errno not in (errno.EFBIG, errno.EINVAL) or wanted_bytes <= RANGE_BYTES:
                    raise
                wanted_bytes //= 2


def idle_memory(server):
    """What the server has in memory while so many clients have opened the export and ask for nothing."""
    with contextlib.ExitStack() as clients:
        for _ in range(IDLE_CONNECTIONS):
            clients.enter_context(client.open_export(server)[0])
        return server.memory_kib()[0]
