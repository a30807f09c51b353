"""`engine changes --close`: what is said of the cursor is what became of it, whoever did it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watch_process import Asked, Watching, save

RULES = """\
from collections.abc import Iterable
from typing import NamedTuple
from engine import query, table
from engine.rules.directories import glob
from engine.rules.files import read_text

class Path(NamedTuple):
    path: str

@query
def files() -> tuple[str, ...]:
    return glob(read_text("pattern.txt"))

@table(each=files, index=("path",))
def paths(path: str) -> Iterable[Path]:
    yield Path(path)
"""
FORGOTTEN = "the cursor x is forgotten\n"
NOT_THERE = "the cursor x is not there: nothing was kept for it\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "engine.toml").write_text('rules = ["rules.py"]\n')
    (tmp_path / "pattern.txt").write_text("*.txt")
    return tmp_path


@pytest.mark.parametrize("what", ["paths", "files"])
def test_a_cursor_that_is_not_there_is_not_said_to_be_forgotten(place: Path, what: str) -> None:
    changes = ("changes", what, "--cursor", "x")
    assert Asked(place, *changes, "--close").err == NOT_THERE
    assert Asked(place, *changes).code == 0
    assert Asked(place, *changes, "--close").err == FORGOTTEN
    with Watching(place, "files") as watch:
        watch.ready()
        assert Asked(place, *changes, "--close").err == NOT_THERE
        assert Asked(place, *changes).code == 0
        assert Asked(place, *changes, "--close").err == FORGOTTEN


def test_what_a_watch_cannot_forget_is_not_said_to_be_forgotten(place: Path) -> None:
    changes = ("changes", "paths", "--cursor", "x")
    assert Asked(place, *changes).code == 0
    with Watching(place, "paths") as watch:
        watch.ready()
        save(place / "pattern.txt", "{a,b}")
        failed = Asked(place, *changes, "--close")
        assert (failed.code, "forgotten" in failed.err) == (1, False)
        save(place / "pattern.txt", "*.txt")
        assert Asked(place, *changes, "--close").err == FORGOTTEN
