"""Launching: commands are started and waited for by a small process of its own.

The kernel counts what a process had in memory before it became another program (`ru_maxrss` of wait4). The
driver holds a repository in memory; what starts the commands must not.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Sequence
from subprocess import PIPE, STDOUT, Popen
from tempfile import TemporaryFile
from typing import NamedTuple


class Done(NamedTuple):
    """A command that ended. Processor time and memory with all that it started and waited for."""

    status: int
    seconds: float
    processor: float
    memory: int
    output: str


class Launcher:
    """Starts commands one after the other."""

    def __init__(self) -> None:
        self._process: Popen[str] | None = None

    def run(self, command: Sequence[str], cwd: str | None = None) -> Done:
        """Run a command, by default in the project's directory, and wait for it."""
        from benchmarks.harness import ROOT, environment

        if self._process is None:
            self._process = Popen(
                [sys.executable, "-m", __name__], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT,
                env={**environment(), "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            atexit.register(self.close)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([list(command), cwd or str(ROOT)]), file=self._process.stdin, flush=True)
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def serve() -> None:
    """What the process does."""
    for line in sys.stdin:
        command, cwd = json.loads(line)
        with TemporaryFile() as output:
            began = time.perf_counter()
            process = Popen(command, stdin=PIPE, stdout=output, stderr=STDOUT, cwd=cwd)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = status  # it was waited for already
            assert process.stdin is not None
            process.stdin.close()
            output.seek(0)
            told = output.read().decode(errors="replace")
        done = Done(status, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, told)
        print(json.dumps(done), flush=True)


LAUNCHER = Launcher()

if __name__ == "__main__":
    serve()
