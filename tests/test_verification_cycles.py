"""Verification of keys that fail by cycles: of several cycles that share keys, either may be told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

from engine import CycleError, Engine, Sum, each, fold, input, query, table
from tests.rings import FAILS, told


@input
def edges(key: int) -> tuple[int, ...]:
    return ()


@query
def node(key: int) -> int:
    return sum(each(node, edges(key))) + 1


@query
def said(key: int) -> str:
    try:
        return str(node(key))
    except CycleError as error:
        return str(error.path)


def test_another_path_of_cycles_that_share_keys_is_no_difference_nor_is_what_is_said_of_it() -> None:
    with Engine(None) as db:
        for key, below in {1: (0,), 0: (2, 1)}.items():
            db.set(edges.key(key), below)
        before = db.get(said, 1)
        db.set(edges.key(2), (1, 0))
        assert db.verify().differences == ()
        assert told(db, node, 1) == FAILS
        with Engine(None) as fresh:
            for key, below in {1: (0,), 0: (2, 1), 2: (1, 0)}.items():
                fresh.set(edges.key(key), below)
            assert fresh.get(said, 1) != before, "else this test shows nothing"


def test_a_cycle_that_is_none_from_scratch_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(None) as db:
        db.set(edges.key(0), (0,))
        assert told(db, node, 0) == FAILS
        graph = db._core.graph
        (place,) = [one for one in range(1, len(graph)) if "edges(0)" in db._core.name_of(one)]
        graph.values[place] = ()  # behind its back
        found = db.verify().differences
        assert any(one.key.endswith(":node(0)") and "CycleError" in one.kept for one in found)


@input
def numbers() -> tuple[int, ...]:
    return (2,)


@frozen
class Row:
    n: int


@table(each=numbers, index=("n",))
def rows(n: int) -> Iterable[Row]:
    yield Row(node(n))


@pytest.mark.parametrize("closed", [True, False])
def test_the_error_of_a_table_is_that_of_its_first_key_that_is_a_cycle(closed: bool, tmp_path: Path) -> None:
    """It was that of the member that had been computed first."""
    place = tmp_path / "store"
    with Engine(place) as db:
        for key in (1, 2):
            db.set(edges.key(key), (key,))
        assert told(db, rows.count) == FAILS
        db.set(numbers, (1, 2))
        assert told(db, rows.count) == FAILS
        with pytest.raises(CycleError) as error:
            db.get(rows.where)
        assert "node(1)" in str(error.value)
        if not closed:
            assert db.verify().differences == ()
    if closed:
        with Engine(place) as db:
            assert db.verify().differences == ()


@query
def part(n: int) -> int:
    return total() if edges(n) else n


total = fold(each=numbers, of=part, into=Sum())


def test_a_fold_whose_cycle_is_none_from_scratch_is_a_difference(db: Engine) -> None:
    """It was let pass: where its ring was closed is no part of its answer, but that there is one is."""
    db.set(edges.key(2), (2,))
    assert told(db, total) == FAILS
    assert db.verify().differences == ()
    core = db._core
    place = next(one for one in range(1, len(core.graph)) if core.name_of(one).endswith(":edges(2)"))
    core.graph.values[place] = ()  # behind its back
    assert str(total.key()) in [one.key for one in db.verify().differences]
