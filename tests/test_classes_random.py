"""Random edits of classes that are arguments, source keys, rows, values and states: answers as from scratch.

Between them inputs change, the module is loaded anew or the store opened again, snapshots are held, change
feeds followed. A value of a class of before is worth nothing. `CLASSES_PROGRAMS=300` makes more programs.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Key, SnapshotLost, View
from engine.query import REGISTRY
from tests.expressions import Outcome, outcome_of
from tests.workers import Rules

PROGRAMS = int(os.environ.get("CLASSES_PROGRAMS", "1"))
STEPS = 9

TEXT = """
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from attrs import frozen
from engine import Set, Sum, fold, input, query, table
from msgspec import Struct

class Side(Enum):
    LEFT = $one
    $name = 3

$kind
    x: int$field
    def worth(self) -> int:
        return self.x * $factor

@frozen
class Box:
    at: Point
    side: Side = Side.LEFT$field

class Row(NamedTuple):
    point: Point
    side: Any
    n: int$column

class State(NamedTuple):
    n: int

def worth(value: Any) -> int:
    if isinstance(value, Box):
        return worth(value.at) + worth(value.side)
    if isinstance(value, (Point, Side)):
        return value.worth() if isinstance(value, Point) else value.value
    return sum(map(worth, value)) if type(value) in (tuple, frozenset) else 100_000

def made(n: int) -> Box:
    return Box(Point(n % 4), Side.LEFT if n % 2 else Side.$name)

class Added:
    def zero(self) -> State:
        return State(0)
    def add(self, state: State, value: Box) -> State:
        return State(state.n + worth(value))
    def remove(self, state: State, value: Box) -> State:
        return State(state.n - worth(value))
    def result(self, state: State) -> int:
        return state.n if isinstance(state, State) else -1

@input
def cell(n: int) -> int:
    return n

@input
def listed() -> tuple[int, ...]:
    return 0, 1, 2

@query
def boxes() -> tuple[Box, ...]:
    return tuple(made(n) for n in listed())

@query
def box(n: int) -> Box:
    return made(n + cell(n % 2))

@query
def loose(n: int) -> Any:
    return (made(n), Side.LEFT) if cell(0) else Point(n)

@query
def area(box: Box) -> int:
    return worth(box) + cell(1)

@table(each=boxes, index=("point", "n"))
def rows(box: Box) -> Iterable[Row]:
    yield Row(box.at, box.side, area(box) % 3)

@table(each=rows.column("point"), index=("n",))
def fed(point: Point) -> Iterable[Row]:
    yield Row(point, None, len(rows.where(point=point)))

added = fold(each=listed, of=box, into=Added())
among = fold(each=listed, of=loose, into=Set())
total = fold(each=boxes, of=area, into=Sum())

@query
def seen(n: int) -> tuple[int, ...]:
    several = *rows.where(n=n), *rows.where(point=Point(n)), *rows.of(made(n))
    return (
        worth(box(n)), worth(loose(n)), area(made(n)), added(), worth(among()), total(), len(fed.where(n=n)),
        *[worth((row.point, row.side)) for row in several if isinstance(row, Row)],
    )
"""
CHOICES = {
    "one": ("1", "2"),
    "name": ("RIGHT", "UP"),
    "kind": (
        "@frozen\nclass Point:",
        "@dataclass(frozen=True)\nclass Point:",
        "class Point(NamedTuple):",
        "class Point(Struct, frozen=True):",
        "class Point(Struct, frozen=True, array_like=True):",
    ),
    "field": ("", "", "\n    y: int = 2"),
    "factor": ("1", "2"),
    "column": ("", "\n    more: int = 0"),
}


class Trial:
    """One module that is edited again and again, and the engine under test."""

    def __init__(self, seed: int, place: Path) -> None:
        self.chance = chance = random.Random(seed)
        self.place = place
        self.said = {name: chance.choice(several) for name, several in CHOICES.items()}
        self.told = [f"seed {seed}"]
        self.rules = Rules(place, self.text().replace("{", "{{").replace("}", "}}"), head="")
        self.store = place / f"store{seed}" if chance.random() < 0.7 else None
        self.options: dict[str, Any] = {"history": chance.choice([0, 4])}
        self.options["max_memory"] = chance.choice([None, 1]) if self.store else None
        self.set: dict[Any, Any] = {}
        self.views: list[tuple[View, ExitStack, dict[Any, Any]]] = []
        self.mirror: Counter[str] = Counter()
        self.scratch: tuple[Any, dict[Any, Any], Engine] | None = None
        self.db = Engine(self.store, root=place, **self.options)

    def text(self) -> str:
        text = TEXT
        for name, said in self.said.items():
            text = text.replace(f"${name}", said)
        return text

    def run(self) -> None:
        steps = [self.edit, self.edit, self.change, self.change, self.hold, self.follow, self.verify]
        for _ in range(STEPS):
            step = self.chance.choice(steps)
            self.told.append(step.__name__)
            step()
            for key in self.chance.sample(self.keys(), 2):
                self.told.append(f"    get {key}")
                assert outcome_of(partial(self.db.get, key)) == self.from_scratch(key, self.set), key
            self.db.check_invariants()
        self.release()
        for name in ("rows", "fed", "added", "among", "total"):
            self.db.get(self.rules.seen, 0)
            assert not self.db.audit(getattr(self.rules, name)).differences, name
        self.db.close()

    def edit(self) -> None:
        """At once, or between two starts."""
        at_once = self.store is None or self.chance.random() < 0.5
        if not at_once:
            self.release()
            self.db.close()
            for name in [name for name in REGISTRY if name.startswith(f"{self.rules.name}:")]:
                del REGISTRY[name]
        name = self.chance.choice(list(CHOICES))
        self.said[name] = self.chance.choice(CHOICES[name])
        self.told.append(f"    {'at once' if at_once else 'opened again'}: {name} = {self.said[name]!r}")
        self.rules.file.write_text(self.text())
        self.rules.load()
        if not at_once:
            self.db = Engine(self.store, root=self.place, **self.options)
            assert not self.db.notes()

    def change(self) -> None:
        listed = tuple(self.chance.randint(0, 5) for _ in range(self.chance.randint(0, 4)))
        n, value = self.chance.randint(0, 1), self.chance.randint(0, 4)
        self.set = {**self.set, ("listed",): listed, ("cell", n): value}
        self.told.append(f"    {self.set}")
        self.put(self.db, self.set)

    def put(self, db: Engine, values: dict[Any, Any]) -> None:
        with db.batch():
            for (name, *args), value in values.items():
                db.set(getattr(self.rules, name).key(*args), value)

    def hold(self) -> None:
        if not self.views or self.chance.random() < 0.5:
            stack = ExitStack()
            self.views.append((stack.enter_context(self.db.snapshot()), stack, self.set))
        view, _, values = self.chance.choice(self.views)
        for key in self.chance.sample(self.keys(), 2):
            self.told.append(f"    view {key}")
            try:
                assert outcome_of(partial(view.get, key)) == self.from_scratch(key, values), key
            except SnapshotLost:
                continue

    def release(self) -> None:
        while self.views:
            self.views.pop()[1].close()

    def follow(self) -> None:
        """By their texts: rows that went may be of a class of before."""
        for delta in self.db.changes(self.rules.rows, since="mirror"):
            if delta.reset:
                self.mirror.clear()
            self.mirror.subtract(map(repr, delta.removed))
            self.mirror.update(map(repr, delta.added))
        assert self.mirror == Counter(map(repr, self.from_scratch(self.rules.rows.where.key(), self.set)[1]))
        self.db.changes(self.rules.rows, since="mirror").close()  # so that all of it was acknowledged

    def verify(self) -> None:
        assert not self.db.verify().differences

    def keys(self) -> list[Key[Any]]:
        rules, n = self.rules, self.chance.randint(0, 3)
        box = rules.made(n)
        several = [
            rules.seen.key(n),
            rules.seen.key(0),
            rules.boxes.key(),
            rules.box.key(n),
            rules.loose.key(n),
        ]
        several += [
            rules.area.key(box),
            rules.rows.of.key(box),
            rules.rows.where.key(),
            rules.fed.where.key(),
        ]
        return [*several, rules.rows.where.key(point=box.at), rules.among.key(), rules.added.key()]

    def from_scratch(self, key: Key[Any], values: dict[Any, Any]) -> Outcome:
        """By an engine that knows one state of the inputs and of the code only."""
        if self.scratch is None or self.scratch[0] is not self.rules.module or self.scratch[1] is not values:
            if self.scratch is not None:
                self.scratch[2].close()
            self.scratch = self.rules.module, values, Engine(None, root=self.place)
            self.put(self.scratch[2], values)
        return outcome_of(partial(self.scratch[2].get, key))


def test_after_any_edit_of_classes_answers_are_those_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)  # an edit is one of what it changes
    for seed in range(PROGRAMS):
        trial = Trial(seed, tmp_path)
        try:
            trial.run()
        except BaseException as failure:
            failure.add_note("\n".join([trial.text(), *trial.told]))
            raise
        finally:
            trial.release()
            sys.modules.pop(trial.rules.name, None)
