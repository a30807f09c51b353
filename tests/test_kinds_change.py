"""A name whose kind becomes another one between two starts: what it was before says nothing of what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Sum, fold, input, query

NAME = "test_kinds_change:text"
WORLD: dict[str, str] = {}


def text(name: str) -> str:
    return WORLD[name]


KINDS: dict[str, Callable[[], Any]] = {
    "query": lambda: query(name=NAME, code="none")(text),
    "untracked query": lambda: query(name=NAME, code="none", untracked=True)(text),
    "cell": lambda: input(name=NAME)(text),
    "observed input": lambda: input(name=NAME, observed=True)(text),
}


MADE: list[Any] = []


def reader(kind: str) -> Any:
    asked = KINDS[kind]()
    MADE.append(asked)

    @query(name="test_kinds_change:loud")
    def loud(name: str) -> str:
        return f"{asked(name)}!"

    return loud


@pytest.mark.parametrize("after", ["untracked query", "observed input"])
@pytest.mark.parametrize("before", list(KINDS))
@pytest.mark.parametrize("reloaded", [False, True])
def test_a_query_that_becomes_untracked_or_an_input_is_another_one(
    tmp_path: Path, before: str, after: str, reloaded: bool
) -> None:
    WORLD["a"] = "one"
    db = Engine(tmp_path / "store", root=tmp_path)
    assert db.get(reader(before), "a") == "one!"
    if not reloaded:
        db.close()
        db = Engine(tmp_path / "store", root=tmp_path)
    loud = reader(after)
    assert db.get(loud, "a") == "one!"
    for said in ("two", "three"):
        WORLD["a"] = said
        db.set(other.key(), said)
        db.sync()
        assert db.get(loud, "a") == f"{said}!"
    db.check_invariants()
    db.close()


@input
def other() -> str:
    return ""


@pytest.mark.parametrize("reloaded", [False, True])
def test_what_is_untracked_no_more_runs_once_more_and_then_rests(tmp_path: Path, reloaded: bool) -> None:
    WORLD["a"] = "one"
    db = Engine(tmp_path / "store", root=tmp_path)
    assert db.get(reader("untracked query"), "a") == "one!"
    if not reloaded:
        db.close()
        db = Engine(tmp_path / "store", root=tmp_path)
    loud = reader("query")
    assert db.get(loud, "a") == "one!"
    before = db.counts()
    for said in ("two", "three"):
        db.set(other.key(), said)
        assert db.get(loud, "a") == "one!"
    assert (db.counts() - before).executed == 0
    db.close()
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.set(other.key(), "four")
        assert db.get(loud, "a") == "one!"
        assert db.counts().executed == 0


@pytest.mark.parametrize("after", ["query", "untracked query", "observed input"])
@pytest.mark.parametrize("reloaded", [False, True])
def test_what_the_host_set_of_a_cell_says_nothing_of_what_is_none_any_more(
    tmp_path: Path, after: str, reloaded: bool
) -> None:
    WORLD["a"] = "one"
    db = Engine(tmp_path / "store", root=tmp_path)
    loud = reader("cell")
    db.set(MADE[-1].key("a"), "set")
    assert db.get(loud, "a") == "set!"
    if not reloaded:
        db.close()
        db = Engine(tmp_path / "store", root=tmp_path)
    assert db.get(reader(after), "a") == "one!"
    db.close()
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(reader("cell"), "a") == "one!"
        assert db.verify().differences == ()


def close(old: int, new: int) -> bool:
    return abs(old - new) < 5


def exact(old: int, new: int) -> bool:
    return old == new


@input
def measured() -> int:
    return 10


@pytest.mark.parametrize("after", [None, exact])
def test_what_a_coarser_eq_kept_is_not_kept_by_a_finer_one(tmp_path: Path, after: Any) -> None:
    def shown() -> int:
        return measured()

    for eq, right in ((close, 10), (after, 12)):
        about = query(name="test_kinds_change:about", eq=eq)(shown)
        with Engine(tmp_path / "store", root=tmp_path) as db:
            db.get(about)
            db.set(measured.key(), 12)
            assert db.get(about) == right
            assert db.verify().differences == ()


def test_members_of_a_fold_whose_name_a_query_took_over_are_computed_all_the_same(tmp_path: Path) -> None:
    """They looked for its value to force it, which is another query's now: the request failed by that."""

    @input(name="kinds:added")
    def added() -> int:
        return 1

    @query(name="kinds:summand")
    def summand(n: int) -> int:
        return n + added()

    def the_fold() -> Any:
        return fold(each=numbers, of=summand, into=Sum(), name="kinds:total")

    @query(name="kinds:numbers")
    def numbers() -> tuple[int, ...]:
        return 1, 2

    with Engine(tmp_path / "store") as db:
        assert db.get(the_fold()) == 5

    @query(name="kinds:total")
    def total() -> str:
        return "none"

    with Engine(tmp_path / "store") as db:
        assert db.get(total) == "none"
        db.set(added, 2)
        assert db.get(summand, 1) == 3
        assert db.get(the_fold()) == 7
        db.check_invariants()
