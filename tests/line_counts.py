"""Lines of a small tree of texts, counted by queries, and an engine that is opened over it again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Engine, each, input, query
from engine.rules.directories import glob
from engine.rules.files import read_text


@input
def setting(name: str) -> int:
    return 0


@query
def lines(path: str) -> int:
    return read_text(path).count("\n")


@query
def total() -> int:
    return sum(each(lines, glob("**/*.txt")))


@query
def report() -> str:
    return f"{total()} lines, setting {setting('x')}"


def tree(root: Path, count: int = 5) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(count):
        (root / f"{number}.txt").write_text("line\n" * number)
    (root / "deep" / "er" / "x.txt").write_text("a\nb\n")
    os.utime(root / "0.txt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    place.mkdir()
    tree(place)
    return place


def opened(root: Path, history: int | None = None) -> Engine:
    return Engine(root.parent / "store", root=root, history=history)
