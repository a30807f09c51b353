"""What holds again does not run again: an edit that is undone puts earlier memos back."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine, input, query
from engine.query import Query
from tests.histories import cell, chosen, db, doubled, report, told

__all__ = ["db"]  # a fixture


@query(name="history:halves")
def halves(name: str) -> int:
    if cell(name) < 0:
        raise ValueError("negative")
    return cell(name) // 2


class Refused(Exception):
    """No built-in: it is not stored."""


@query(name="history:refuses")
def refuses(name: str) -> int:
    if cell(name) < 0:
        raise Refused(name)
    return cell(name)


@query(name="history:near", eq=lambda old, new: abs(old - new) < 2)
def near(name: str) -> int:
    return cell(name)


@query(name="history:unkept", persist=False)
def unkept(name: str) -> int:
    return 3 * cell(name)


@query(name="history:over")
def over(name: str) -> int:
    return unkept(name) + 1


def test_an_edit_that_is_undone_runs_nothing(db: Engine) -> None:
    before = db.get(report)
    db.set(cell.key("a"), 5)
    assert db.get(report) == "0 (10, 0)"
    with told(db) as events:
        db.set(cell.key("a"), 0)
        assert db.get(report) == before
    assert events == ["restored doubled('a')", "restored report()"]
    assert "a memo that it had holds again" in str(db.why(report))


def test_a_memo_that_nobody_asked_for_meanwhile_is_proven(db: Engine) -> None:
    db.get(report)
    db.set(cell.key("a"), 5)
    db.set(cell.key("a"), 0)
    before = db.counts()
    assert db.get(report) == "0 (0, 0)"
    more = db.counts() - before
    assert (more.executed, more.restored, more.verified) == (0, 0, 1)


def test_going_back_and_forth_runs_what_is_new_only(db: Engine) -> None:
    for name, switch in (("branch 0", 0), ("branch 1", 1)):
        db.set(cell.key("switch"), switch)
        db.set(cell.key(name), 7)
        db.get(report)
    before = db.counts()
    for turn in range(6):
        db.set(cell.key("switch"), turn % 2)
        assert db.get(report) == "14 (0, 0)"
    assert (db.counts() - before).executed == 0


def test_what_an_earlier_memo_read_is_asked_for_only_as_far_as_a_run_would(db: Engine) -> None:
    """`chosen` reads another key than last time: that of the memo before is not brought up to date."""
    db.get(chosen)
    db.set(cell.key("switch"), 1)
    db.get(chosen)
    with db.batch():
        db.set(cell.key("switch"), 2)
        db.set(cell.key("branch 0"), 1)
        db.set(cell.key("branch 1"), 1)
    with told(db) as events:
        assert db.get(chosen) == 0
    assert events == ["ran chosen()", "ran doubled('branch 2')"] or events == [
        "ran doubled('branch 2')",
        "ran chosen()",
    ]


def test_an_earlier_memo_over_something_that_differs_runs(db: Engine) -> None:
    db.get(chosen)
    db.set(cell.key("switch"), 1)
    db.get(chosen)
    with db.batch():
        db.set(cell.key("switch"), 0)
        db.set(cell.key("branch 0"), 4)
    with told(db) as events:
        assert db.get(chosen) == 8
    assert events == ["ran doubled('branch 0')", "ran chosen()"]


def test_a_failure_that_comes_again_is_put_back(db: Engine) -> None:
    for value in (-1, 4):
        db.set(cell.key("a"), value)
        with told(db) as events:
            _ask(db, halves, "a")
        assert events == ["ran halves('a')"]
    for value in (-1, 4, -1):
        db.set(cell.key("a"), value)
        with told(db) as events:
            assert _ask(db, halves, "a") == ("negative" if value < 0 else 2)
        assert events == ["restored halves('a')"]


def test_a_failure_that_is_not_stored_runs_again(db: Engine) -> None:
    for value in (-1, 4, -1):
        db.set(cell.key("a"), value)
        with told(db) as events:
            if value < 0:
                with pytest.raises(Refused):
                    db.get(refuses, "a")
            else:
                assert db.get(refuses, "a") == 4
        assert events == ["ran refuses('a')"]


def test_a_query_with_eq_runs_again_because_its_value_depends_on_the_one_before(db: Engine) -> None:
    for value, seen in ((0, 0), (5, 5), (6, 5), (0, 0)):
        db.set(cell.key("a"), value)
        with told(db) as events:
            assert db.get(near, "a") == seen
        assert events == ["ran near('a')"]


def test_a_value_that_is_not_kept_is_proven_and_computed_only_where_somebody_reads_it(db: Engine) -> None:
    for value in (0, 1):
        db.set(cell.key("a"), value)
        db.get(over, "a")
    with told(db) as events:
        db.set(cell.key("a"), 0)
        assert db.get(over, "a") == 1
        assert db.get(unkept, "a") == 0
    assert events == ["restored unkept('a')", "restored over('a')", "ran unkept('a')"]


def test_forget_forgets_what_was_earlier(db: Engine) -> None:
    for value in (0, 1):
        db.set(cell.key("a"), value)
        db.get(doubled, "a")
    db.forget("history:doubled(*")
    db.get(doubled, "a")
    with told(db) as events:
        db.set(cell.key("a"), 0)
        db.get(doubled, "a")
    assert events == ["ran doubled('a')"]


def test_memos_of_other_code_are_not_put_back(tmp_path: Path) -> None:
    def define(factor: int) -> Query[[], int]:
        @query(name="history:scaled", version=factor)
        def scaled() -> int:
            return factor * cell("a")

        return scaled

    with Engine(tmp_path / "store", history=4) as db:
        for value in (1, 2):
            db.set(cell.key("a"), value)
            db.get(define(10))
        scaled = define(100)
        assert db.get(scaled) == 200
        db.set(cell.key("a"), 1)
        with told(db) as events:
            assert db.get(scaled) == 100
        assert events == ["ran scaled()"]


def test_without_a_history_everything_runs_again(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=0) as db:
        for value in (0, 1, 0, 1):
            db.set(cell.key("a"), value)
            with told(db) as events:
                db.get(doubled, "a")
            assert events == ["ran doubled('a')"]
        assert db.store is not None
        assert db.store.statistics().rows["earlier"] == 0


def test_workers_put_back_what_one_would(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4, workers=3) as db:
        for value in (0, 1, 0, 1):
            for name in "ab":
                db.set(cell.key(name), value)
            before = db.counts()
            db.get(report)
        assert (db.counts() - before).executed == 0
        assert (db.counts() - before).restored == 3


def _ask(db: Engine, asked: Query[[str], int], name: str) -> int | str:
    try:
        return db.get(asked, name)
    except ValueError as error:
        return str(error)


def test_a_key_that_nobody_read_when_it_changed_is_known_as_it_was(tmp_path: Path) -> None:
    """Who comes back to it comes back to the memo of then."""

    @input
    def which() -> str:
        return "x"

    @input
    def value_of(name: str) -> int:
        return 1

    @query
    def reads() -> int:
        return value_of(which())

    with Engine(tmp_path / "store") as db:
        assert db.get(reads) == 1
        db.set(which.key(), "y")
        db.set(value_of.key("y"), 7)
        assert db.get(reads) == 7
        db.set(value_of.key("x"), 2)  # read by nobody now
        db.set(which.key(), "x")
        assert db.get(reads) == 2
        db.set(value_of.key("x"), 1)
        before = db.counts()
        assert db.get(reads) == 1
        after = db.counts() - before
        assert (after.executed, after.restored) == (0, 1)
