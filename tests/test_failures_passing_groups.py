"""A group of which a member fails for a moment, beside another one that fails."""

from __future__ import annotations

import pytest

from engine import CycleError, Engine, each, input, query
from engine.query import Query

busy: set[str] = set()  # names that cannot be read for now


@pytest.fixture(autouse=True)
def nothing_is_busy() -> None:
    busy.clear()


@input(observed=True)
def seen(name: str) -> int:
    if name in busy:
        raise OSError("busy")
    return 1


@input
def cell(name: str) -> int:
    return 0


@query
def known(name: str) -> int:
    return seen(name)


@query
def catching() -> int:
    try:
        return known("a")
    except OSError:
        return 0


def check_is_tried_again(db: Engine, top: Query[[], int]) -> None:
    """`top` gives -1 while "a" cannot be read and its cell is 0, and 11 after that."""
    busy.add("a")
    assert (db.get(top), db.get(catching), db.get(top)) == (-1, 0, -1)
    db.check_invariants()
    busy.clear()
    db.set(cell.key("a"), 1)
    assert db.get(top) == 11
    db.check_invariants()


def test_who_rests_on_a_group_is_marked_later_where_a_member_failed_for_a_moment_behind_another(
    db: Engine,
) -> None:
    @query
    def positive(name: str) -> int:
        if not cell(name):
            raise ValueError(name)
        return 10

    @query
    def both() -> int:
        return sum(each([positive.key("a"), known.key("a")]))

    @query
    def top() -> int:
        try:
            return both()
        except ValueError:
            return -1

    check_is_tried_again(db, top)


@pytest.mark.parametrize("ring_first", [True, False])
def test_who_stands_on_a_ring_is_tried_again_with_a_member_of_its_group_that_failed_for_a_moment(
    db: Engine, ring_first: bool
) -> None:
    @query
    def back() -> int:
        return 10 if cell("a") else both()

    @query
    def both() -> int:
        several = [back.key(), known.key("a")]
        return sum(each(several if ring_first else several[::-1]))

    @query
    def top() -> int:
        try:
            return both()
        except CycleError:
            return -1

    check_is_tried_again(db, top)


def test_a_snapshot_raises_the_first_failure_of_a_group_also_where_a_later_one_is_of_a_moment(
    db: Engine,
) -> None:
    @query
    def bad() -> int:
        raise ValueError("bad")

    @query
    def both() -> int:
        return sum(each([bad.key(), known.key("a")]))

    @query
    def ring() -> int:
        return sum(each([known.key("a"), ring.key()]))

    busy.add("a")
    with pytest.raises(ValueError, match="bad"):
        db.get(both)
    with pytest.raises(CycleError):
        db.get(ring)
    with db.snapshot() as old:
        with pytest.raises(ValueError, match="bad"):
            old.get(both)
        with pytest.raises(CycleError):
            old.get(ring)
