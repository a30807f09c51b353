"""Two failures are equal where nobody can tell them apart; who shows one runs again for another one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine import Engine, EngineError, What, input, query
from engine.failure import Failure
from engine.rules.files import FileMissing
from engine.store.canonical import canonical

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


class Refused(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__()
        self.why = why


@input(name="failing:why")
def why() -> str:
    return "late"


@query(name="failing:wrong")
def wrong() -> int:
    return {"late": "x", "soon": 2.5}.get(why(), "x")  # type: ignore[return-value]  # what the test is about


@query(name="failing:refuse")
def refuse() -> int:
    raise Refused(why=why().strip())


@query(name="failing:late")
def late() -> str:
    try:
        refuse()
    except Refused as error:
        return error.why
    return "never"


@query(name="failing:noted")
def noted() -> int:
    error = ValueError("no")
    error.code = why()  # type: ignore[attr-defined]  # as libraries put fields on errors
    raise error


@query(name="failing:shown")
def shown() -> str:
    told = []
    for ask in (wrong, refuse, noted):
        try:
            ask()
        except (EngineError, Refused, ValueError) as error:
            told.append(f"{error}{getattr(error, 'why', '')}{getattr(error, 'code', '')}")
    return " / ".join(told)


@pytest.mark.parametrize("stored", [False, True])
def test_what_an_error_was_given_by_name_is_part_of_it(stored: bool, tmp_path: Path) -> None:
    def store() -> Path | None:
        return tmp_path / "store" if stored else None

    with Engine(store()) as db:
        db.set(why.key(), "late")
        db.get(shown)
        db.set(why.key(), "soon")
        with Engine(None) as scratch:
            scratch.set(why.key(), "soon")
            expected = scratch.get(shown)
        assert db.get(shown) == expected
        assert "float" in expected
        assert expected.count("soon") == 2
    with Engine(store()) as db:
        db.set(why.key(), "soon")
        assert db.get(shown) == expected


def test_an_equal_failure_runs_nobody() -> None:
    with Engine(None) as db:
        db.get(shown)
        db.get(late)
        ran: list[str] = []
        db.listen(lambda event: ran.append(str(event.key)) if event.what in RAN else None)
        db.set(why.key(), "late ")
        with pytest.raises(Refused):
            db.get(refuse)
        db.get(late)
        assert ran == ["failing:refuse()"]


WORDS = ["one"]


class Worded(Exception):
    def __str__(self) -> str:
        return WORDS[0]


@query(name="failing:worded")
def worded() -> int:
    why()
    raise Worded


@query(name="failing:told")
def told() -> str:
    try:
        return str(worded())
    except Exception as error:  # who does not know the class
        return str(error)


def test_a_failure_whose_class_says_something_else_of_it_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Engine(None) as db:
        assert db.get(told) == "one"
        monkeypatch.setattr(f"{__name__}.WORDS", ["two"])  # as an edit of the class does
        db.set(why.key(), "soon")
        assert db.get(told) == "two"


def test_an_input_that_is_not_stored_and_fails_as_before_starts_no_revision() -> None:
    said = ["x"]
    ran = []

    @input(observed=True, persist=False)
    def number() -> int:
        return int(said[0][0])

    @query
    def reader() -> str:
        ran.append(1)
        try:
            return str(number())
        except ValueError as error:
            return str(error)

    with Engine(None) as db:
        told = db.get(reader)
        said[0] = "xy"  # it fails as it did
        assert (db.sync(), db.revision) == (0, 1)
        assert (db.get(reader), len(ran)) == (told, 1)


def test_stored_bytes_have_no_module_asked_for_a_name_but_those_of_whom_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    lazy = ModuleType("lazy_of_a_user")
    lazy.__dict__["__getattr__"] = asked.append  # it would import what it is asked for
    monkeypatch.setitem(sys.modules, lazy.__name__, lazy)
    assert Failure.restored(canonical(("lazy_of_a_user:Heavy", (), ()))) is None
    assert asked == []


def test_a_failure_of_the_rules_that_was_given_other_arguments_is_told_as_it_is() -> None:
    @query
    def reader() -> str:
        missing = FileMissing(why(), "missing")
        missing.args = ("no recipe",)
        raise missing

    with Engine(None) as db:
        for _ in range(2):
            with pytest.raises(FileMissing) as caught:
                db.get(reader)
            assert caught.value.args == ("no recipe",)
        assert db.counts().executed == 1
