"""A FileWatcher alone: a backend that a test speaks for, a clock that a test moves, and no thread at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.rules.directories import glob
from engine.rules.files import FileMissing, read_text
from engine.watch.cookies import Cookies
from engine.watch.events import WatchEvent, Watching
from engine.watch.file_watcher import FileWatcher
from engine.watch.update_scheduler import Batch, UpdateScheduler
from tests.scripted import ByHand
from tests.watch_world import planted


class Rig:
    """A watcher over a small tree whose inputs an engine knows."""

    def __init__(self, root: Path, backend: Any = None) -> None:
        self.now = 1_000.0
        self.root = root
        self.db = Engine(None, root=root)
        self.db.get(glob, "**/*.txt")
        for path in ("a/one.txt", "a/deep/two.txt", "top.txt", "x/y/z.txt"):
            self.ask(path)
        self.hand = ByHand()
        self.told: list[WatchEvent] = []
        self.cookies = Cookies(None)
        self.scheduler: UpdateScheduler[int] = UpdateScheduler(lambda: self.now)
        self.files = FileWatcher(
            self.db._core,
            self.scheduler,
            self.cookies,
            backend or self.hand,
            self.told.append,
            clock=lambda: self.now,
        )

    def ask(self, path: str) -> None:
        with contextlib.suppress(FileMissing):
            self.db.get(read_text, path)

    def crawl(self, reason: str = "the watch begins") -> None:
        self.files.begin_crawl(reason)
        self.files.end_crawl(0.0)

    def be_silent(self, seconds: float) -> None:
        self.now += seconds
        self.hand.say()

    def started(self) -> Rig:
        self.crawl()
        self.take()
        self.told.clear()
        return self

    def say(self, *paths: str) -> None:
        self.hand.say(*(f"{self.root}/{path}".rstrip("/") for path in paths))

    def take(self) -> Batch[int] | None:
        """All that waits, as one batch."""
        self.scheduler.flush()
        return self.scheduler.take()

    def after(self, seconds: float) -> Batch[int] | None:
        """What there is to do when some time went by, with signs of life and steps as usual."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.25)
            self.hand.say()
            self.files.step()
        return self.take()

    def names(self, nodes: Any) -> set[str]:
        """Paths of inputs."""
        core = self.db._core
        return {
            f"{core.queries.names[core.graph.query[node]].rpartition(':')[2]} {core.args_of(node)[0]}"
            for node in nodes
        }

    def looked_at(self, *paths: str) -> set[str]:
        return self.names(self.files.nodes_of(paths))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, Watching)]

    def states(self) -> list[str]:
        return [event.state for event in self.told if isinstance(event, Watching)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(planted(tmp_path / "root"))
    yield rig
    rig.files.close()
    rig.cookies.close()
    rig.db.close()
