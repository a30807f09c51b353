"""Queries over cells and a text, an engine of each kind, and how it is interrupted or its disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine, input, keep, query
from tests.striking import strike

WORLD = {"a": "disk"}


@input
def cell(number: int) -> int:
    return 1


@input(observed=True)
def text(path: str) -> str:
    return WORLD[path]


@query
def loud(path: str, number: int) -> str:
    return f"{text(path)}!{number}"


@query
def ten(number: int) -> int:
    return cell(0) * 10 + number


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None) as engine:
        yield engine


def interrupt(db: Engine, patch: pytest.MonkeyPatch) -> None:
    """Interrupt a request in the middle of a change to the lists."""
    strike(patch, keep, "put_value")
    with pytest.raises(KeyboardInterrupt):
        db.get(ten, 1_000)
    assert db._core.torn


def fill_the_disk(db: Engine) -> None:
    assert db.store is not None
    pages = db.store.connection.execute("PRAGMA page_count").fetchone()[0]
    db.store.connection.execute(f"PRAGMA max_page_count={pages}")
