"""Queries over a few cells, engines that keep earlier memos, and what these ran and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Engine, Event, What, each, input, query

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


@input(name="history:cell")
def cell(name: str) -> int:
    return 0


@query(name="history:doubled")
def doubled(name: str) -> int:
    return 2 * cell(name)


@query(name="history:chosen")
def chosen() -> int:
    """What it reads depends on what it has read."""
    return doubled(f"branch {cell('switch')}")


@query(name="history:report")
def report() -> str:
    return f"{chosen()} {each(doubled, ['a', 'b'])}"


@contextmanager
def told(db: Engine) -> Iterator[list[str]]:
    """What ran and what was put back, in order."""
    events: list[str] = []

    def hear(event: Event) -> None:
        if event.what in (*RAN, What.RESTORED) and event.key is not None:
            verb = "restored" if event.what is What.RESTORED else "ran"
            events.append(f"{verb} {str(event.key).removeprefix('history:')}")

    stop = db.listen(hear)
    yield events
    stop()


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(None if request.param == "memory" else tmp_path / "store", history=4) as opened:
        yield opened
        opened.check_invariants()
        if opened.store is not None:
            opened.store.check_invariants()
