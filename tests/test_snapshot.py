"""A snapshot answers for its revision, whatever the engine does meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import Closed, Engine, Key, View, each, input, query, table


@input
def cell(name: str) -> int:
    return 0


@query
def double(name: str) -> int:
    return cell(name) * 2


@query
def listed(name: str) -> list[int]:
    return [cell(name)]


@query
def total() -> int:
    return sum(each(double, ["a", "b", "c"]))


@query
def inverse() -> int:
    return 10 // cell("a")


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None) as engine:
        yield engine


def test_a_value_that_was_known_stays(db: Engine) -> None:
    db.set(cell.key("a"), 1)
    assert db.get(total) == 2
    with db.snapshot() as old:
        db.set(cell.key("a"), 5)
        assert db.get(total) == 10
        assert old.get(total) == 2
        assert old.get(cell, "a") == 1
        assert old.revision == db.revision - 1


def test_what_was_not_known_is_computed_from_the_inputs_as_they_were(db: Engine) -> None:
    db.set(cell.key("a"), 1)
    with db.snapshot() as old:
        db.set(cell.key("a"), 5)
        before = db.counts()
        assert old.get(total) == 2
        assert db.counts() == before, "the engine did something"
        assert db.get(total) == 10


def test_a_stale_value_of_the_engine_is_not_taken_for_the_snapshots(db: Engine) -> None:
    assert db.get(total) == 0
    db.set(cell.key("a"), 1)  # total is not asked for at this revision
    with db.snapshot() as old:
        db.set(cell.key("a"), 0)
        assert db.get(total) == 0
        assert old.get(total) == 2


def test_errors_and_mutable_values_are_held_too(db: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        db.get(inverse)
    db.get(listed, "a")
    with db.snapshot() as old:
        db.set(cell.key("a"), 5)
        assert db.get(inverse) == 2
        with pytest.raises(ZeroDivisionError):
            old.get(inverse)
        old.get(listed, "a").append(7)
        assert old.get(listed, "a") == [0]
        assert db.get(listed, "a") == [5]


def test_several_snapshots_see_each_their_own(db: Engine) -> None:
    with db.snapshot() as first:
        db.set(cell.key("b"), 1)
        db.get(total)
        with db.snapshot() as second:
            db.set(cell.key("b"), 2)
            assert [first.get(total), second.get(total), db.get(total)] == [0, 2, 4]


def test_a_closed_snapshot_says_so(db: Engine) -> None:
    with db.snapshot() as old:
        pass
    with pytest.raises(Closed):
        old.get(total)


def test_a_subscriber_hears_of_changes_and_of_nothing_else(db: Engine) -> None:
    heard: list[int] = []
    with db.subscribe(total, heard.append):
        db.set(cell.key("z"), 1)
        db.set(cell.key("a"), 3)
        db.set(cell.key("a"), 3)
        with db.batch():
            db.set(cell.key("a"), 4)
            db.set(cell.key("b"), -4)
        assert heard == [6, 0]
    db.set(cell.key("a"), 9)
    assert heard == [6, 0]


def test_a_failing_subscriber_stops_nobody(db: Engine, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def fail(value: int) -> None:
        raise RuntimeError("deaf")

    db.subscribe(total, fail)
    db.subscribe(total, heard.append)
    db.set(cell.key("a"), 1)
    db.set(cell.key("a"), 2)
    assert heard == [2, 4]
    assert [record.getMessage().split()[:2] for record in caplog.records] == [["a", "subscriber"]] * 2


def test_a_snapshot_of_a_closed_engine_answers_no_more(db: Engine) -> None:
    """Its lists are gone: a cell that the host set would be taken for its default."""
    db.set(cell.key("a"), 1)
    db.get(double, "a")
    with db.snapshot() as old:
        assert old.get(total) == 2
        db.close()
        for key in (double.key("a"), double.key("b"), total.key(), cell.key("a")):
            with pytest.raises(Closed):
                old.get(key)


@query
def closing() -> int:
    """Closes the engine in the middle of a request of its snapshot."""
    for engine in opened:
        engine.close()
    return cell("a")


opened: list[Engine] = []


def test_a_snapshot_whose_engine_is_closed_meanwhile_answers_no_more(db: Engine) -> None:
    db.set(cell.key("a"), 1)
    with db.snapshot() as old:
        opened.append(db)
        try:
            with pytest.raises(Closed):
                old.get(closing)
        finally:
            opened.clear()


@query
def names() -> tuple[str, ...]:
    return ("a", "b")


class Line(NamedTuple):
    of: str
    text: str


def test_a_failure_that_is_not_kept_is_tried_again_in_a_snapshot_too(db: Engine) -> None:
    in_the_way: list[OSError] = []

    @query(persist=False)
    def shy() -> int:
        for error in in_the_way:
            raise error
        return cell("a")

    assert db.get(shy) == 0
    for number in range(4):  # its value goes, its memo holds
        db.set(cell.key("b"), number)
        db.get(double, "b")
    with db.snapshot() as old:
        in_the_way.append(OSError("busy"))
        with pytest.raises(OSError, match="busy"):
            db.get(shy)
        in_the_way.clear()
        assert old.get(shy) == 0


def test_rows_that_a_failure_for_a_moment_hid_are_seen_by_who_asks_a_snapshot_again(db: Engine) -> None:
    in_the_way: list[OSError] = [OSError("busy")]

    @query
    def shy(name: str) -> str:
        for error in in_the_way:
            raise error
        return name

    @table(each=names, index=("text",), name="snapshot:shy")
    def shown(name: str) -> Iterable[Line]:
        yield Line(name, shy(name))

    with db.snapshot() as old:
        assert old.get(shown.count) == 0
        in_the_way.clear()
        assert old.get(shown.count) == 2
        assert len(old.get(shown.where)) == 2


def test_a_snapshot_runs_the_members_of_a_table_alone_that_changed_since(db: Engine) -> None:
    ran: list[str] = []

    @query
    def many() -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(cell("size")))

    @table(each=many, index=("text",), name="snapshot:sized")
    def sized(name: str) -> Iterable[Line]:
        ran.append(name)
        yield Line(name, str(cell(name)))
        if cell(name) < 0:
            raise ValueError("negative")

    db.set(cell.key("size"), 50)
    db.set(cell.key("n4"), -1)
    assert db.get(sized.count) == 49
    with db.snapshot() as old:
        db.set(cell.key("n1"), 7)  # settled before the snapshot is asked
        db.set(cell.key("size"), 40)
        assert db.get(sized.count) == 39
        db.set(cell.key("n2"), 7)  # not settled
        ran.clear()
        assert old.get(sized.count, text="0") == 49
        assert [row.of for row in old.get(sized.where, text="0")][:3] == ["n0", "n1", "n10"]
        assert len(old.get(sized.failures)) == 1
        assert old.get(sized.of, "n1") == (Line("n1", "0"),)
        # Of what failed no rows are kept, and of members that left neither.
        assert sorted(ran) == ["n4", *(f"n{number}" for number in range(40, 50))]
        assert db.get(sized.where, text="7") == (Line("n1", "7"), Line("n2", "7"))


def test_what_a_member_of_a_table_gives_comes_to_a_snapshot_as_it_was_given(tmp_path: Path) -> None:
    """Rows are kept as a set: who reads the member itself sees all of them, in their order."""

    @table(each=names, index=("text",), name="snapshot:turned")
    def turned(name: str) -> Iterable[Line]:
        yield Line(name, "z")
        yield Line(name, "a")
        yield Line(name, "a")

    @query
    def given(name: str) -> tuple[str, ...]:
        return tuple(line.text for line in turned(name))

    with Engine(tmp_path) as db:
        some = db.get(turned.where)[0].of
    with Engine(tmp_path) as db, db.snapshot() as old:
        assert old.get(turned.count) == len(db.get(turned.where))
        assert old.get(given, some) == db.get(given, some) == ("z", "a", "a")


@query
def random_names() -> tuple[str, ...]:
    return tuple(f"r{number}" for number in range(8) if not cell("without") >> number & 1)


@table(each=random_names, index=("text",))
def random_lines(name: str) -> Iterable[Line]:
    for number in range(cell(name) % 3):
        yield Line(name, str(number))
    if cell(name) == 5:
        raise ValueError(name)


@table(each=random_names, index=("text",))
def counted(name: str) -> Iterable[Line]:
    yield Line(name, str(random_lines.count(text=str(cell(name) % 2))))


@pytest.mark.parametrize("seed", range(12))
def test_tables_in_snapshots_after_random_edits_are_those_of_their_revision_from_scratch(
    db: Engine, seed: int
) -> None:
    chance, values = random.Random(seed), dict[str, int]()
    asked = [random_lines.where.key(), random_lines.failures.key(), counted.where.key()]
    asked += [random_lines.of.key("r3"), *(random_lines.where.key(text=text) for text in "01")]

    def edit() -> None:
        name = chance.choice(["without", *(f"r{number}" for number in range(8))])
        values[name] = chance.randrange(256 if name == "without" else 7)
        db.set(cell.key(name), values[name])

    for _ in range(12):
        edit()
        for key in asked:
            if chance.random() < 0.5:
                told(db, key)
        if chance.random() < 0.2:
            db.forget("*random_lines*")
        with Engine(None) as scratch, db.snapshot() as old:
            for name, value in values.items():
                scratch.set(cell.key(name), value)
            for _ in range(3):
                edit()
                told(db, chance.choice(asked))
            for key in chance.sample(asked, len(asked)):
                assert told(old, key) == told(scratch, key)


def told(db: Engine | View, key: Key[Any]) -> object:
    try:
        return db.get(key)
    except ValueError as error:  # of a member that was asked for by itself
        return str(error)
