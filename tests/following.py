"""Two tables and a fold to follow, and what a consumer makes of what it is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

import engine.tables.log
from engine import BadCursor, Engine, fold, input, table
from engine.locate import locate
from engine.tables.accumulate import Sum
from engine.tables.changes import Delta
from engine.tables.kept_table import KeptTable

ZEROS = "0" * 16


@input
def keys() -> tuple[str, ...]:
    return ()


@input
def cell(key: str) -> int:
    return 0


@frozen
class Note:
    key: str
    number: int


@table(each=keys, index=("number",))
def notes(key: str) -> Iterable[Note]:
    number = cell(key)
    if number < 0:
        raise ValueError(key)
    return [Note(key, number)] if number else []


@table(each=keys, index=("number",), identity=("key",))
def named(key: str) -> Iterable[Note]:
    return [Note(key, cell(key)), Note(f"{key}!", 7)]


total = fold(each=keys, of=cell, into=Sum())


def put(db: Engine, **values: int) -> None:
    """Set cells; those of new keys make them members."""
    with db.batch():
        db.set(keys.key(), tuple(sorted({*db.get(keys), *values})))
        for key, value in values.items():
            db.set(cell.key(key), value)


def drop(db: Engine, key: str) -> None:
    db.set(keys.key(), tuple(one for one in db.get(keys) if one != key))


def brief(delta: Delta[Note]) -> tuple[Any, ...]:
    """A delta as ("reset" or "", added, removed, changed) of key and number."""
    return (
        "reset" if delta.reset else "",
        [f"{row.key}{row.number}" for row in delta.added],
        [f"{row.key}{row.number}" for row in delta.removed],
        *([[f"{a.key}{a.number}>{b.number}" for a, b in delta.changed]] if delta.changed else []),
    )


def told(feed: Iterable[Delta[Note]]) -> list[tuple[Any, ...]]:
    return [brief(delta) for delta in feed]


def log_of(db: Engine, what: Any = notes) -> engine.tables.log.Log:
    with db._core.lock:
        kept = db._core.collections[locate(db._core, what.__collection__.settle, ())]
    assert isinstance(kept, KeptTable)
    return kept.log


def log_size(db: Engine, what: Any = notes) -> int:
    return len(list(log_of(db, what).entries(0)))


def rows_of(db: Engine) -> set[Note]:
    rows: tuple[Note, ...] = db.get(notes.where)
    return set(rows)


@define
class Mirror:
    """What a consumer makes of a feed; refuses a row that comes twice or goes without having been there."""

    rows: set[Any] = field(factory=set)
    position: str | None = None

    def apply(self, delta: Delta[Any]) -> None:
        if delta.reset:
            self.rows.clear()
        gone = [*delta.removed, *(before for before, _ in delta.changed)]
        came = [*delta.added, *(after for _, after in delta.changed)]
        for row in gone:
            assert row in self.rows, f"{row} goes twice"
            self.rows.remove(row)
        for row in came:
            assert row not in self.rows, f"{row} comes twice"
            self.rows.add(row)
        self.position = delta.position


@pytest.fixture(params=["memory", "stored", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    stored = tmp_path / "store" if request.param != "memory" else None
    with Engine(stored, root=tmp_path, workers=3 if request.param == "workers" else 1) as engine:
        yield engine


def copied(source: Path, target: Path) -> Path:
    """A store as a killed process leaves it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-shm"))
    return target


def refused(db: Engine, what: Any, position: str, name: str = "one") -> tuple[str, str]:
    with pytest.raises(BadCursor) as caught:
        list(db.changes(what, since=name, after=position))
    assert caught.value.hint, "a remedy"
    return caught.value.fields["cause"], str(caught.value.hint)
