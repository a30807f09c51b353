"""However many tables there are, answers are those from scratch and an edit runs what it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import engine.persist
from engine import Engine, Query, Table, input, query, table
from engine.core import Core
from tests.watching import Watch

MANY = [40, 41, 100, 200]  # 40 have a bit of their own in what a memo rests on


@frozen
class Row:
    n: int


@input
def numbers() -> tuple[int, ...]:
    return (1, 2)


@input
def extra(at: int) -> int:
    """What the members of one table add to their numbers."""
    return 0


@cache
def beside(at: int) -> Table[int, Row]:
    """One of many tables that rest on nothing but inputs."""

    def rows(n: int) -> Iterable[Row]:
        yield Row(n + extra(at))

    rows.__annotations__ = {"n": int, "return": Iterable[Row]}
    return table(each=numbers, index=("n",), name=f"many:beside{at}")(rows)


TOWER: list[Table[int, Row]] = []


def stacked(at: int) -> Table[int, Row]:
    """One of many tables, each over the numbers of the one below."""
    for higher in range(len(TOWER), at + 1):
        TOWER.append(storey(higher))
    return TOWER[at]


def storey(at: int) -> Table[int, Row]:
    def rows(n: int) -> Iterable[Row]:
        yield Row(n + extra(at))

    rows.__annotations__ = {"n": int, "return": Iterable[Row]}
    fed: Any = TOWER[at - 1].column("n") if at else numbers
    return table(each=fed, index=("n",), name=f"many:stacked{at}")(rows)


@cache
def twos(many: int) -> Query[[], int]:
    """How many rows of all tables have a 2."""

    @query(name=f"many:twos{many}")
    def asked() -> int:
        return sum(beside(at).count(n=2) for at in range(many))

    return asked


@pytest.fixture(autouse=True)
def made_anew() -> Iterator[None]:
    """What was made for one test is gone with it, see `no_definition_left`."""
    yield
    beside.cache_clear()
    twos.cache_clear()
    TOWER.clear()


@pytest.mark.parametrize("many", MANY)
def test_a_query_over_many_tables_follows_each_of_them(tmp_path: Path, many: int) -> None:
    with Engine(tmp_path / "store", history=0) as db:
        watch = Watch(db)
        assert db.get(twos(many)) == many
        for at in (0, 39, many // 2, many - 1):
            db.set(extra.key(at), 1)
            assert watch.get(twos(many)) == many  # 1 becomes 2, and 2 becomes 3
            assert sorted(watch.ran) == [
                f"beside{at}(1)", f"beside{at}(2)", "count(n=2)"
            ]  # fmt: skip
            db.set(extra.key(at), 5)
            assert watch.get(twos(many)) == many - 1
            db.set(extra.key(at), 0)
            assert watch.get(twos(many)) == many
    with Engine(tmp_path / "store") as db:
        db.set(extra.key(many - 1), 5)
        assert db.get(twos(many)) == many - 1


@pytest.mark.parametrize("many", MANY)
def test_tables_in_a_tower_follow_the_lowest(tmp_path: Path, many: int) -> None:
    with Engine(tmp_path / "store") as db:
        top = stacked(many - 1)
        assert db.get(top.where) == (Row(1), Row(2))
        db.set(numbers.key(), (1, 2, 3))
        assert db.get(top.count) == 3
        db.set(extra.key(0), 10)
        assert db.get(top.where) == (Row(11), Row(12), Row(13))
        db.check_invariants()
    with Engine(tmp_path / "store") as db:
        db.set(extra.key(0), 0)
        db.set(extra.key(many - 1), 100)
        assert db.get(top.where) == (Row(101), Row(102), Row(103))


@input
def all_numbers() -> tuple[int, ...]:
    return tuple(range(300))


@table(each=all_numbers, index=("n",), name="many:doubled")
def doubled(n: int) -> Iterable[Row]:
    yield Row(2 * n)


def test_no_commit_of_a_long_build_looks_at_the_members_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    real = engine.persist.commit

    def commit(core: Core, *, goes_on: bool = False) -> None:
        (one,) = core.collections.values()
        looked_at.append(len(core.unsaved.readers) + len(one._ready))
        real(core, goes_on=goes_on)
        assert not one._ready

    monkeypatch.setattr("engine.persist.CHUNK_NODES", 10)
    with Engine(tmp_path / "store") as db:
        db.get(all_numbers)
        monkeypatch.setattr("engine.persist.commit", commit)
        assert len(db.get(doubled.where)) == 300
        monkeypatch.undo()
        db.check_invariants()
    assert len(looked_at) >= 30
    assert max(looked_at) <= 2 * 10 + 2  # of each member its readers and itself, of the table its readers
    with Engine(tmp_path / "store") as db:
        assert len(db.get(doubled.where)) == 300
        assert db.counts().executed == 0
        assert db.store is not None
        db.store.check_invariants()
