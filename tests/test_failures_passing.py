"""What fails for a moment leaves nothing behind, in memos, tables, snapshots, feeds and subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, Key, NewValue, Set, SnapshotLost, fold, input, persist, query, table
from engine.look import look_at, take

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


@pytest.mark.parametrize("held", [True, False])
def test_a_snapshot_does_not_take_what_cannot_be_read_now_for_what_was(db: Engine, held: bool) -> None:
    @query
    def safe(name: str) -> int:
        try:
            return seen(name) if held else passing(name)
        except OSError:
            return -1

    @query
    def another(name: str) -> int:
        return safe(name) + 1

    assert db.get(safe, "a") == 1
    for number in range(3):  # what is not kept goes
        db.set(cell.key("b"), number + 1)
    with db.snapshot() as old:
        busy.add("a")
        db.sync()
        assert db.get(safe, "a") == -1
        assert old.get(safe, "a") == 1
        if held:
            assert (old.get(seen, "a"), old.get(another, "a")) == (1, 2)
        else:
            with pytest.raises(SnapshotLost):
                old.get(passing, "a")
        busy.clear()
        db.sync()
        assert db.get(safe, "a") == old.get(safe, "a") == 1


def test_a_snapshot_is_lost_where_nobody_kept_what_cannot_be_read_now(db: Engine) -> None:
    @query
    def safe(name: str) -> int:
        try:
            return passing(name)
        except OSError:
            return -1

    assert db.get(passing, "a") == 1
    for number in range(3):  # its value goes, its memo holds
        db.set(cell.key("b"), number + 1)
    with db.snapshot() as old:
        busy.add("a")
        with pytest.raises(SnapshotLost):
            old.get(safe, "a")
        with pytest.raises(OSError, match="busy"):
            db.get(passing, "a")
        with pytest.raises(SnapshotLost):
            old.get(safe, "a")


def followed(db: Engine, key: Key[int]) -> Callable[[], list[int | str | None]]:
    feed = db.changes(key, since="test")

    def told(new: NewValue[int]) -> int | str | None:
        return new.value if new.error is None else str(new.error)

    return lambda: [told(new) for new in feed]


def test_a_consumer_is_told_the_value_that_holds_again_after_a_failure_for_a_moment(db: Engine) -> None:
    assert db.get(known, "a") == 1
    busy.add("a")
    db.sync()
    told = followed(db, known.key("a"))
    assert told() == ["busy"]
    assert told() == [], "and not the same once more"
    busy.clear()
    assert told() == [1]
    world["a"] = 2
    db.sync()
    assert db.get(known, "a") == 2
    busy.add("a")
    db.sync()
    assert told() == ["busy"]
    busy.clear()
    assert told() == [2]
    busy.add("a")
    db.sync()
    assert told() == ["busy"], "also where what it was told last is what there was before"
    busy.clear()
    assert told() == [2]


def test_a_subscriber_is_told_the_value_that_holds_again_after_a_failure_for_a_moment(db: Engine) -> None:
    told: list[object] = []

    @query(name="passing:defined_twice")
    def first() -> int:
        return known("a")

    db.subscribe(first, told.append)

    @query(name="passing:defined_twice")
    def second() -> int:
        return known("a") + 5

    assert db.get(second) == 6
    busy.add("a")
    db.sync()
    assert list(map(str, told)) == ["busy"]
    db.set(cell.key("b"), 1)
    assert len(told) == 1, "not the same once more"
    busy.clear()
    db.sync()
    assert told[1:] == [6]
    busy.add("a")
    db.sync()
    assert list(map(str, told[2:])) == ["busy"], "also where what it was told last is what there was before"
    busy.clear()
    db.sync()
    assert told[3:] == [6]


def test_a_failure_for_a_moment_is_held_while_a_long_request_commits(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @query(persist=False)
    def unkept() -> int:
        found = seen("a")
        if "disk" in busy:
            raise OSError("busy")
        return found

    @query
    def reader() -> int:
        return unkept()

    @query
    def long() -> int:
        try:
            return unkept()
        except OSError:
            return cell("b") + len(listed("c"))

    @query
    def longer() -> int:
        found = long()
        try:
            return unkept()
        except OSError:
            return found

    with Engine(store, history=0) as db:
        assert db.get(reader) == 1
        busy.add("disk")
        world["a"] = 2
        with db._core.sync_lock:  # as a watch does, which leaves the commit to the next request
            take(db._core, look_at(db._core), "looked at", commits=False)
        monkeypatch.setattr(persist, "CHUNK_NODES", 1)
        assert db.get(longer) == 1
        busy.clear()
        assert db.get(reader) == 2
        assert not db.notes(), "nothing is said not to be pure"
        db.check_invariants()


def test_keys_of_a_table_that_are_those_of_a_moment_are_its_keys_for_that_moment(db: Engine) -> None:
    @query
    def names() -> tuple[str, ...]:
        try:
            return ("a", "b")[: known("a") + 1]
        except OSError:
            return ("c",)

    @table(each=names, index=("name",))
    def named(name: str) -> Iterable[Named]:
        yield Named(name)

    @query
    def shown() -> str:
        return " ".join(row.name for row in named.where())

    assert db.get(shown) == "a b"
    for _ in range(2):
        busy.add("a")
        db.sync()
        assert (db.get(shown), db.get(named.of, "a"), db.get(named.count, name="c")) == ("c", (), 1)
        busy.clear()
        assert (db.get(shown), len(db.get(named.of, "a")), db.get(named.count, name="c")) == ("a b", 1, 0)
        db.check_invariants()
    assert not db.audit(named).differences


def test_a_member_that_catches_what_fails_for_a_moment_is_right_for_an_audit(db: Engine) -> None:
    @query
    def names() -> tuple[str, ...]:
        return ("a", "b")

    @table(each=names, index=("name",))
    def named(name: str) -> Iterable[Named]:
        yield Named(f"{name}{len(listed(name))}")

    total = fold(each=names, of=listed, into=Set(flatten=True), name="passing:total")
    busy.add("a")
    assert [row.name for row in db.get(named.where)] == ["a0", "b1"]
    assert db.get(total) == {1}
    assert not db.audit(named).differences
    assert not db.audit(total).differences
