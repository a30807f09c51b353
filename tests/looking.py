"""Looks at files of a small repository, their taking, and an engine for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine, query
from engine.locate import find
from engine.look import Looked, look_at, take
from engine.query import info_of
from engine.rules import stat
from engine.rules.files import read_text


@pytest.fixture(autouse=True)
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stamp is believed at once, so that only the stamp itself can show a change."""
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "root").mkdir()
    store = tmp_path / "store" if request.param == "stored" else None
    with Engine(store, root=tmp_path / "root") as engine:
        yield engine


@query
def shouted(path: str) -> str:
    return read_text(path).upper()


def write(db: Engine, **files: str) -> None:
    for name, text in files.items():
        (db.root / name).write_text(text)


def node_of(db: Engine, path: str) -> int:
    node = find(db._core, info_of(read_text), (path,))
    assert node
    return node


def looked(db: Engine, *paths: str, threads: int = 1) -> Looked:
    """A look at some files, or at everything."""
    nodes = [node_of(db, path) for path in paths] if paths else None
    with db._core.sync_lock:
        return look_at(db._core, nodes, threads=threads)


def taken(db: Engine, found: Looked) -> int:
    with db._core.sync_lock:
        return take(db._core, found, "in a test")


def paths_in(found: Looked) -> list[str]:
    return [change.args[0] for change in found.changes]
