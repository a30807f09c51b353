"""A table over a column of another one follows it also when a kill comes between the two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.store import Batch
from engine.store.sqlite import Store
from tests.table_world import Settings, World

ZERO, ONE = ("constant", 0), ("constant", 1)
# The machine found it, and made it small: all that the cells do is to let the second table run of itself.
PROGRAM: list[Any] = [
    ("table", ("keys", 0, ("constant", 4)), [[ONE, ZERO, ("fail", ("argument",))]]),
    ("query", ZERO),
    ("table", ("column", 0, "a"), [[ONE, ZERO, ZERO]]),
    ("table", ("column", 0, "b"), [[ONE, ZERO, ("half", ("cell", ("constant", 3)))]]),
    ("table", ("keys", 1, ZERO), [[ONE, ZERO, ZERO]]),
]


def cells(*values: int) -> list[Any]:
    return [["cell", cell, value] for cell, value in enumerate(values)]


class Killed(World):
    """Goes on from what a kill leaves right after the first commit of a request."""

    def kill_within(self, node: Any, patch: pytest.MonkeyPatch) -> None:
        left: list[Path] = []
        write = Store.write

        def copied(store: Store, batch: Batch) -> None:
            write(store, batch)
            if not left:
                assert self.directory is not None
                left.append(self._fresh_directory())
                shutil.copytree(
                    self.directory / "store", left[0] / "store", ignore=shutil.ignore_patterns("*-shm")
                )

        with patch.context() as within:
            within.setattr(Store, "write", copied)
            self.ask(self.engine, node)
        self.ran.clear()
        self.engine.close()
        (self.directory,) = left
        self.open()
        assert not self.engine.notes()

    def _check_ran(self, node: Any, ran: Any) -> None:
        """The model knows of no kill: only answers are compared."""


def test_killed_when_the_one_is_stored_and_the_other_is_not_it_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Killed(Settings(stored=True, tiny=True), PROGRAM)
    try:
        world.apply(["set", [*cells(1, 1, 2, 1), ["list", 0, [0, 1, 4]], ["list", 1, [0, 0, 1, 4]]]])
        world.apply(["get", ["look", 3, "of", ["x"]]])
        world.apply(["set", [*cells(1, 2, 2, 1), ["list", 0, [3]], ["list", 1, [3, 3, 4]]]])
        world.apply(["get", ["look", 3, "of", ["x"]]])
        world.apply(["set", [*cells(2, 2, 0, 0), ["list", 0, [2, 3, 0, 4]], ["list", 1, [1, 3]]]])
        world.kill_within(("look", 3, "of", ("",)), monkeypatch)
        world.apply(["set", [["cell", 2, 2], ["list", 1, [3, 3, 4]]]])
        world.apply(["get", ["look", 3, "of", [""]]])
    finally:
        world.close()
