"""A verification computes once more what it was asked to, and takes what may differ for no difference."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest

from engine import Engine, Transient, input, query
from engine.errors import ChangedInsideQuery, Closed
from engine.rules.files import read_text
from engine.verification import Verifier
from tests.verified import db, lines, number, place

__all__ = ["db", "place"]  # fixtures


@query(eq=lambda old, new: abs(old - new) < 10)
def rough(path: str) -> int:
    return len(read_text(path))


@query
def from_rough(path: str) -> int:
    return rough(path)


@input
def busy() -> bool:
    return False


@query
def answered(number: int) -> int:
    if busy():
        raise Transient("busy")
    return number


@query
def is_busy(number: int) -> str:
    try:
        return f"{answered(number)}"
    except Transient:
        return "busy"


class Salted:
    """Equal ones have other bytes, as sets of texts have in other processes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Salted) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        SALT.append(0)
        return _salted, (self.text, len(SALT))


def _salted(text: str, salt: int) -> Salted:
    return Salted(text)


SALT: list[int] = []


@query(pickled=True)
def salted(path: str) -> Salted:
    return Salted(read_text(path))


@query(pickled=True)
def multiples(path: str) -> frozenset[int]:
    return frozenset(range(0, 800, 8)) | frozenset(range(0, 16 * len(read_text(path)), 16))


TICKS: list[int] = []
EDITS: list[tuple[Path, str]] = []


@query(untracked=True)
def ticks() -> int:
    TICKS.append(0)
    return len(TICKS)


@query
def from_ticks() -> int:
    return ticks() + 1


@query
def restless(path: str) -> str:
    text = read_text(path)
    if EDITS:  # somebody saves the file while it is read
        file, new = EDITS.pop()
        file.write_text(new)
    return text


@query
def verifies() -> int:
    return ENGINES[-1].verify().compared


ENGINES: list[Engine] = []


def test_without_keys_there_is_nothing_to_compare(db: Engine) -> None:
    assert (db.verify().keys, db.verify().compared) == (0, 0)


def test_failures_are_values_and_compared_as_such(db: Engine, place: Path) -> None:
    for path in ("a.txt", "gone.txt"):
        with pytest.raises(Exception, match=r"invalid literal|gone"):
            db.get(number, path)
    assert db.verify().differences == ()
    (place / "a.txt").write_text("7")
    db.sync()
    found = db.verify()
    assert (found.differences, db.get(number, "a.txt")) == ((), 7)


def test_what_caught_a_failure_that_is_not_kept_is_no_difference(db: Engine) -> None:
    db.get(is_busy, 0)
    db.set(busy.key(), True)
    db.get(is_busy, 0)
    assert db.verify().differences == ()


def test_a_failure_that_is_stored_is_the_same_where_it_is_not_kept_any_more(place: Path) -> None:
    """Between two starts, somebody says `persist=False`: the memo of before holds."""

    def picky(number: int) -> int:
        raise ValueError(number)

    def lenient(number: int) -> int:
        try:
            return cast(int, of(number))
        except ValueError:
            return -1

    for persist in (True, False):
        of: Any = query(name="test_verification:picky", persist=persist)(picky)
        calm = query(name="test_verification:lenient")(lenient)
        with Engine(place / ".engine", root=place) as db:
            assert [db.get(calm, number) for number in range(4)] == [-1] * 4
            assert db.verify().differences == ()
            assert db.counts().executed == (8 if persist else 0)


def test_a_sample_computes_no_more_than_it_names(db: Engine, place: Path) -> None:
    for at in range(50):
        (place / f"n{at}.txt").write_text("x\n" * at)
        db.get(lines, f"n{at}.txt")
    verifier = Verifier(db._core, (), 5, random.Random(1))
    found = verifier.run()
    assert (found.differences, found.keys) == ((), 50)
    assert verifier.scratch.tally.executed == 5
    assert found.compared == 10  # and the text that each of them read


def test_an_untracked_query_and_what_rests_on_it_are_no_differences(db: Engine) -> None:
    db.get(from_ticks)
    assert db.verify().differences == ()


def test_a_value_that_its_own_eq_takes_for_the_same_is_no_difference(db: Engine, place: Path) -> None:
    db.get(from_rough, "b.txt")
    (place / "b.txt").write_text("two!\n")
    db.sync()
    assert db.get(from_rough, "b.txt") == 4  # the old value is kept
    assert db.verify().differences == ()


def test_pickled_values_that_are_equal_are_no_differences_whatever_their_bytes(db: Engine) -> None:
    db.get(salted, "b.txt")
    db.get(multiples, "b.txt")
    found = db.verify()
    assert (found.compared, found.differences) == (3, ())


def test_a_pickled_value_that_is_another_one_is_a_difference(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.get(salted, "b.txt")
    monkeypatch.setattr(Salted, "__eq__", object.__eq__)
    assert [one.key for one in db.verify().differences] == ["test_verification:salted('b.txt')"]


def test_a_file_that_is_saved_meanwhile_is_looked_at_again(db: Engine, place: Path) -> None:
    db.get(restless, "b.txt")
    EDITS.append((place / "b.txt", "saved\n"))
    found = db.verify()
    assert not EDITS
    assert (found.differences, found.moved) == ((), ())
    assert db.get(restless, "b.txt") == "saved\n"


def test_a_file_that_never_stands_still_is_named_and_no_difference(db: Engine, place: Path) -> None:
    db.get(restless, "b.txt")
    EDITS.extend((place / "b.txt", f"saved {at}\n") for at in range(100))
    found = db.verify()
    EDITS.clear()
    assert found.differences == ()
    assert [name for name in found.moved if "b.txt" in name] == list(found.moved)


def test_a_query_may_not_verify(db: Engine) -> None:
    ENGINES.append(db)
    with pytest.raises(ChangedInsideQuery):
        db.get(verifies)


@query
def ending() -> int:
    """Closes the engine that it is verified in."""
    for engine in to_close:
        engine.close()
    return 1


to_close: list[Engine] = []


def test_a_verification_ends_with_its_engine() -> None:
    with Engine(None) as db:
        assert db.get(ending) == 1
        to_close.append(db)
        try:
            with pytest.raises(Closed):
                db.verify()
        finally:
            to_close.clear()
