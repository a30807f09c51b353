"""Failures of a class of their own below what workers compute: of each only the identity comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.core import Core
from engine.errors import StoreError
from engine.failure import Failure
from engine.parallel.slot import Slot
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]


def test_who_reads_a_member_of_a_table_that_fails_in_a_class_of_its_own_is_given_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be taken over, nor what read it: each worker began anew with every batch, for all keys."""
    rules = make("""
class Own(Exception):
    pass

class Row(NamedTuple):
    n: int

@query
def keys() -> range:
    return range(40)

@table(each=keys, index=("n",))
def rows(n: int) -> list[Row]:
    raise Own(n)

@query(workers="process")
def reader(n: int) -> int:
    try:
        return len(rows(n))
    except Own:
        return n

@query
def readers() -> tuple[int, ...]:
    rows.failures()
    return each(reader, range(40, 80))
""")
    anew: list[Slot] = []
    monkeypatch.setattr(Slot, "outdate", lambda slot: anew.append(slot))
    with Engine(None, processes=2) as db:
        assert db.get(rules.readers) == tuple(range(40, 80))
        assert anew == []


def test_a_commit_that_fails_amid_failures_of_any_class_leaves_none_that_nobody_raised(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands for a failure of which only the identity came back was told as if it were that failure."""
    rules = make("""
class Own(Exception):
    pass

@input
def base() -> int:
    return 0

@query
def below(n: int) -> int:
    raise Own(n)

@query(workers="process")
def member(n: int) -> int:
    try:
        return below(n % 4 + base())
    except Own as error:
        return -error.args[0]

@query
def members() -> tuple[int, ...]:
    return each(member, range(20))
""")

    def fails(core: Core) -> None:
        if any(isinstance(one, Failure) and "in a worker" in str(one.error) for one in core.graph.values):
            raise StoreError(store=tmp_path, reason="no such device")

    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.members) == (0, -1, -2, -3) * 5
        db.set(rules.base, 4)
        with monkeypatch.context() as patch:
            patch.setattr("engine.keep.chunk", fails)
            with pytest.raises(StoreError, match="no such device"):
                db.get(rules.members)
        for n in range(4, 8):
            with pytest.raises(rules.Own) as caught:
                db.get(rules.below, n)
            assert caught.value.args == (n,)
        assert db.get(rules.members) == (-4, -5, -6, -7) * 5


def test_an_expensive_failure_that_is_known_here_is_not_found_once_more(make: Make) -> None:
    """It is of a class of its own, so it cannot be told: who reads it runs here."""
    rules = make("""
class Odd(Exception):
    pass

@query(workers="inline")
def fails() -> int:
    note("fails")
    time.sleep(0.01)
    raise Odd("always")

@query(workers="process")
def member(n: int) -> int:
    try:
        return fails()
    except Odd:
        return n

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=2) as db:
        with pytest.raises(rules.Odd):
            db.get(rules.fails)
        assert db.get(rules.members) == 6
        assert rules.noted()[0] == {"fails": 1}


def test_keys_that_failed_for_a_moment_go_to_workers_again(make: Make) -> None:
    rules = make("""
@input
def cell() -> int:
    return 1

@query
def shaky() -> int:
    if cell() == 1:
        raise OSError("for a moment")
    return cell()

@query(workers="process")
def member(n: int) -> int:
    note(n)
    try:
        return shaky() + n
    except OSError:
        return -1

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.members) == -4
        assert os.getpid() in rules.noted()[1]
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 4 * 2 + 6
        assert os.getpid() not in rules.noted()[1]
