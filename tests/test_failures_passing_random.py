"""Random programs over files that cannot be read for a while: answers as from scratch, here and in snapshots.

Steps: files and cells that change, files that are busy and free again, states that come again, forget, close
and open, crash, snapshots held over all that, consumers. `PASSING_PROGRAMS=1000` makes more of them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import Engine, Key, NewValue, SnapshotLost, Sum, Transient, View, each, fold, input, query, table
from tests.expressions import Expression, Outcome, outcome_of
from tests.programs import ARGUMENTS, CELLS, FILES, Node, evaluate, random_expression

PROGRAMS = int(os.environ.get("PASSING_PROGRAMS", "6"))  # of each kind
QUERIES = 6  # the last two give the keys and the rows of a table
PROGRAM: ContextVar[list[Expression]] = ContextVar("passing_program")
CONTENT: ContextVar[dict[int, int | None]] = ContextVar("passing_content")  # of files; None: it is busy


class Busy(Transient, ValueError):
    """What `rescue` catches, and nobody keeps."""


@input
def cell(n: int) -> int:
    return 0


@input(observed=True)
def file(n: int) -> int:
    return look(n)


@input(observed=True, persist=False)
def unkept_file(n: int) -> int:
    return look(n)


def look(n: int) -> int:
    found = CONTENT.get()[n]
    if found is None:
        raise Busy("busy", n)
    return found


class Reads:
    """What expressions read, through the engine."""

    def key(self, node: Node) -> Key[Any]:
        which, n = node
        if which == "cell":
            return cell.key(n)
        if which == "file":
            return (file if n else unkept_file).key(n)
        return (kept, unkept, listed)[which % 3].key(which, n)

    def read(self, node: Node) -> int:
        return self.group([node])[0]

    def group(self, nodes: Sequence[Node]) -> Sequence[int]:
        keys = [self.key(node) for node in nodes]
        found = each(keys) if len(keys) > 1 else [key.query.wrapper(*key.args) for key in keys]
        return [one.pop() if isinstance(one, list) else one for one in found]


def value(which: int, n: int) -> int:
    return evaluate(PROGRAM.get()[which], n, Reads()) % 7


@query
def kept(which: int, n: int) -> int:
    return value(which, n)


@query(persist=False)
def unkept(which: int, n: int) -> int:
    return value(which, n)


@query
def listed(which: int, n: int) -> list[int]:
    return [value(which, n)]


@query
def keys() -> tuple[int, ...]:
    return tuple(range(value(QUERIES - 2, 0) % ARGUMENTS + 1))


class Row(NamedTuple):
    value: int


@table(each=keys, index=("value",), version=1)
def rows(n: int) -> Iterable[Row]:
    yield Row(kept(QUERIES - 1, n))


@query
def of_row(n: int) -> int:
    return kept(QUERIES - 1, n)


total = fold(each=keys, of=of_row, into=Sum(), name="passing_random:total")
ASKED: list[Key[Any]] = [
    *(Reads().key((which, n)) for which in range(QUERIES) for n in range(ARGUMENTS)),
    *(
        rows.where.key(),
        rows.count.key(value=1),
        rows.of.key(1),
        rows.failures.key(),
        total.key(),
        keys.key(),
    ),
]


class Trial:
    """One program and its engine."""

    def __init__(self, seed: int, store: Path | None) -> None:
        self.chance = chance = random.Random(seed)
        program = [
            random_expression(chance.randint, range(at), 3, "cells and files") for at in range(QUERIES)
        ]
        PROGRAM.set(program)
        self.cells = dict.fromkeys(range(CELLS), 0)
        self.told: list[str] = [f"seed {seed}: {program}"]
        self.states = [dict.fromkeys(range(FILES), n) for n in (1, 2)]
        self.content: dict[int, int | None] = {**self.states[0]}
        CONTENT.set(self.content)
        self.store, self.history = store, chance.choice([0, 2])
        self.views: list[tuple[View, ExitStack, dict[int, int], dict[int, int | None]]] = []
        self.heard: dict[str, Outcome] = {}
        self.db = self.opened()

    def opened(self) -> Engine:
        return Engine(self.store, history=self.history, workers=self.chance.choice([1, 3]))

    def run(self) -> None:
        for _ in range(12):
            step = self.chance.choice(
                [
                    self.edit,
                    self.write,
                    self.write,
                    self.write,
                    self.hold,
                    self.recall,
                    self.follow,
                    self.turn,
                ]
            )
            self.told.append(f"{step.__name__} {self.cells} {self.content}")
            step()
            for key in self.chance.sample(ASKED, 4):
                self.told.append(f"    {key}")
                assert outcome_of(partial(self.db.get, key)) == from_scratch(key, self.cells), key
            self.db.check_invariants()
        self.release()
        assert not self.db.audit(rows).differences
        self.db.close()

    def edit(self) -> None:
        self.cells = {**self.cells, self.chance.randrange(CELLS): self.chance.randint(0, 3)}
        for n, number in self.cells.items():
            self.db.set(cell.key(n), number)

    def write(self) -> None:
        """Files change, become busy, or are what they were."""
        self.content.update(
            self.chance.choice([*self.states, {self.chance.randrange(FILES): self.chance.randint(0, 4)}])
        )
        self.content.update({n: None for n in range(FILES) if self.chance.random() < 0.4})
        self.db.sync()

    def turn(self) -> None:
        """Close and open, or go on as after a kill; or forget."""
        if self.store is None or self.chance.random() < 0.3:
            self.db.forget(self.chance.choice(["*", "*kept*", "*rows*", "*file*"]))
            return
        self.release()
        if self.chance.random() < 0.5:
            left = self.store.with_name(f"{self.store.name}x")
            shutil.copytree(self.store, left, ignore=shutil.ignore_patterns("*-shm"))
            self.store = left
        self.db.close()
        self.db = self.opened()

    def hold(self) -> None:
        """A snapshot of what has been read: a file that it reads first is one of later."""
        if None in self.content.values():
            return
        for n in range(FILES):
            self.db.get(Reads().key(("file", n)))
        stack = ExitStack()
        self.views.append((stack.enter_context(self.db.snapshot()), stack, self.cells, dict(self.content)))

    def recall(self) -> None:
        for view, _, cells, then in self.views[-2:]:
            for key in self.chance.sample(ASKED, 6):
                try:
                    found = outcome_of(partial(view.get, key))
                except SnapshotLost:
                    continue
                assert found == from_scratch(key, cells, then), f"{key} in R{view.revision}"

    def release(self) -> None:
        while self.views:
            self.views.pop()[1].close()

    def follow(self) -> None:
        for key in self.chance.sample(ASKED[: QUERIES * ARGUMENTS], 3):
            told: NewValue[Any]
            for told in self.db.changes(key, since="test"):
                self.heard[str(key)] = outcome_of(partial(what, told))
            if None not in self.content.values():
                assert self.heard[str(key)] == from_scratch(key, self.cells), f"{key} was not told"


def what(told: NewValue[Any]) -> Any:
    if told.error is not None:
        raise told.error
    return told.value


def from_scratch(key: Key[Any], cells: dict[int, int], files: dict[int, int | None] | None = None) -> Outcome:
    token = CONTENT.set(files or CONTENT.get())
    try:
        with Engine(None) as fresh:
            for n, number in cells.items():
                fresh.set(cell.key(n), number)
            return outcome_of(partial(fresh.get, key))
    finally:
        CONTENT.reset(token)


@pytest.mark.parametrize("kind", ["memory", "stored"])
def test_random_programs_whose_files_cannot_be_read_for_a_while_answer_as_from_scratch(
    kind: str, tmp_path: Path
) -> None:
    for seed in range(PROGRAMS):
        trial = Trial(seed, tmp_path / f"store{seed}" if kind == "stored" else None)
        try:
            trial.run()
        except BaseException as failure:
            failure.add_note("\n".join(trial.told))
            raise
