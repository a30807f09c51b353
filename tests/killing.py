"""Work in a child process that is killed, and what the child told before.

No queries here: those of a test belong to its module, and children import that.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engine.store import Batch
from tests.trial import FAST

KILLED = 9  # exit code of a process that ended itself in the middle

# Children are forked from a process that has imported these modules and has no threads: 20 ms, not 300.
# It starts once for all tests of a run, so all that fork are named here.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.test_kill", "tests.test_tables_kill", "tests.test_changes_kill"])

State = TypeVar("State")


def run(target: Callable[..., None], *args: Any, after: float | None = None) -> tuple[int, list[Any]]:
    """Run `target(*args, pipe)` in a child; its exit code, and all that it told. What it raises is a failure.
    With `after`, kill it so many seconds after it first told something."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=told, args=(target, *args, theirs))
    child.start()
    theirs.close()
    try:
        if after is not None and ours.poll(60):
            child.join(after)
            child.kill()
        messages = list(received(ours))
        child.join()
        assert child.exitcode is not None
        return child.exitcode, messages
    finally:
        ours.close()
        child.close()


def told(target: Callable[..., None], *args: Any) -> None:
    """Run `target` in the child; what it raises is told, and fails the test."""
    tell: Connection = args[-1]
    try:
        target(*args)
    except BaseException:  # an interrupt too
        tell.send(("failed", traceback.format_exc()))


def received(pipe: Connection) -> Iterator[Any]:
    try:
        while True:
            message = pipe.recv()
            assert message[0] != "failed", message[1]
            yield message
    except EOFError:
        return


def possible(messages: Iterable[tuple[str, State]], before: State) -> set[State]:
    """The states that a child may have left: that of its last "end", and of each "begin" after it."""
    states = {before}
    for what, state in messages:
        states = {state} if what == "end" else states | {state}
    return states


@pytest.fixture
def directory() -> Iterator[Path]:
    """A private directory in memory, where there is such a place."""
    path = Path(tempfile.mkdtemp(prefix="engine-kill-", dir=FAST))
    yield path
    shutil.rmtree(path)


class KillingStore:
    """A store that ends the process at a numbered point: before or after a write, or at a statement in it."""

    def __init__(self, store: Any, point: int, *, statements: bool) -> None:
        self._store, self._left = store, point
        if statements:
            store.connection.set_trace_callback(lambda _: self._pass())
        self._writes = not statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batch: Batch) -> None:
        if self._writes:
            self._pass()
        self._store.write(batch)
        if self._writes:
            self._pass()

    def _pass(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(KILLED)
