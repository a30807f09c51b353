"""Whatever is raised while a member's change is taken over, tables and folds stay those from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, input, query, table
from engine.tables import collect
from engine.tables.kept import KeptRows
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from tests.striking import strike
from tests.words import content, paths, uses, words, write


@query
def letters(path: str) -> int:
    return len(content(path))


total = fold(each=paths, of=letters, into=Sum())

# Where it strikes: before, in the middle of, or at the end of taking over a member of a table or a fold.
PLACES: dict[str, tuple[Any, str]] = {
    "absorb": (collect, "absorb"),
    "table": (KeptTable, "take"),
    "rows": (KeptRows, "put"),
    "log": (KeptTable, "_count"),
    "lookups": (KeptTable, "_concerned"),
    "fold": (KeptFold, "take"),
    "contribution": (KeptFold, "_contribute"),
    "value": (KeptFold, "_force"),
    "leaving": (KeptTable, "drop"),
    "leaving a fold": (KeptFold, "drop"),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_amid_taking_over_a_member_leaves_no_half_change(
    db: Engine, monkeypatch: pytest.MonkeyPatch, place: str, error: type[BaseException]
) -> None:
    write(db, a="cat", b="dog", c="")
    assert (db.get(uses, "cat"), db.get(uses, "cow"), db.get(total)) == (1, 0, 6)
    struck = 0
    owner, name = PLACES[place]
    real = getattr(owner, name)
    edits = (("cow cow2", None, 1, 1, 11), ("cat", "cow", 2, 1, 9), ("cat cow", None, 2, 1, 10))
    for text, other, cats, cows, size in edits:
        write(db, a=text, b="cat", c=other)
        with monkeypatch.context() as patch:
            strike(patch, owner, name, error)
            with suppress(error):
                db.get(total)
                db.get(uses, "cat")
            struck += getattr(owner, name) is real
        assert (db.get(uses, "cat"), db.get(uses, "cow"), db.get(total)) == (cats, cows, size)
        assert db.audit(words).differences == db.audit(total).differences == ()
        db.check_invariants()
    assert struck, "it was never reached"


@frozen
class Half:
    number: int


@input
def numbers() -> tuple[int, ...]:
    return (2, 4)


STRIKES: list[bool] = []
RUNS: list[int] = []


@query
def halved(number: int) -> int:
    RUNS.append(number)
    if number == 4 and STRIKES:
        raise KeyboardInterrupt
    return number // 2


@table(each=numbers, index=("number",))
def halves(number: int) -> Iterable[Half]:
    yield Half(halved(number))


sum_of_halves = fold(each=numbers, of=halved, into=Sum())


def test_a_member_that_leaves_before_it_was_computed_leaves_nothing_and_does_not_run(db: Engine) -> None:
    """It had entered when the interrupt struck, and was missed from then on."""
    STRIKES.append(True)
    for ask in (halves.where, sum_of_halves):
        with pytest.raises(KeyboardInterrupt):
            db.get(ask)
    STRIKES.clear()
    db.set(numbers, (2,))
    RUNS.clear()
    assert (db.get(halves.where), db.get(sum_of_halves)) == ((Half(1),), 1)
    assert 4 not in RUNS
    db.check_invariants()
