"""A consumer of a value is told when it is another one: one claim a test."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Transient, query
from tests.following import cell, db, put, total

__all__ = ["db"]  # a fixture


class Odd:
    """Has no bytes."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_a_value_is_told_when_it_is_another_one_than_the_consumer_saw(db: Engine) -> None:
    put(db, a=1, b=2)
    feed = db.changes(total, since="one")
    assert [new.value for new in feed] == [3]
    put(db, a=2, b=1)
    assert list(feed) == [], "an equal sum"
    put(db, a=5)
    put(db, a=7)
    assert [(new.value, new.revision) for new in feed] == [(8, db.revision)]
    assert [new.value for new in db.changes(total.key(), since="two")] == [8]
    assert list(feed) == []


def test_the_error_of_a_value_is_told_once_and_so_is_its_healing(db: Engine) -> None:
    @query(name="changes:positive")
    def positive(key: str) -> int:
        if cell(key) < 0:
            raise ValueError(key)
        return cell(key)

    feed = db.changes(positive.key("a"), since="one")
    assert [new.value for new in feed] == [0]
    put(db, a=-1)
    (new,) = feed
    assert (new.value, type(new.error), str(new.error)) == (None, ValueError, "a")
    put(db, a=-2)
    assert list(feed) == [], "the same error"
    put(db, a=0)
    assert [(new.value, new.error) for new in feed] == [(0, None)]


@pytest.mark.parametrize("kind", [int, Odd])
def test_a_failure_for_a_moment_is_told_once_and_so_is_the_value_of_before(db: Engine, kind: Any) -> None:
    down: list[Exception] = []

    @query(name=f"changes:served {kind.__name__}", persist=kind is int)
    def served() -> Any:
        if cell("a") and down:
            raise down[0]
        return kind(cell("a"))

    def told() -> list[str]:
        return [type(new.error or new.value).__name__ for new in feed]

    put(db, a=1)
    feed = db.changes(served, since="one")
    assert told() == [kind.__name__]
    down.append(OSError("it is down"))
    db.forget("changes:served*")
    assert (told(), told()) == (["OSError"], [])
    down[0] = Transient("still")
    assert told() == []
    down.clear()
    assert (told(), told()) == ([kind.__name__], [])


def test_a_value_with_its_own_position_is_told_once_over_restarts(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        first = next(iter(db.changes(total, since="one")))
    with Engine(tmp_path / "store") as db:
        assert [new.value for new in db.changes(total, since="other")] == [1]
        assert list(db.changes(total, since="one", after=first.position)) == []
        put(db, a=2)
        second = next(iter(db.changes(total, since="one")))
    with Engine(tmp_path / "store") as db:
        assert next(iter(db.changes(total, since="one"))).position == second.position, "not acknowledged"
        assert list(db.changes(total, since="one", after=second.position)) == []


def test_a_value_that_comes_back_is_told_to_who_may_have_kept_the_one_between(tmp_path: Path) -> None:
    def told(number: int, after: str | None = None) -> list[tuple[int | None, str]]:
        """What a consumer hears that is killed before it acknowledges."""
        with Engine(tmp_path / "store") as db:
            put(db, a=number)
            feed = db.changes(total, since="one", after=after)
            return [(new.value, new.position) for new in islice(feed, 1)]

    ((_, first),) = told(1)
    ((kept, second),) = told(2, after=first)
    assert kept == 2
    assert [value for value, _ in told(1)] == [1], "it may have kept 2"
    assert told(1, after=first) == [], "it says that it did not"
    assert told(2, after=second) == []
    assert [value for value, _ in told(1)] == [1]


def test_a_value_without_bytes_is_told_when_it_was_computed_anew(db: Engine) -> None:
    @query(name="changes:odd", persist=False)
    def odd() -> Odd:
        return Odd(cell("a"))

    feed = db.changes(odd, since="one")
    assert [new.value.number for new in feed if new.value] == [0]
    assert list(feed) == []
    put(db, a=1)
    assert [new.value.number for new in feed if new.value] == [1]
    assert list(feed) == []


def test_a_query_that_looks_elsewhere_each_time_is_told_without_end_of_waiting(db: Engine) -> None:
    numbers = iter(range(1000))

    @query(name="changes:wild", untracked=True)
    def wild() -> int:
        return next(numbers)

    feed = db.changes(wild, since="one")
    values = []
    for number in range(3):
        put(db, a=number)
        values.append(next(iter(feed)).value or 0)
    assert values == sorted(set(values))


def test_a_value_belongs_to_its_position_while_others_edit(tmp_path: Path) -> None:
    import threading

    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        stop = threading.Event()

        def edit() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                db.set(cell.key("a"), number)
                db.get(total)

        editor = threading.Thread(target=edit)
        editor.start()
        try:
            feed, seen = db.changes(total, since="one"), []
            for _ in range(60):
                seen += [new.value for new in feed]
        finally:
            stop.set()
            editor.join()
        seen += [new.value for new in feed]
        assert seen[-1] == db.get(total)
        assert seen == sorted(set(seen), key=lambda value: value or 0), "none twice, in order"
