"""The oracle of necessity finds what ran in vain, and lets pass what had to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from attrs import frozen

from engine import Engine, input, query, table
from tests.necessity import Necessity


@input
def text(name: str) -> str:
    return ""


@input
def names() -> tuple[str, ...]:
    return ("a", "b")


@query
def length(name: str) -> int:
    return len(text(name))


@query
def is_long(name: str) -> bool:
    return length(name) > 3


@frozen
class Letter:
    letter: str
    name: str


@table(each=names, index=("letter",))
def letters(name: str) -> Iterable[Letter]:
    return [Letter(letter, name) for letter in sorted(set(text(name)))]


@query
def places(letter: str) -> int:
    return len(letters.where(letter=letter))


@pytest.fixture
def db() -> Iterator[Engine]:
    with Engine(None) as engine:
        engine.set(text.key("a"), "xyz")
        ask(engine)
        yield engine


def ask(db: Engine) -> None:
    for name in ("a", "b"):
        db.get(is_long, name)
    for letter in "xyz":
        db.get(places, letter)


def test_what_rests_on_a_change_had_to_run(db: Engine) -> None:
    necessity = Necessity(db)
    db.set(text.key("a"), "xyy")
    ask(db)
    assert [name.rpartition(":")[2] for name in necessity.check()] == [
        "length('a')", "letters('a')", "letters.where(letter='z')", "places('z')",
    ]  # fmt: skip
    ask(db)
    assert necessity.check() == []


@pytest.mark.parametrize(
    "pattern", ["*:length('b')", "*:letters('b')", "*letters.where(letter='x')", "*places*"]
)
def test_what_runs_though_nothing_changed_ran_in_vain(db: Engine, pattern: str) -> None:
    necessity = Necessity(db)
    db.forget(pattern)
    ask(db)
    with pytest.raises(AssertionError, match="in vain"):
        necessity.check()


def test_a_lookup_that_no_changed_row_concerns_ran_in_vain(db: Engine) -> None:
    necessity = Necessity(db)
    db.set(text.key("a"), "xyy")
    db.forget("*letters.where(letter='x')")
    ask(db)
    with pytest.raises(AssertionError, match=r"letter='x'"):
        necessity.check()


def test_a_row_that_came_and_went_before_it_was_looked_for_concerns_the_lookup(db: Engine) -> None:
    necessity = Necessity(db)
    for value in ("xyy", "xyz"):
        db.set(text.key("a"), value)
        db.get(places, "x")
        necessity.check()
    ask(db)
    assert "places('z')" not in [name.rpartition(":")[2] for name in necessity.check()]


def test_a_member_that_comes_again_runs_again(db: Engine) -> None:
    necessity = Necessity(db)
    db.set(names.key(), ("b",))
    ask(db)
    assert "letters('a')" not in str(necessity.check())
    db.set(names.key(), ("a", "b"))
    ask(db)
    assert "letters('a')" in str(necessity.check())
