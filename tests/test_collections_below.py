"""A change that ends below all members of a fold or a table costs nothing for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, fold, query, table
from engine.tables.accumulate import Sum
from tests.folding import cell, keys, put, whole


@query
def tens() -> int:
    """What all members read; most changes end here."""
    return cell("shared") // 10


@query
def scaled(key: str) -> int:
    return tens() * whole(key)


@frozen
class Scaled:
    key: str
    value: int


@table(each=keys)
def scaled_rows(key: str) -> Iterable[Scaled]:
    yield Scaled(key, scaled(key))


all_scaled = fold(each=keys, of=scaled, into=Sum())


@pytest.mark.parametrize("asked", ["fold", "lookup"])
@pytest.mark.parametrize("again", ["same process", "restart"])
def test_a_change_that_ends_below_all_members_looks_at_none_of_them(
    tmp_path: Path, asked: str, again: str
) -> None:
    what: Any = all_scaled if asked == "fold" else scaled_rows.count
    with Engine(tmp_path / "store") as db:
        put(db, **{f"k{number}": number for number in range(50)})
        db.set(cell.key("shared"), 10)
        first = db.get(what)
        if again == "same process":
            look_at_none(db, what, first)
    if again == "restart":
        with Engine(tmp_path / "store") as db:
            look_at_none(db, what, first)


def look_at_none(db: Engine, what: Any, first: int) -> None:
    before = db.counts()
    db.set(cell.key("shared"), 11)
    assert db.get(what) == first
    did = db.counts() - before
    assert (did.executed, did.verified) == (1, 0)
    assert did.visited <= 5
    db.set(cell.key("shared"), 20)
    assert (db.get(what) == first) == (what is not all_scaled)
