"""Peer: what the driver knows of one of them, and one build as it was measured.

Invariants
    P1  A build is a process of its own, from its start to its end; what it started ends with it. Daemons are
        the exception, and say so (`resident`).
    P2  A peer reads the repository, and writes below its state alone.

Imports here are few: scripts of peers load this module too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.peers.job import Index


class Run(NamedTuple):
    """One build. Times in seconds, memory in bytes; processor time and memory with all that it started.

    `answer` is None for a reference that does another job.
    """

    seconds: float
    processor: float
    memory: int
    answer: Index | None


class Peer(Protocol):
    """Something that can do the job. Directories are given as absolute paths."""

    @property
    def name(self) -> str: ...

    @property
    def most_files(self) -> int:
        """Larger repositories take it longer than anybody waits."""
        ...

    def lacking(self) -> str:
        """Why it cannot run here; "" where it can."""
        ...

    def prepare(self, root: str, state: str) -> None:
        """Once, before anything is measured."""
        ...

    def build(self, root: str, state: str) -> Run:
        """Bring everything up to date, in a new process."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


class Script:
    """A peer whose build is a Python module of this package: it gets root and state, and tells the answer."""

    def __init__(self, name: str, module: str, *more: str, needs: str = "", most_files: int = 10**6) -> None:
        self.name = name
        self.module = module
        self.more = more
        self.needs = needs  # a module that has to be installed
        self.most_files = most_files

    def lacking(self) -> str:
        from importlib.util import find_spec

        missing = self.needs and find_spec(self.needs) is None
        return f"{self.needs} is not installed" if missing else ""

    def prepare(self, root: str, state: str) -> None:
        """Nothing."""

    def build(self, root: str, state: str) -> Run:
        return timed([sys.executable, "-m", self.module, root, state, *self.more])

    def close(self) -> None:
        """Nothing runs."""


def tell(index: Index) -> None:
    """The last line that a script prints."""
    print(json.dumps(index))


def timed(command: Sequence[str], *, answers: bool = True, cwd: str | None = None) -> Run:
    """Run a command; by default in the project's directory. Its last line is its answer."""
    from subprocess import Popen
    from tempfile import TemporaryFile

    from benchmarks.harness import ROOT, environment

    with TemporaryFile() as output:
        began = time.perf_counter()
        process = Popen(
            command, stdout=output, cwd=cwd or ROOT, env={**environment(), "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = status  # it is waited for already
        output.seek(0)
        told = output.read().decode(errors="replace")
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}\n{told}")
    answer = Index(*json.loads(told.splitlines()[-1])) if answers else None
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, answer)
