"""Two texts, the queries that most verifications compute again, and an engine of each kind over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine, query
from engine.key import Key
from engine.locate import find
from engine.rules.files import read_text


@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())


@query
def number(path: str) -> int:
    return int(read_text(path))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    (tmp_path / "b.txt").write_text("two\n")
    return tmp_path


@pytest.fixture(params=["in memory", "stored"])
def db(request: pytest.FixtureRequest, place: Path) -> Iterator[Engine]:
    with Engine(None if request.param == "in memory" else place / ".engine", root=place) as found:
        yield found


def node_of(db: Engine, key: Key[object]) -> int:
    node = find(db._core, key.query, key.args)
    assert node
    return node
