"""What is told of keys that failed, of tables and of folds."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

from engine import BadTable, Count, Engine, fold, input, query, table
from engine.rules.files import read_text


@input
def divisor() -> int:
    return 0


@query
def quotient(number: int) -> int:
    return number // divisor()


@query
def one_more(number: int) -> int:
    return quotient(number) + 1


@query
def first_line(path: str) -> str:
    return read_text(path).splitlines()[0]


@query
def numbers() -> tuple[int, ...]:
    return (1, 2)


@frozen
class Row:
    number: int


@table(each=numbers, index=("number",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number)


@table(each=numbers)
def quotients(number: int) -> Iterable[Row]:
    yield Row(quotient(number))


@query
def twice(number: int) -> int:
    return 2 * number


how_many = fold(each=numbers, of=twice, into=Count())


@pytest.mark.parametrize("where", [None, ".engine"])
def test_why_tells_the_error_of_a_key_that_failed(tmp_path: Path, where: str | None) -> None:
    with Engine(where and tmp_path / where, root=tmp_path) as db:
        with pytest.raises(ZeroDivisionError) as raised:
            db.get(quotient, 1)
        assert db.why(quotient, 1).error == f"ZeroDivisionError: {raised.value}"
        with pytest.raises(Exception, match="no such file"):
            db.get(first_line, "a.txt")
        told = db.why(first_line, "a.txt").error
        assert told == "FileMissing: there is no such file (path: a.txt, it is: missing)"
        db.set(divisor.key(), 1)
        db.get(quotient, 1)
        assert db.why(quotient, 1).error == ""


@pytest.mark.parametrize("where", [None, ".engine"])
def test_why_tells_the_error_of_a_failing_member_of_a_table(tmp_path: Path, where: str | None) -> None:
    path = where and tmp_path / where
    with Engine(path, root=tmp_path) as db:
        assert db.get(quotients) == ()
        assert db.why(quotients, 1).error.startswith("ZeroDivisionError: ")
    if path:
        with Engine(path, root=tmp_path, read_only=True) as db:
            assert db.why(quotients, 1).error.startswith("ZeroDivisionError: ")


def test_why_tells_the_error_from_the_store_where_no_module_is_loaded(tmp_path: Path) -> None:
    with Engine(tmp_path / ".engine", root=tmp_path) as db, pytest.raises(ZeroDivisionError):
        db.get(quotient, 1)
    with Engine(tmp_path / ".engine", root=tmp_path, read_only=True) as db:
        assert db.why(quotient, 1).error.startswith("ZeroDivisionError: ")


def test_a_table_and_a_fold_that_ran_for_the_first_time_had_never_run(tmp_path: Path) -> None:
    for path in (None, tmp_path / ".engine"):
        with Engine(path, root=tmp_path) as db:
            assert db.get(rows.count) == 2
            assert db.get(how_many) == 2
            assert db.why(rows).reason == "it had never run"
            assert db.why(how_many).reason == "it had never run"


def test_two_folds_that_would_have_one_name_are_told_to_take_names_of_their_own(tmp_path: Path) -> None:
    @query
    def half(number: int) -> int:
        return number // 2

    first = fold(each=numbers, of=half, into=Count())
    second = fold(each=numbers, of=half, into=Count())
    with Engine(None, root=tmp_path) as db:
        assert db.get(second) == 2
        with pytest.raises(BadTable, match=r"(?s)half\.Count.*fold\(\.\.\., name=\.\.\.\)"):
            db.get(first)


def test_between_the_call_of_a_host_and_the_query_that_failed_no_frames_of_the_engine_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(db: Engine) -> list[str]:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # any: it is about the way, not about the error
            db.get(one_more, 1)
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    def bug(*_: object) -> None:
        raise AssertionError("ours")

    with Engine(None, root=tmp_path) as db:
        for _ in range(2):
            assert told(db) == ["told", "get", "quotient"]
        monkeypatch.setattr("engine.request.answer", bug)
        whole = told(db)  # no query's error: nothing is left out of it
        assert whole[-1] == "bug"
        assert len(whole) > 5
