"""A table and folds to audit, engines of each kind that hold them, and what is looked at and told."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, fold, input, query, table
from engine.locate import locate
from engine.tables.accumulate import Max, Merge, Sum
from engine.tables.audit import Audit
from engine.tables.collection import Collection

COUNT = 12
NAMES = tuple(f"k{n:02}" for n in range(COUNT))


@input
def keys() -> tuple[str, ...]:
    return NAMES


@input
def cell(key: str) -> int:
    return int(key[1:]) % 5


@frozen
class Note:
    key: str
    number: float


@table(each=keys, index=("number", "key"))
def notes(key: str) -> Iterable[Note]:
    if cell(key) < 0:
        raise ValueError(key)
    return [Note(key, cell(key)), Note(f"{key}+", 7)]


@query
def whole(key: str) -> int:
    if cell(key) < 0:
        raise ValueError(key)
    return cell(key)


@query
def pair(key: str) -> dict[str, float]:
    return {"b": cell(key), "a": 1}  # readers see its keys sorted, and floats


@query
def sevens() -> int:
    return notes.count(number=7.0) + len(notes.where(key="k03")) + len(notes.starting(key="k1"))


total = fold(each=keys, of=whole, into=Sum())
largest = fold(each=keys, of=whole, into=Max())
pairs = fold(each=keys, of=pair, into=Merge[dict[str, float]](operator.or_, {}))
by_number = fold(each=notes.column("number"), of=query(name="audit:n")(lambda n: int(n)), into=Sum())
ALL: dict[str, Any] = {
    "notes": notes, "total": total, "largest": largest, "pairs": pairs, "by_number": by_number,
}  # fmt: skip


@pytest.fixture(params=["memory", "stored", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    stored = tmp_path / "store" if request.param != "memory" else None
    with Engine(stored, root=tmp_path, workers=3 if request.param == "workers" else 1) as engine:
        for what in (sevens, total, largest, pairs, by_number):
            engine.get(what)
        yield engine


def kept_of(db: Engine, what: Any) -> Collection:
    with db._core.lock:
        return db._core.collections[locate(db._core, what.__collection__.settle, ())]


def node_of(db: Engine, what: Any, *args: Any) -> int:
    with db._core.lock:
        return locate(db._core, what, args)


def told(audit: Audit) -> list[tuple[str, str, str]]:
    """Where, without the module; what is kept, what is right."""
    return [(one.where.rpartition(":")[2], one.kept, one.right) for one in audit.differences]


def state_of(db: Engine) -> Any:
    core = db._core
    return (
        db.counts(), db.revision, core.tally.commits, bytes(core.graph.status), list(core.graph.flags),
        list(core.graph.verified_at), len(core.graph), db.notes(),
    )  # fmt: skip
