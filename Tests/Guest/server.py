"""`spindle serve` and `spindle identify`, as the tests run them."""

import json
import pathlib
import select
import signal
import socket
import subprocess
import time


class Server:
    """A server that runs: leaving the `with` statement ends it."""

    def __init__(self, program, *arguments, listen=None, limit=30):
        """Starts the server and waits until it says that it serves.

        listen  where; by default a TCP port of the loopback that is free, in `port`
        """
        self.port = None
        if listen is None:
            self.port = free_port()
            listen = f"tcp:127.0.0.1:{self.port}"
        self._command = [program, "serve", "--listen", listen, *arguments]
        self._limit = limit
        self.start()

    def start(self):
        """Starts the server, for the first time or again."""
        self._process = subprocess.Popen(list(map(str, self._command)), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = b""
        deadline = time.monotonic() + self._limit
        while b"serving '" not in said:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            more = self._process.stdout.read1() if ready else b""
            if not more:
                self.kill()
                raise AssertionError(f"{self._command} does not serve: {said.decode(errors='replace')}")
            said += more

    def kill(self):
        """Ends the server as a crash would."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self) -> int:
        """Ends the server as a service manager would; returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(self._limit)
        finally:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def sparse(path: pathlib.Path, size: int, start: bytes = b"") -> pathlib.Path:
    """A file with holes."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def identify(program, *arguments) -> bytes:
    """A report on a drive."""
    return subprocess.run([program, "identify", *map(str, arguments)], check=True, stdout=subprocess.PIPE,
                          timeout=30).stdout


def identify_words(program, *arguments) -> list[int]:
    """The 256 words of a drive's IDENTIFY DEVICE data."""
    return json.loads(identify(program, "--format", "json", *arguments))["identify"]
