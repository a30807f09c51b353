"""What gives the source keys of a table or a fold, and how keys are told apart: one claim a test."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen, make_class

from engine import BadTable, Engine, Sum, fold, input, query, table
from engine.store.layout import Layout
from engine.tables.kept_table import KeptTable


@input
def given() -> Any:
    return ()


@query
def keys() -> Any:
    if given() == "fail":
        raise ValueError("no keys")
    return given()


@frozen
class Shown:
    text: str


@table(each=keys)
def shown(key: Any) -> Iterable[Shown]:
    if key == "graphlib":
        raise graphlib.CycleError("nodes are in a cycle", [1, 2, 1])
    yield Shown(repr(key))


@query
def one(key: Any) -> int:
    return 1


number = fold(each=keys, of=one, into=Sum())


def test_an_audit_and_a_snapshot_tell_keys_apart_that_python_finds_equal_or_cannot_hash() -> None:
    odd = (1, True, 1.0, 0.0, -0.0, ["a list"])
    with Engine(None) as db:
        db.set(given.key(), odd)
        with db.snapshot() as before:
            assert {row.text for row in before.get(shown.where)} == set(map(repr, odd))
            assert before.get(number) == len(odd)
        assert {row.text for row in db.get(shown.where)} == set(map(repr, odd))
        assert db.get(number) == len(odd)
        assert db.audit(shown).differences == db.audit(number).differences == ()


@pytest.mark.parametrize("value", ["abc", b"abc", 3, None])
def test_one_value_where_keys_should_be_is_told_as_such(value: Any) -> None:
    with Engine(None) as db:
        db.set(given.key(), value)
        for asked in (shown.where, number):
            with pytest.raises(BadTable, match="gave one value") as error:
                db.get(asked)
            assert error.value.fields["each"] == keys.__query__.name
        assert "tuple" in error.value.hint
        db.set(given.key(), ("abc",))
        assert db.get(shown.where) == (Shown("'abc'"),)


def test_a_member_with_an_error_of_graphlib_is_no_cycle_after_a_restart(store: Path) -> None:
    with Engine(store) as db:
        db.set(given.key(), ("graphlib", "fine"))
        assert db.get(shown.where) == (Shown("'fine'"),)
        db.set(given.key(), "fail")
        with pytest.raises(ValueError, match="no keys"):
            db.get(shown.where)
    with Engine(store) as db:
        db.set(given.key(), ("graphlib", "fine"))
        assert db.get(shown.where) == (Shown("'fine'"),)
        assert len(db.get(shown.failures)) == 1


def test_an_error_that_no_store_can_hold_is_told_alike_from_scratch_and_by_a_table() -> None:
    @table(each=keys, name="tests:broken")
    def broken(key: str) -> Iterable[Shown]:
        raise ValueError(key)

    with Engine(None) as db:
        db.set(given.key(), ("\ud800 is a lone surrogate",))
        (found,) = db.get(broken.failures)
        assert found.error == "ValueError: ? is a lone surrogate"
        assert db.audit(broken).differences == ()


@input
def kind(number: int) -> str:
    return "common"


@input
def several() -> tuple[int, ...]:
    return tuple(range(1_000))


@frozen
class File:
    kind: str
    number: int
    size: int


@input
def size(number: int) -> int:
    return 0


@table(each=several, index=("kind",))
def files(number: int) -> Iterable[File]:
    yield File(kind(number), number, size(number))


@table(each=files.column("kind"))
def kinds(kind: str) -> Iterable[Shown]:
    yield Shown(kind)


@pytest.mark.parametrize("stored", [False, True])
def test_a_row_that_changes_costs_a_table_fed_by_its_column_the_same_however_many_have_its_value(
    store: Path, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    checked = Layout.checked

    def counted(self: Any, found: Any) -> Any:
        nonlocal looked_at
        looked_at += len(found)
        return checked(self, found)

    monkeypatch.setattr(Layout, "checked", counted)
    with Engine(store if stored else None) as db:
        assert [row.text for row in db.get(kinds.where)] == ["common"]
        for number in range(4):
            db.set(size.key(number), 1)
            looked_at = 0
            assert db.get(kinds.where) == (Shown("common"),)
            assert looked_at <= 4
        with db.batch():
            for number in range(1, 1_000):
                db.set(kind.key(number), "rare")
        assert [row.text for row in db.get(kinds.where)] == ["common", "rare"]
        db.set(kind.key(0), "rare")
        assert [row.text for row in db.get(kinds.where)] == ["rare"]
        db.set(kind.key(1), "common")
        assert [row.text for row in db.get(kinds.where)] == ["common", "rare"]
        db.check_invariants()


def test_values_that_went_leave_nothing_behind_in_a_table_without_a_store() -> None:
    with Engine(None) as db:
        db.set(several.key(), (1, 2, 3))
        for turn in range(50):
            db.set(kind.key(turn % 3), f"kind {turn}")
            assert db.get(files.count, kind=f"kind {turn}") == (1 if turn % 3 else 0)
        (table_of_files,) = (one for one in db._core.collections.values() if isinstance(one, KeptTable))
        assert len(table_of_files.kept._by["kind"]) <= 3


def test_values_that_went_before_their_column_was_of_another_type_are_not_read_as_of_that_type() -> None:
    def define(type_: Any, value: Any) -> tuple[Any, Any]:
        made: Any = make_class("Made", {"value": field(type=type_)}, frozen=True)

        def rows(key: int) -> Any:
            return [made(value)]

        rows.__annotations__["return"] = Iterable[made]
        source: Any = table(each=several, index=("value",), name="tests:source")(rows)
        return source, fold(each=source.column("value"), of=one, into=Sum(), name="tests:fed")

    with Engine(None) as db:
        source, fed = define(Decimal, Decimal(1))
        assert db.get(fed) == 1
        db.set(several.key(), ())
        assert db.get(source.count) == 0  # the fold was not asked meanwhile
        source, fed = define(int, 1)
        assert db.get(fed) == 0
        db.set(several.key(), (1, 2))
        assert db.get(fed) == 1
