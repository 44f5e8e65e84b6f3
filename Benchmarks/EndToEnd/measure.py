"""One measurement: a server is started, loaded by `spindle bench`, looked at, and stopped."""
import json
import subprocess
import time

IDLE_CONNECTIONS = 64


def measure(spindle, server_class, case, folder, image, seconds):
    # The page cache may have lost what nobody has read for a while.
    if case.cache == "writeback":
        warm(image)
    with server_class(folder, image, case.transport, case.cache) as server:
        idle = idle_memory(server) if case.name == "memory" else None
        before = server.processor_seconds()
        result = subprocess.run(
            [spindle, "bench", "--json", "--seconds", str(seconds), "--warm-up", "0.2", *case.arguments, server.uri],
            capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{case.name} on {server.name}: {result.stderr}")
        # A process that nbd-server has for a client ends a moment after the client.
        time.sleep(0.05)
        processor_seconds = server.processor_seconds() - before
        resident, peak = server.memory_kib()
    report = json.loads(result.stdout)
    requests = report["total"]["requests"] + report["warmUpRequests"]
    return {
        "case": case.name,
        "server": server_class.name,
        "requestsPerSecond": report["total"]["requestsPerSecond"],
        "megabytesPerSecond": report["total"]["megabytesPerSecond"],
        "latencyMicroseconds": report["total"]["latencyMicroseconds"],
        "errors": report["total"]["errors"],
        "serverProcessorMicrosecondsPerRequest": round(processor_seconds * 1e6 / max(1, requests), 3),
        "clientProcessorMicrosecondsPerRequest": report["clientProcessorMicrosecondsPerRequest"],
        "residentKiB": resident,
        "peakResidentKiB": peak,
        **({} if idle is None else {"idleResidentKiB": idle}),
    }


def warm(image):
    with open(image, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def idle_memory(server):
    """What the server has in memory while so many clients have opened the export and ask for nothing."""
    clients = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            client = server.connect()
            clients.append(client)
            receive(client, 18)
            name = server.export().encode()
            # NBD_FLAG_C_FIXED_NEWSTYLE and NO_ZEROES, then NBD_OPT_EXPORT_NAME.
            client.sendall((3).to_bytes(4, "big") + b"IHAVEOPT" + (1).to_bytes(4, "big") + len(name).to_bytes(4, "big") + name)
            receive(client, 10)
        return server.memory_kib()[0]
    finally:
        for client in clients:
            client.close()


def receive(client, count):
    client.settimeout(10)
    while count > 0:
        count -= len(client.recv(count))
