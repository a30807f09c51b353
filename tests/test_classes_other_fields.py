"""Classes that have other fields since a reload, or a start: what was kept of them is in nobody's way."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.errors import UnkeyableArgument
from engine.query import REGISTRY
from tests.threads import run_all
from tests.workers import Rules

TEXT = """
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple
from attrs import frozen
from engine import Merge, Sum, fold, input, query, table

class Side(Enum):
    LEFT = 1

@frozen
class Point:
    x: int

class Row(NamedTuple):
    n: int
    sort: str

@input
def listed() -> tuple[int, ...]:
    return 1, 2, 3

@query
def points() -> tuple[Point, ...]:
    return tuple(Point(n) for n in listed())

@query
def sides() -> tuple[Side, ...]:
    return tuple(Side)

@table(each=points, index=("n",))
def rows(point: Point) -> Iterable[Row]:
    yield Row(point.x, "point")

@table(each=sides, index=("n",))
def others(side: Side) -> Iterable[Row]:
    yield Row(side.value, side.name)

@query
def worth(point: Point) -> int:
    return point.x

@query
def named(point: Point) -> str:
    return str(point.x)

def joined(one: str, other: str) -> str:
    return one + other

total = fold(each=points, of=worth, into=Sum())
in_order = fold(each=points, of=named, into=Merge(joined, ""))

@query(eq=lambda one, other: one.x == other.x)
def loose(n: int) -> Any:
    return Point(n)

@query(eq=lambda one, other: one.x == other.x, batch=True)
def several(numbers: list[int]) -> list[Any]:
    return [Point(n) for n in numbers]

@query
def seen() -> tuple[Any, ...]:
    return loose(5).x, several(5).x, len(rows.of(Point(1))), rows.count(), total(), in_order(), others.count()
"""
EDITS = {
    "another field": ("    x: int\n", "    x: int\n    y: int = 0\n"),
    "another member": ("LEFT", "DOWN"),
}


@pytest.fixture(autouse=True)
def _only_what_is_edited_is_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)  # rules are older than this process


class Edited:
    """An engine whose rules are edited, at once or between two starts."""

    def __init__(self, place: Path, how: str) -> None:
        self.rules = Rules(place, TEXT, head="")
        self.how = how
        self.store = None if how == "in memory" else place / "store"
        self.db = Engine(self.store, root=place)

    def edit(self, edit: str) -> None:
        if self.how == "started again":
            self.db.close()
            for name in [name for name in REGISTRY if name.startswith(self.rules.name)]:
                del REGISTRY[name]
        self.rules.file.write_text(TEXT.replace(*EDITS[edit]))
        self.rules.load()
        if self.how == "started again":
            self.db = Engine(self.store, root=self.rules.file.parent)
            assert not self.db.notes()

    def get(self, name: str) -> Any:
        value = self.db.get(getattr(self.rules, name))
        self.db.check_invariants()
        return value


@pytest.fixture(params=["in memory", "reloaded", "started again"])
def edited(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = Edited(tmp_path, request.param)
    yield made
    made.db.close()


@pytest.mark.parametrize("edit", EDITS)
def test_members_whose_class_has_other_fields_now_leave_and_the_table_goes_on(
    edited: Edited, edit: str
) -> None:
    """Of which source a row went could not be told: the table failed from then on, in any process."""
    before = edited.get("seen")
    rules = edited.rules
    assert edited.db.get(rules.rows.of, rules.Point(99)) == ()  # nobody can ask for it after an edit
    edited.db.changes(rules.rows, since="follower").close()
    edited.edit(edit)
    assert edited.get("seen") == before == (5, 5, 1, 3, 6, "123", 1)
    edited.db.set(rules.listed, (1, 3))
    assert edited.get("seen") == (5, 5, 1, 2, 4, "13", 1)
    for one in (rules.rows, rules.others, rules.total, rules.in_order):
        assert not edited.db.audit(one).differences
    assert not edited.db.verify().differences


@pytest.mark.parametrize("name", ["loose", "several"])
def test_a_value_whose_class_has_other_fields_now_is_not_equal_to_what_comes_by_eq(
    edited: Edited, name: str
) -> None:
    """The old value could not be read for the comparison: that was raised to who asked, each time."""
    query = getattr(edited.rules, name)
    assert edited.db.get(query, 5).x == 5
    edited.edit("another field")
    found = edited.db.get(getattr(edited.rules, name), 5)
    assert (found.x, found.y) == (5, 0)
    assert type(found) is edited.rules.Point


def test_a_snapshot_that_is_held_while_such_a_value_is_made_anew_lets_it_go(edited: Edited) -> None:
    """It could not be saved for the snapshot: who asked the engine went on asking for ever."""
    edited.get("seen")
    edited.edit("another field")
    with edited.db.snapshot() as old:
        (found,) = run_all(partial(edited.db.get, edited.rules.seen))
        assert found == (5, 5, 1, 3, 6, "123", 1)
        assert old.get(edited.rules.loose, 5) == edited.db.get(edited.rules.loose, 5)
        assert old.get(edited.rules.seen) == found


KEPT = """
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar
from attrs import frozen
from engine import query, table
from msgspec import Struct

T = TypeVar("T")

{point}

class Row(NamedTuple):
    point: {said}
    n: int

@query
def keys() -> tuple[int, ...]:
    return 1, 2

@table(each=keys, index=("n",))
def rows(key: int) -> Iterable[Row]:
    yield Row(Point(key), key)

@query
def seen() -> tuple[int, ...]:
    return tuple(row.point.x for n in (1, 2) for row in rows.where(n=n))
"""
RECORD = ("@frozen\nclass Point:\n    x: int", "Point")
STRUCT = ("class Point(Struct, frozen=True):\n    x: int", "Point")
GENERIC = ("@frozen\nclass Point(Generic[T]):\n    x: T", "Point[int]")
FIELD = ("\n\nclass Row", "\n    y: int = 0\n\nclass Row")
KINDS = {
    "a tuple": (RECORD, ("@frozen\nclass Point:", "class Point(NamedTuple):")),
    "a row that is no tuple": (RECORD, ("class Row(NamedTuple):", "@dataclass(frozen=True)\nclass Row:")),
    "a struct with another field": (STRUCT, FIELD),
    "a struct like an array": (STRUCT, ("=True)", "=True, array_like=True)")),
    "a struct with a tag": (STRUCT, ("=True)", "=True, tag='other')")),
    "a struct that leaves out what is another default now": (
        ("class Point(Struct, frozen=True, omit_defaults=True):\n    x: int = 1", "Point"),
        ("x: int = 1", "x: int = 5"),
    ),
    "a struct with other names": (STRUCT, ("=True)", "=True, rename='upper')")),
    "a generic class with another field": (GENERIC, FIELD),
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_that_are_stored_are_not_read_by_a_class_that_is_of_another_kind_now(
    tmp_path: Path, kind: str
) -> None:
    """The rows are what they were. Answers are stored as msgspec encodes their class: none could be read."""
    (point, said), edit = KINDS[kind]
    text = KEPT.replace("{point}", point).replace("{said}", said)
    assert edit[0] in text
    rules = Rules(tmp_path, text, head="")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(rules.seen) == (1, 2)
    rules.file.write_text(text.replace(*edit))
    rules.load()
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(rules.seen) == (1, 2)
        assert db.get(rules.rows.where, n=2) == (rules.Row(rules.Point(2), 2),)
        assert db.verify().differences == ()


def test_who_follows_a_key_of_a_class_that_has_other_fields_now_is_told_once_and_nobody_else_is_troubled(
    tmp_path: Path,
) -> None:
    """Whoever set anything got the error of that key, and who subscribed after it was told nothing."""
    told: list[Any] = []
    edited = Edited(tmp_path, "in memory")
    rules = edited.rules
    edited.db.subscribe(rules.worth.key(rules.Point(1)), told.append)
    edited.db.subscribe(rules.total, told.append)
    edited.edit("another field")
    for listed in ((1,), (1, 2)):
        edited.db.set(edited.rules.listed, listed)
    assert isinstance(told[0], UnkeyableArgument)
    assert told[1:] == [1, 3]
    edited.db.close()
