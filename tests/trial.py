"""Trial: an engine that is opened, killed and opened again by steps of plain JSON, and what it ran."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import asdict, define, frozen

import engine.mark
import engine.persist
from engine import Engine, Event, View, What
from engine.core import Core
from engine.key import Key

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)
STORE_CHECKS = 4  # the store is checked after each so many steps


@frozen
class Opening:
    """How an engine is opened."""

    stored: bool = False
    strict: bool = False
    workers: int = 1
    tiny: bool = False  # limits so small that every probe path is taken
    history: int = 0  # earlier memos of a key
    max_memory: int | None = None  # bytes of values


@define
class Held:
    """A snapshot that is held over edits, and what the inputs were when it was taken."""

    view: View
    stack: ExitStack
    inputs: dict[Any, tuple[Any, ...]]


@contextmanager
def small_limits() -> Iterator[None]:
    """Limits so small that worlds of a dozen keys take every path of marking, probing and committing."""
    with (
        mock.patch.multiple(engine.mark, BUDGET=2, HANDFUL=4, CLIMB=3, DESCENT=6),
        mock.patch.object(engine.persist, "CHUNK_NODES", 3),
    ):
        yield


class Trial(ABC):
    """Apply steps with `apply`; a failure carries the timeline that led to it.

    `ran` and `probed` hold what ran and what was probed, as nodes of the model (`node_of`).
    """

    def __init__(self, opening: Opening, program: Any, node_of: Callable[[Key[Any]], Any]) -> None:
        self.opening, self.node_of = opening, node_of
        self.start = {"settings": asdict(opening), "program": json.loads(json.dumps(program))}
        self.timeline: list[list[Any]] = []
        self.ran: list[Any] = []
        self.probed: list[Any] = []
        self.held: list[Held] = []
        self.cleanup = ExitStack()
        if opening.tiny:
            self.cleanup.enter_context(small_limits())
        self._watch_probes()
        self.directory = self._fresh_directory() if opening.stored else None
        self.open()

    def close(self) -> None:
        with self.cleanup:
            self.release()
            self.engine.close()

    def apply(self, step: Sequence[Any]) -> None:
        """Do one step and check everything that can be checked."""
        plain: list[Any] = json.loads(json.dumps(step))
        self.timeline.append(plain)
        self.ran.clear()
        try:
            self.take(plain)
            self.engine.check_invariants()
            if self.engine.store is not None and len(self.timeline) % STORE_CHECKS == 0:
                self.engine.store.check_invariants()
        except BaseException as failure:
            failure.add_note(self.story())
            raise

    @abstractmethod
    def take(self, step: list[Any]) -> None:
        """Do one step."""

    def story(self) -> str:
        """The timeline as JSON, to be replayed."""
        return json.dumps({**self.start, "timeline": self.timeline})

    def restart(self, meanwhile: Callable[[], None], *, crash: bool) -> None:
        """Open the store anew, as it is after closing or as a killed process leaves it."""
        self.release()
        if self.directory is None:
            return
        if crash:
            copy = self._fresh_directory()
            shutil.copytree(self.directory / "store", copy / "store", ignore=shutil.ignore_patterns("*-shm"))
            self.directory = copy
        self.engine.close()
        meanwhile()
        self.open()
        assert not self.engine.notes(), "the store was not taken as it is"

    def hold(self, inputs: dict[Any, tuple[Any, ...]]) -> None:
        """Hold a snapshot."""
        stack = ExitStack()
        self.held.append(Held(stack.enter_context(self.engine.snapshot()), stack, inputs))

    def release(self) -> None:
        while self.held:
            self.held.pop().stack.close()

    def open(self) -> None:
        store = None if self.directory is None else self.directory / "store"
        self.engine = Engine(
            store,
            workers=self.opening.workers,
            strict=self.opening.strict,
            history=self.opening.history,
            max_memory=self.opening.max_memory,
        )
        self.engine.listen(self._hear)

    def _fresh_directory(self) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="engine-world-", dir=FAST))
        self.cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def _hear(self, event: Event) -> None:
        if event.what in RAN and event.key is not None:
            self.ran.append(self.node_of(event.key))

    def _watch_probes(self) -> None:
        cheap = engine.mark.cheap_suspects

        def watched(core: Core, waiting: list[int], spent: int) -> list[int]:
            nodes = cheap(core, waiting, spent)
            keys = [core.key_of(node) for node in nodes]
            self.probed += [self.node_of(key) for key in keys if key is not None]
            return nodes

        self.cleanup.enter_context(mock.patch.object(engine.mark, "cheap_suspects", watched))
