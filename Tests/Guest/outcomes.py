"""Tests that passed and tests that failed."""

import time
import traceback


class Outcomes:
    """Counts tests, and says of each at once how it went."""

    def __init__(self, filters):
        self._filters = filters
        self.passed = 0
        self.failed = []

    def wanted(self, name) -> bool:
        """Whether the command line asks for a test: by a part of its name, or for all."""
        return not self._filters or any(part in name for part in self._filters)

    def run(self, name, test, *arguments, **options):
        """Runs a test: one that raises has failed."""
        if not self.wanted(name):
            return
        started = time.monotonic()
        try:
            test(*arguments, **options)
        except Exception as error:
            known = isinstance(error, (AssertionError, RuntimeError))
            self.record(name, str(error) if known else traceback.format_exc(), time.monotonic() - started)
        else:
            self.record(name, None, time.monotonic() - started)

    def record(self, name, failure, seconds=None):
        """Notes how a test went: `failure` is None if it passed."""
        time_taken = f" ({seconds:.1f} s)" if seconds is not None else ""
        if failure is None:
            self.passed += 1
            print(f"passed  {name}{time_taken}", flush=True)
        else:
            self.failed.append(name)
            print(f"FAILED  {name}{time_taken}\n{indented(failure)}", flush=True)

    def summary(self) -> str:
        """The closing line."""
        return f"{self.passed} passed, {len(self.failed)} failed"


def indented(text) -> str:
    return "\n".join("        " + line for line in str(text).splitlines())
