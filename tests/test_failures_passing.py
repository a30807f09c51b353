"""What fails for a moment leaves nothing behind, in memos, tables, snapshots, feeds and subscriptions."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from engine import Engine, each, input, query

busy: set[str] = set()  # names that cannot be read for now
world: dict[str, int] = {}


@pytest.fixture(autouse=True)
def nothing_is_busy() -> None:
    busy.clear()
    world.clear()


def read(name: str) -> int:
    if name in busy:
        raise OSError("busy")
    return world.get(name, 1)


@input(observed=True)
def seen(name: str) -> int:
    return read(name)


@input(observed=True, persist=False)
def passing(name: str) -> int:
    return read(name)


@input
def cell(name: str) -> int:
    return 0


class Named(NamedTuple):
    name: str


@query
def known(name: str) -> int:
    return seen(name)


@query
def listed(name: str) -> list[int]:
    try:
        return [known(name)]
    except OSError:
        return []


def test_a_list_that_is_given_in_place_of_a_passing_failure_is_one_like_any_other(db: Engine) -> None:
    @query
    def twice(name: str) -> int:
        listed(name).append(7)
        return len(listed(name))

    for name in ("a", "new while it is busy"):
        busy.clear()
        db.sync()
        if name == "a":
            assert (db.get(listed, name), db.get(twice, name)) == ([1], 1)
        busy.add(name)
        db.sync()
        assert (db.get(listed, name), db.get(twice, name)) == ([], 0)
    busy.clear()
    assert (db.get(listed, "a"), db.get(twice, "a")) == ([1], 1)
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

    @query
    def other() -> int:
        return len(listed("a"))

    busy.add("a")
    assert (db.get(top), db.get(other), db.get(top)) == (-1, 0, -1)
    db.check_invariants()
    busy.clear()
    db.set(cell.key("a"), 1)
    assert db.get(top) == 11
    db.check_invariants()
