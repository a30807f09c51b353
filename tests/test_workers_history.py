"""Workers and earlier memos: what held before is put back here, and only what is new goes out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules, make, others

__all__ = ["make", "others"]

LINES = """
@query(workers="process")
def length(n: int) -> int:
    note(f"length {n}")
    return len(read_text(f"{n}.txt"))

@query(workers="process")
def twice(n: int) -> int:
    note(f"twice {n}")
    return 2 * length(n) + (length(0) if length(n) > 3 else 0)

@query
def whole() -> int:
    return sum(each(twice, range(12)))
"""


def write(place: Path, text: str, *numbers: int) -> None:
    for n in numbers:
        (place / f"{n}.txt").write_text(text)


@pytest.mark.parametrize("stored", [True, False])
def test_with_processes_going_back_runs_nothing_either(
    tmp_path: Path, make: Callable[[str], Rules], stored: bool
) -> None:
    rules = make(LINES)
    write(tmp_path, "one", *range(12))
    store = tmp_path / "store" if stored else None
    with Engine(store, root=tmp_path, processes=2, history=4) as db:
        first = db.get(rules.whole)
        rules.noted()
        write(tmp_path, "three", *range(8))
        db.sync()
        second = db.get(rules.whole)
        ran, _ = rules.noted()
        assert set(ran) == {f"{name} {n}" for name in ("length", "twice") for n in range(8)}
        for text, wanted in (("one", first), ("three", second), ("one", first)):
            write(tmp_path, text, *range(8))
            db.sync()
            before = db.counts()
            assert db.get(rules.whole) == wanted
            more = db.counts() - before
            assert (more.executed, more.restored) == (0, 17)  # and `whole`
        assert rules.noted()[0] == Counter()
        db.check_invariants()


def test_what_is_new_beside_what_is_put_back_goes_out(tmp_path: Path, make: Callable[[str], Rules]) -> None:
    rules = make(LINES)
    write(tmp_path, "one", *range(12))
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        db.get(rules.whole)
        write(tmp_path, "three", *range(12))
        db.sync()
        db.get(rules.whole)
        rules.noted()
        write(tmp_path, "one", *range(6))
        write(tmp_path, "eleven", *range(6, 12))
        db.sync()
        assert db.get(rules.whole) == 6 * 6 + 6 * (12 + 3)
        ran, where = rules.noted()
    assert set(ran) == {f"{name} {n}" for name in ("length", "twice") for n in range(6, 12)}
    assert os.getpid() not in where, "what is new did not go to workers"
