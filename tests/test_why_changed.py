"""What `why` says of a key is true of its last run, whatever changed, ran or was taken back since."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Count, Engine, Event, each, fold, input, query, table
from engine.event import What

CELLS, QUERIES = 4, 7


@input
def cell(number: int) -> int:
    return number


@query
def double(number: int) -> int:
    return 2 * cell(number)


@query
def parity(number: int) -> int:
    return double(number) % 2 + cell(number + 1)


@query(persist=False)
def unkept(number: int) -> int:
    return cell(number)


@query
def one_more(number: int) -> int:
    return unkept(number) + 1


@query
def one_less(number: int) -> int:
    return unkept(number) - 1


@query
def numbers() -> tuple[int, ...]:
    return (0, 1)


@frozen
class Row:
    number: int
    value: int


@table(each=numbers, index=("number",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number, cell(number))


how_many = fold(each=numbers, of=cell, into=Count())


@query
def looked_up() -> int:
    return sum(row.value for row in rows.where(number=1))


@query
def counted() -> int:
    return how_many()


Reads = tuple[tuple[Any, ...], ...]  # a query and an argument, or several cells
PROGRAM: dict[int, tuple[bool, Reads, int]] = {}


@query
def any_of(number: int) -> int:
    ends_early, reads, modulus = PROGRAM[number]
    total = 0
    for first, *more in reads:
        total += sum(each(cell, more)) if first is None else first(*more)
        if ends_early and total % 2:
            break
    return total % modulus


def test_a_change_after_the_last_run_is_not_why_it_ran() -> None:
    with Engine(None) as db:
        db.get(double, 1)
        db.set(cell.key(1), 5)
        db.get(double, 1)
        db.set(cell.key(1), 6)

        told = db.why(double, 1)

    assert (told.changed_at, told.state, told.chain) == (2, "maybe dirty", ())
    assert "because test_why_changed:cell(1) changed; its value is of R2" in f"{told}"


def test_what_ran_since_and_came_to_the_same_is_not_why_a_value_became_another_one() -> None:
    with Engine(None) as db:
        db.get(parity, 1)
        db.set(cell.key(2), 7)
        db.get(parity, 1)
        db.set(cell.key(1), 5)
        db.get(parity, 1)

        by_the_last_run = db.why(parity, 1)
        db.forget("*double(1)")
        db.get(parity, 1)
        after_another = db.why(parity, 1)

    reasons = ["test_why_changed:cell(1) changed", "it was set"]
    assert [link.reason for link in by_the_last_run.chain] == reasons
    assert [(link.changed_at, link.reason) for link in after_another.chain] == [(3, "")]


def test_a_change_that_was_taken_back_is_why_a_key_did_not_run(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        db.get(parity, 1)
        db.set(cell.key(2), 7)
        db.get(parity, 1)
        db.set(cell.key(1), 8)
        db.set(cell.key(1), 1)
        before = db.counts()
        db.get(parity, 1)
        assert (db.counts() - before).executed == 0

        assert "double(1) did not run: what it reads is again what it was" in f"{db.why(double, 1)}"


def test_a_value_that_is_computed_again_still_tells_its_readers_why_it_changed(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        db.get(one_more, 1)
        db.set(cell.key(1), 5)
        db.get(one_more, 1)
    with Engine(tmp_path / "store") as db:
        db.get(one_less, 1)

        assert db.why(unkept, 1).reason == "its value is not kept, and somebody needed it"
        assert [link.reason for link in db.why(one_more, 1).chain] == [
            "test_why_changed:cell(1) changed",
            "it was set",
        ]


def test_what_rests_on_a_table_or_a_fold_that_waits_may_be_dirty() -> None:
    with Engine(None) as db:
        db.get(looked_up)
        db.get(counted)
        db.set(cell.key(1), 5)

        assert {db.why(one).state for one in (looked_up, rows, counted, how_many)} == {"maybe dirty"}
        assert {db.why(one).verified_at for one in (looked_up, counted)} == {1}
        db.get(looked_up)
        db.get(counted)
        assert {db.why(one).state for one in (looked_up, rows, counted, how_many)} == {"clean"}


@pytest.mark.parametrize("seed", range(12))
def test_after_random_edits_a_key_ran_for_the_last_change_before_it_did(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    PROGRAM.clear()
    for number in range(QUERIES):
        reads = tuple(_any_read(chance, number) for _ in range(chance.randint(1, 3)))
        PROGRAM[number] = chance.random() < 0.5, reads, chance.choice((2, 3, 100))
    keys = [*map(cell.key, range(CELLS)), *map(any_of.key, range(QUERIES))]
    ran: dict[str, int] = {}
    changes: dict[str, set[int]] = {f"{key}": set() for key in keys}

    def listener(event: Event) -> None:
        if event.what in (What.EXECUTED, What.CUT_OFF):
            ran[f"{event.key}"] = event.revision
        elif event.what is What.RESTORED:
            ran.pop(f"{event.key}", None)

    place = tmp_path / "store" if chance.random() < 0.5 else None
    with Engine(place, history=chance.choice((0, 4))) as db:
        db.listen(listener)
        for _ in range(40):
            if chance.random() < 0.5:
                db.set(cell.key(chance.randrange(CELLS)), chance.randint(0, 3))
            else:
                db.get(any_of, chance.randrange(QUERIES))
            told = [one for one in map(db.why, keys) if one.state != "unknown"]
            for one in told:
                changes[one.key].add(one.changed_at)
            for one in told:
                assert all(link.changed_at in changes[link.key] for link in one.chain), f"{one}"
                if one.chain:
                    first, ran_in = one.chain[0], ran[one.key]
                    before = max(change for change in changes[first.key] if change <= ran_in)
                    assert first.changed_at == before, f"{one}"


def _any_read(chance: random.Random, number: int) -> tuple[Any, ...]:
    kind = chance.randrange(3) if number else 0
    if kind == 0:
        return cell, chance.randrange(CELLS)
    return (None, *chance.sample(range(CELLS), 2)) if kind == 1 else (any_of, chance.randrange(number))
