"""Classes that a reload defines anew: what was in memory is of the classes of now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import UnkeyableArgument
from tests.workers import Rules

TEXT = """
from typing import NamedTuple
from engine import input, query

class Row(NamedTuple):
    n: int

@input
def several() -> int:
    return 6

@query
def row(n: int) -> Row:
    return Row(n)

@query
def total() -> int:
    return sum(row(n).n for n in range(several()))

@query
def is_row(n: int) -> bool:
    return isinstance(row(n), Row)
"""


@pytest.fixture(autouse=True)
def _only_what_is_edited_is_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)  # rules are older than this process


def test_what_was_read_ahead_is_of_the_class_of_now(tmp_path: Path) -> None:
    """Nobody had asked for it by its arguments: what was renewed was found by these."""
    rules = Rules(tmp_path, TEXT, head="")
    with Engine(tmp_path / "store") as db:
        assert db.get(rules.total) == 15
    with Engine(tmp_path / "store") as db:
        db.set(rules.several, 1)
        assert db.get(rules.total) == 0  # it read six rows before
        rules.load()
        assert db.get(rules.is_row, 3)
        assert db.verify().differences == ()


def test_a_snapshot_that_is_held_over_a_reload_is_of_the_classes_and_the_code_of_now(
    tmp_path: Path,
) -> None:
    rules = Rules(tmp_path, TEXT, head="")
    with Engine(None) as db:
        assert db.get(rules.total) == 15
        with db.snapshot() as old:
            db.set(rules.several, 3)
            assert db.get(rules.total) == 3
            assert old.get(rules.is_row, 3)
            rules.load()
            assert old.get(rules.is_row, 4)  # its row is one that the engine has
            rules.file.write_text(TEXT.replace("return isinstance", "return not isinstance"))
            rules.load()
            assert not old.get(rules.is_row, 3)  # and this is one that the snapshot had
            assert not old.get(rules.is_row, 4)
            assert old.get(rules.total) == 15


def test_an_input_that_a_snapshot_holds_over_a_reload_is_of_the_class_of_now_and_nothing_else_runs(
    tmp_path: Path,
) -> None:
    rules = Rules(tmp_path, HELD, head="")
    with Engine(None) as db:
        db.set(rules.cell, rules.Row(5))
        assert db.get(rules.kind) == "Row 5"
        assert db.get(rules.total) == 45
        with db.snapshot() as old:
            db.set(rules.cell, rules.Row(6))
            rules.load()
            assert db.get(rules.kind) == "Row 6"
            assert old.get(rules.kind) == "Row 5"
            assert old.get(rules.total) == 45
            assert rules.RAN == []


HELD = """
from attrs import frozen
from engine import input, query

RAN: list[int] = []  # made anew with the module

@frozen
class Row:
    n: int

@input
def cell() -> Row:
    return Row(0)

@query
def kind() -> str:
    row = cell()
    return f"Row {row.n}" if isinstance(row, Row) else f"not a Row {row.n}"

@query
def one(n: int) -> int:
    RAN.append(n)
    return n

@query
def total() -> int:
    return sum(one(n) for n in range(10))
"""

KEYED = """
from enum import Enum
from attrs import frozen
from engine import query

class Side(Enum):
    LEFT = 1
    RIGHT = 2

@frozen
class Row:
    a: int

@query
def area(row: Row) -> int:
    return row.a

@query
def sign(side: Side) -> int:
    return side.value

def both():
    return area(Row(1)) + area(Row(2)) + sign(Side.RIGHT)
"""

READER = """
import sys
from engine import query

@query
def total() -> int:
    return sys.modules[{name!r}].both()
"""


@pytest.mark.parametrize("where", [None, "store"])
@pytest.mark.parametrize(
    ("old", "new", "total"),
    [
        ("    a: int\n", "    a: int\n    b: int = 7\n", 5),
        ("a: int", "w: int", None),
        ("RIGHT = 2", "DOWN = 3", None),
    ],
)
def test_who_read_keys_of_a_class_that_has_other_fields_now_runs_and_asks_for_those_of_now(
    tmp_path: Path, where: str | None, old: str, new: str, total: int | None
) -> None:
    """Arguments of before cannot be made any more: that was raised once, and the reader was clean then."""
    keyed = Rules(tmp_path, KEYED, head="")
    reader = Rules(tmp_path, READER.format(name=keyed.name), head="")
    with Engine(where and tmp_path / where, root=tmp_path) as db:
        assert db.get(reader.total) == 5
        renamed = {"row.a": "row.w"} if "w:" in new else {"Side.RIGHT": "Side.DOWN"} if "DOWN" in new else {}
        text = KEYED.replace(old, new)
        for one, other in renamed.items():
            text = text.replace(one, other)
        keyed.file.write_text(text)
        keyed.load()
        expected = keyed.both()
        assert total is None or expected == total
        for _ in range(2):
            assert db.get(reader.total) == expected
        db.check_invariants()


def test_an_argument_of_the_class_of_before_is_told_if_its_fields_are_others_now(
    tmp_path: Path,
) -> None:
    rules = Rules(tmp_path, KEYED, head="")
    with Engine(None, root=tmp_path) as db:
        row = rules.Row(1)
        assert db.get(rules.area, row) == 1
        rules.load()
        assert db.get(rules.area, row) == 1  # its fields are what they were
        rules.file.write_text(KEYED.replace("    a: int\n", "    a: int\n    b: int = 7\n"))
        rules.load()
        with pytest.raises(UnkeyableArgument, match="defined anew with other fields: make it anew"):
            db.get(rules.area, row)
        assert db.get(rules.area, rules.Row(1)) == 1


FOLDED = """
from typing import NamedTuple
from engine import fold, input, query

class Row(NamedTuple):
    n: int

class State(NamedTuple):
    rows: int

class Added:
    def zero(self) -> State:
        return State(0)
    def add(self, state: State, value: Row) -> State:
        return State(state.rows + (1 if isinstance(value, Row) else 100))
    def remove(self, state: State, value: Row) -> State:
        return State(state.rows - (1 if isinstance(value, Row) else 10))
    def result(self, state: State) -> tuple[int, bool]:
        return state.rows, isinstance(state, State)

class Merged:
    def empty(self) -> int:
        return 0
    def lift(self, value: Row) -> int:
        return isinstance(value, Row)
    def merge(self, one: int, other: int) -> int:
        return one + other
    def result(self, rows: int) -> tuple[int, bool]:
        return rows, True

@query
def keys() -> tuple[int, ...]:
    return 0, 1, 2

@input
def cell(n: int) -> int:
    return n

@query
def row(n: int) -> Row:
    return Row(cell(n))

added = fold(each=keys, of=row, into=Added())
merged = fold(each=keys, of=row, into=Merged())
"""


@pytest.mark.parametrize("folded", ["added", "merged"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_fold_gets_values_and_a_state_of_the_classes_of_now(
    tmp_path: Path, folded: str, waits: bool
) -> None:
    """A member had been computed, and what it contributes waited, as it was, for who asks for the fold."""
    rules = Rules(tmp_path, FOLDED, head="")
    with Engine(None) as db:
        assert db.get(getattr(rules, folded)) == (3, True)
        for value in (10, 11):
            db.set(rules.cell.key(1), value)
            if waits:
                db.get(rules.row, 1)
            rules.load()
            assert db.get(getattr(rules, folded)) == (3, True)
            rules.load()
            assert not db.audit(getattr(rules, folded)).differences


SET = """
from attrs import frozen
from engine import input, query

@frozen
class Row:
    n: int
    def worth(self) -> int:
        return self.n

def default() -> Row:
    return Row(Row(0).worth())

@input
def cell() -> Row:
    return default()

@query(eq=lambda one, other: one.n == other.n)
def row() -> Row:
    return default()

@query
def kinds() -> tuple[bool, int, bool]:
    return isinstance(cell(), Row), cell().worth(), isinstance(row(), Row)
"""


@pytest.mark.parametrize("where", [None, "store"])
@pytest.mark.parametrize(
    "edit", [("return self.n", "return self.n * 1"), ("n: int\n", "n: int\n    m: int = 0\n")]
)
def test_what_the_host_set_and_what_comes_out_equal_by_eq_is_of_the_class_of_now_whose_code_is_another(
    tmp_path: Path, where: str | None, edit: tuple[str, str]
) -> None:
    """A set value does not run again, and one that is equal is kept: both stayed of the class of before."""
    rules = Rules(tmp_path, SET, head="")
    with Engine(where and tmp_path / where, root=tmp_path) as db:
        db.set(rules.cell, rules.Row(7))
        assert db.get(rules.kinds) == (True, 7, True)
        rules.file.write_text(SET.replace(*edit))
        rules.load()
        assert db.get(rules.kinds) == (True, 7, True)
        assert db.notes() == ()
        db.check_invariants()
