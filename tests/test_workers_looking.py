"""A worker looks into tables by itself, in the store of its parent. What it saw counts as if it had asked."""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import engine.parallel.stored as stored
import engine.store.beside as beside
from engine import Engine
from engine.errors import StoreError
from engine.parallel.units import Answer, Ask
from tests.executors import Threads
from tests.patience import until
from tests.workers import Rules, make, others

__all__ = ["make", "others"]
Make = Callable[[str], Rules]

RULES = """
class Row(NamedTuple):
    name: str
    n: int

@input
def shift(n: int) -> int:
    return 0

@query
def numbers() -> list[int]:
    return list(range(60))

@table(each=numbers, index=("name", "n"), workers="inline")
def rows(n: int) -> list[Row]:
    return [Row(f"r{n % 20 + shift(n)}", n)]

@query(workers="process")
def look(n: int) -> tuple[int, ...]:
    note(n)
    first = rows.first(n=n)
    found = [row.n for row in rows.where(name=f"r{n}")]
    return (*found, len(rows.starting(name=f"r{n}")), rows.count(name=f"r{n}", n=n), first.n if first else -1)

@query
def looks() -> tuple[Any, ...]:
    return each(look, range(60))

@query
def both() -> tuple[Any, ...]:
    return rows.count(), *looks()
"""


def rules_of(make: Make) -> Rules:
    return make("from typing import Any\n" + RULES)


def asked(executor: Threads) -> Counter[str]:
    """What a worker asked for since the last time, by the last part of its name."""
    found = Counter(one.query.rpartition(".")[2] for one in executor.told if isinstance(one, Ask))
    executor.told.clear()
    return found


def made(executor: Threads) -> Counter[str]:
    """The memos that a worker made, by the last part of their names."""
    answers = [one for one in executor.told if isinstance(one, Answer)]
    return Counter(record.query.rpartition(".")[2] for one in answers for record in one.records)


def expected(rules: Rules, shifted: tuple[int, ...] = ()) -> Any:
    with Engine(None) as db:
        for n in shifted:
            db.set(rules.shift.key(n), 100)
        found = db.get(rules.looks)
    rules.noted()
    return found


def test_rows_that_are_in_the_store_are_looked_up_by_the_worker_that_wants_them(
    make: Make, tmp_path: Path
) -> None:
    rules = rules_of(make)
    right = expected(rules)
    with Engine(tmp_path / "store", executor=(executor := Threads())) as db:
        db.get(rules.rows.count)  # it is committed at the end
        assert db.get(rules.looks) == right
        assert made(executor)["where"] == 60
        assert not asked(executor)
        db.check_invariants()


def test_rows_that_wait_for_a_commit_are_committed_when_workers_ask_again_and_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.pending.LARGEST", 4)  # keys of a batch
    rules = rules_of(make)
    right = expected(rules)
    with Engine(tmp_path / "store", executor=(executor := Threads())) as db:
        assert db.get(rules.both)[1:] == right
        assert made(executor)["where"] > 20
        assert 32 <= asked(executor).total() <= 36  # until it was told, with an answer
        db.check_invariants()


def test_a_row_that_comes_or_goes_forces_what_a_worker_saw_and_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    rules = rules_of(make)
    before, after = expected(rules), expected(rules, (3, 23))
    for again in (False, True):  # the same after a restart: the store knows who looked
        with Engine(tmp_path / f"store{again}", executor=(executor := Threads())) as db:
            db.get(rules.rows.count)
            assert db.get(rules.looks) == before
            assert not asked(executor)
            if not again:
                change(db, rules)
                assert db.get(rules.looks) == after
                assert rules.noted()[0] == {**dict.fromkeys(map(str, range(60)), 1), **CONCERNED}
                db.check_invariants()
    rules.noted()
    with Engine(tmp_path / "storeTrue") as db:
        change(db, rules)
        assert db.get(rules.looks) == after
        assert rules.noted()[0] == dict.fromkeys(CONCERNED, 1)
        db.check_invariants()


# r3 has three rows and loses two, which become r103: r1 and r10 are its beginnings. They are the first rows
# with n=3 and with n=23.
CONCERNED = dict.fromkeys(("1", "3", "10", "23"), 2)


def change(db: Engine, rules: Rules) -> None:
    with db.batch():
        db.set(rules.shift.key(3), 100)
        db.set(rules.shift.key(23), 100)


def test_what_is_not_the_store_that_is_meant_is_not_looked_into(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file at that path, or another machine: the parent is asked."""
    rules = rules_of(make)
    right = expected(rules)
    real = beside.place_of
    for number, other in enumerate(({"inode": 1}, {"machine": "elsewhere"}, {"directory": b"/nowhere"})):
        monkeypatch.setattr(stored, "place_of", lambda *what, other=other: real(*what)._replace(**other))
        with Engine(tmp_path / f"store{number}", executor=(executor := Threads())) as db:
            db.get(rules.rows.count)
            assert db.get(rules.looks) == right
            assert asked(executor)["where"] == 60


def test_a_store_that_took_the_place_of_ours_is_not_looked_into(make: Make, tmp_path: Path) -> None:
    """As when the directory is removed while an engine uses it, and another process makes it anew."""
    rules = rules_of(make)
    with Engine(tmp_path / "other") as other:
        change(other, rules)
        other.get(rules.rows.count)
    executor = Threads()
    refused = pytest.raises(StoreError, match="another store lies in its place")
    with refused, Engine(tmp_path / "store", executor=executor) as db:
        db.get(rules.rows.count)
        (tmp_path / "store").rename(tmp_path / "away")
        (tmp_path / "other").rename(tmp_path / "store")
        db.get(rules.looks)
    assert asked(executor)["where"] == 60


def test_rows_that_a_worker_cannot_read_are_looked_up_by_its_parent(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk fails under it: no value of the key that looked, nor of what caught the error."""
    rules = rules_of(make)
    right = expected(rules)
    real, looks = beside.Beside.locked, itertools.count()

    @contextmanager
    def locked(self: beside.Beside) -> Iterator[sqlite3.Connection]:
        if next(looks) >= 10:
            raise StoreError(store=self.path, reason="disk I/O error")
        with real(self) as connection:
            yield connection

    monkeypatch.setattr(beside.Beside, "locked", locked)
    with Engine(tmp_path / "store", executor=(executor := Threads())) as db:
        db.get(rules.rows.count)
        assert db.get(rules.looks) == right
        assert asked(executor)["where"] > 50
        assert not db.notes()
        db.check_invariants()


def test_a_table_that_is_brought_up_to_date_again_is_looked_into_as_it_is_then(
    make: Make, tmp_path: Path
) -> None:
    """In one process, and with workers that live on: what was told holds for one revision."""
    rules = rules_of(make)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.rows.count)
        for shifted in ((), (3,), (3, 4), (3, 4, 5, 24)):
            for n in shifted:
                db.set(rules.shift.key(n), 100)
            db.get(rules.rows.count)
            db.forget("*:look(*")
            assert db.get(rules.looks) == expected(rules, shifted)
            db.check_invariants()
        assert {os.getpid()} != rules.noted()[1]


def test_a_table_that_is_not_up_to_date_is_asked_for_and_brought_there_first(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing comes back that cannot be taken over."""
    caplog.set_level(logging.DEBUG, "engine")
    rules = rules_of(make)
    with Engine(tmp_path / "store", executor=(executor := Threads())) as db:
        db.get(rules.rows.count)
        change(db, rules)
        assert db.get(rules.looks) == expected(rules, (3, 23))
        assert asked(executor).total() > 0
        assert "not taken over" not in caplog.text


def test_what_a_commit_does_not_spare_is_no_reason_for_one(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`of` is asked for, whatever is committed: a commit for every 32 of such questions took a tenth."""
    monkeypatch.setattr(stored, "MANY", 1)
    rules = make(
        "from typing import Any\n"
        + RULES
        + """
@query(workers="process")
def own(n: int) -> int:
    return len(rows.of(n))

@query
def owned() -> int:
    return rows.count() + sum(each(own, range(60)))
"""
    )
    with Engine(tmp_path / "store", executor=(executor := Threads())) as db:
        assert db.get(rules.owned) == 120
        assert asked(executor)["of"] == 60
        assert db.counts().commits == 1


def test_a_worker_that_ends_lets_the_store_go(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is a thread of a process that lives on."""
    closed: list[Path] = []
    real = beside.Beside.close

    def close(self: beside.Beside) -> None:
        closed.append(self.path)
        real(self)

    monkeypatch.setattr(beside.Beside, "close", close)
    rules = rules_of(make)
    with Engine(tmp_path / "store", executor=Threads()) as db:
        db.get(rules.rows.count)
        db.get(rules.looks)
        assert not closed
    assert until(lambda: closed) == [tmp_path / "store" / "store.db"]


def test_what_a_worker_asks_for_rests_on_rows_as_they_are_now(make: Make) -> None:
    """No member read it before, so the table below it was not brought up to date for them."""
    rules = make("""
class Row(NamedTuple):
    n: int

@input
def cell() -> int:
    return 1

@input
def size(n: int) -> int:
    return 1

@query
def numbers() -> list[int]:
    return [10, 20]

@table(each=numbers)
def rows(n: int) -> list[Row]:
    return [Row(n + i) for i in range(size(n))]

@query(workers="inline")
def known() -> int:
    time.sleep(0.01)  # it costs enough to be asked for
    return rows.count()

@query(workers="process")
def member(n: int) -> int:
    note(n)
    return known() if cell() == 2 else 0

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=2) as db:
        assert (db.get(rules.known), db.get(rules.members)) == (2, 0)
        db.set(rules.size.key(10), 2)
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 4 * 3
        assert os.getpid() not in rules.noted()[1]
        db.check_invariants()
