"""Whatever is raised while a member's change is taken over, tables and folds stay those from scratch."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from engine import Engine, Sum, fold, query
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
