"""Peer: what the driver knows of one of them, and one build as it was measured.

Invariants
    P1  A build is a process of its own, from its start to its end; what it started ends with it. Daemons are
        the exception, and say so (`resident`).
    P2  A peer reads the repository, and writes below its state alone.

Imports here are few: scripts of peers load this module too.
"""

from __future__ import annotations

import json
import sys
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
    from benchmarks.peers.launching import LAUNCHER

    done = LAUNCHER.run(command, cwd)
    if done.status:
        raise RuntimeError(f"{' '.join(command)}: status {done.status}\n{done.output}")
    answer = Index(*json.loads(done.output.splitlines()[-1])) if answers else None
    return Run(done.seconds, done.processor, done.memory, answer)
