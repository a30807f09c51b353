"""What many members are about to need is read from the store at once: few statements, the same answers."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest

from engine import Engine, fold, input, query
from engine.accumulate import Merge, Sum

MEMBERS = 300


@input
def hub() -> int:
    return 1


@input
def own(number: int) -> int:
    return number


@query
def doubled(number: int) -> int:
    return 2 * own(number)


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(MEMBERS))


@query
def member(number: int) -> int:
    return hub() * doubled(number)


@query
def fails_or_not(number: int) -> int:
    if hub() == 13 and number % 3:
        raise ValueError(number)
    return hub() + doubled(number)


total = fold(each=numbers, of=member, into=Sum())


@query
def tupled(number: int) -> tuple[int, ...]:
    return (member(number),)


in_order = fold(each=numbers, of=tupled, into=Merge[tuple[int, ...]](operator.add, ()))
failing = fold(each=numbers, of=fails_or_not, into=Sum())


def expected(hub_is: int, **others: int) -> int:
    return sum(hub_is * 2 * others.get(f"n{number}", number) for number in range(MEMBERS))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    with Engine(tmp_path / "store") as db:
        assert db.get(total) == expected(1)
    return tmp_path / "store"


def reads(db: Engine) -> list[str]:
    assert db.store is not None
    found: list[str] = []
    db.store.connection.set_trace_callback(found.append)
    return found


def test_who_reads_a_changed_hub_is_brought_up_to_date_with_few_reads_besides_values(stored: Path) -> None:
    with Engine(stored) as db:
        db.set(hub.key(), 3)
        found = reads(db)
        assert db.get(total) == expected(3)
        assert db.counts().executed >= MEMBERS
    values = [text for text in found if text.startswith("SELECT value")]
    others = [text for text in found if text.startswith("SELECT") and text not in values]
    assert len(values) <= MEMBERS + 10
    assert len(others) < MEMBERS / 4  # dependencies, readers, what members gave before


def test_what_was_read_ahead_is_not_believed_after_a_commit(stored: Path) -> None:
    with Engine(stored) as db:
        db.set(hub.key(), 2)
        db.set(hub.key(), 1)  # so what was read of the members is not used: they hold
        assert db.get(total) == expected(1)
        for hub_is in (3, 5, 3, 7):
            db.set(hub.key(), hub_is)
            assert db.get(total) == expected(hub_is)
            db.set(own.key(7), 1_000)
            assert db.get(total) == expected(hub_is, n7=1_000)
            held = db.get(in_order)
            assert sum(held) == expected(hub_is, n7=1_000)
            db.set(own.key(7), 7)
            assert db.get(total) == expected(hub_is)


def test_members_that_fail_and_heal_leave_the_fold_as_from_scratch(tmp_path: Path) -> None:
    for hub_is in (1, 13, 2, 13, 13, 4):
        with Engine(tmp_path / "store") as db:
            db.set(hub.key(), hub_is)
            if hub_is == 13:
                with pytest.raises(ValueError, match="1"):
                    db.get(failing)
            else:
                assert db.get(failing) == MEMBERS * hub_is + expected(1)
