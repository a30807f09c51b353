"""A collection that is built anew forgets all that the store had of it, also what nothing replaces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from attrs import frozen

from engine import Count, Engine, Max, Merge, Min, Sum, fold, input, query, table
from engine.errors import UnfoldableValue


@input(name="rebuilt:number")
def number(key: str) -> Any:
    return ord(key)


@input(name="rebuilt:listed")
def listed() -> tuple[str, ...]:
    return tuple(ascii_lowercase)


@query(name="rebuilt:keys")
def keys() -> tuple[str, ...]:
    return listed()


@query(name="rebuilt:value")
def value(key: str) -> Any:
    return number(key)


def joined(left: Any, right: Any) -> Any:
    return left + right


FOLDS: dict[str, Any] = {
    "min": fold(each=keys, of=value, into=Min(default=None), name="rebuilt:min"),
    "max": fold(each=keys, of=value, into=Max(default=None), name="rebuilt:max"),
    "merge": fold(each=keys, of=value, into=Merge(joined, 0), name="rebuilt:merge"),
    "count": fold(each=keys, of=value, into=Count(), name="rebuilt:count"),
    "sum": fold(each=keys, of=value, into=Sum(), name="rebuilt:sum"),
}
EXPECTED = {"min": 107, "max": 107, "merge": 107, "count": 1, "sum": 107}


@pytest.mark.parametrize("which", list(FOLDS))
@pytest.mark.parametrize("reopened", [True, False])
def test_a_fold_that_could_not_be_reduced_and_lost_its_members_begins_from_nothing(
    which: str, reopened: bool, tmp_path: Path
) -> None:
    reduced = FOLDS[which]
    db = Engine(tmp_path / "store")

    def committed() -> Engine:
        if not reopened:
            return db
        db.close()
        return Engine(tmp_path / "store")

    db.get(reduced)
    db = committed()
    db.set(number.key("a"), "x")
    if which != "count":
        with pytest.raises((TypeError, UnfoldableValue)):
            db.get(reduced)
    db = committed()
    db.set(number.key("a"), 97)
    db.set(listed.key(), ())
    assert db.get(reduced) == {"min": None, "max": None}.get(which, 0)
    assert not db.audit(reduced).differences
    db = committed()
    db.set(listed.key(), ("k",))
    assert db.get(reduced) == EXPECTED[which]
    assert not db.audit(reduced).differences
    db.check_invariants()
    db.close()


@frozen
class Row:
    text: str


def test_rows_of_a_member_that_has_none_when_its_table_is_built_anew_do_not_come_back(tmp_path: Path) -> None:
    @table(each=keys, index=("text",), name="rebuilt:rows")
    def rows(key: str) -> Iterable[Row]:
        yield from [Row(key)] * bool(number(key))

    with Engine(tmp_path / "store") as db:
        assert db.get(rows.count) == 26
    with Engine(tmp_path / "store") as db:
        db.get(rows.count)
        (kept,) = db._core.collections.values()
        kept.rebuild = True  # as after damage, or a member that ran while its table was not known
        db.set(number.key("a"), 0)
        assert db.get(rows.count) == 25
        db.set(number.key("b"), 0)  # a commit later the store counts again
        assert db.get(rows.count) == 24
        assert not db.get(rows.exists, text="a")
        assert not db.audit(rows).differences
    with Engine(tmp_path / "store") as db:
        assert db.get(rows.where, text="a") == ()


@pytest.mark.parametrize("which", ["min", "max", "merge", "sum"])
@pytest.mark.parametrize("stored", [True, False])
def test_what_cannot_be_reduced_fails_with_one_error_whatever_the_order_of_the_edits(
    which: str, stored: bool, tmp_path: Path
) -> None:
    reduced = FOLDS[which]
    told = set()
    last = ""
    for at, order in enumerate(("acz", "zac", "cza")):
        with Engine(tmp_path / str(at) if stored else None) as db:
            for place, key in enumerate(order, 1):
                db.set(number.key(key), {"a": "x", "c": (1,), "z": None}[key])
                with pytest.raises(Exception, match=r".") as met:
                    db.get(reduced)
                with Engine(None) as scratch:
                    for other in order[:place]:
                        scratch.set(number.key(other), {"a": "x", "c": (1,), "z": None}[other])
                    with pytest.raises(Exception, match=r".") as right:
                        scratch.get(reduced)
                last = str(met.value)
                assert last == str(right.value)
                assert not db.audit(reduced).differences
            told.add(last)
    assert len(told) == 1
