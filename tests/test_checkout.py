"""`git checkout` of another state, with events lost on purpose: tables and folds end equal to scratch.

pytest tests/test_checkout.py --checkout=20000    with so many files that differ between the two states
"""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, Event, What, fold, query, table
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.tables.accumulate import Max, Set, Sum
from engine.watch.backend import Fail, Suggest
from engine.watch.kernel import KernelBackend
from tests.patience import PATIENCE

SAME = 10  # one file in so many is the same in both states
RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


@query
def paths() -> tuple[str, ...]:
    return glob("**/*.txt")


@frozen
class Word:
    word: str
    path: str


@table(each=paths, index=("word",))
def words(path: str) -> Iterable[Word]:
    return [Word(word, path) for word in read_text(path).split()]


@query
def size(path: str) -> int:
    return len(read_text(path))


@query
def first(path: str) -> str:
    return read_text(path).split()[0]


total = fold(each=paths, of=size, into=Sum())
longest = fold(each=paths, of=size, into=Max(default=0))
beginnings = fold(each=paths, of=first, into=Set())


@query
def places(word: str) -> tuple[str, ...]:
    return tuple(row.path for row in words.where(word=word))


QUESTIONS: tuple[Any, ...] = (
    words, total, longest, beginnings, words.count.key(), words.count.key(word="w7"),
    places.key("old"), places.key("new"), places.key("w7"),
)  # fmt: skip


def answers(db: Engine) -> list[Any]:
    return [db.get(key) for key in QUESTIONS]


def from_scratch(root: Path) -> list[Any]:
    with Engine(None, root=root) as fresh:
        return answers(fresh)


class Losing(KernelBackend):
    """Tells of cookies, and of one path in three: the others are lost."""

    told = lost = 0

    def __init__(self, cookies: str, suggest: Suggest, fail: Fail) -> None:
        chance = random.Random(1)
        lock = threading.Lock()

        def some(voice: int, found: Iterable[str]) -> None:
            with lock:
                several = list(found)
                kept = [path for path in several if path.startswith(cookies) or chance.random() < 1 / 3]
                Losing.told += len(kept)
                Losing.lost += len(several) - len(kept)
            suggest(voice, kept)

        super().__init__(cookies, some, fail)


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return int(str(request.config.getoption("--checkout")))


@pytest.fixture
def root(tmp_path: Path, count: int) -> Path:
    """A repository on branch "one"; on branch "two" `count` files are others, gone, or new."""
    root = tmp_path / "root"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=one")
    for state in ("one", "two"):
        for number in range(count + count // SAME):
            path = root / f"d{number % 97}" / f"e{number % 7}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = "same" if number >= count else ("one", "two")[number % 10] if number % 10 < 2 else "other"
            if kind in ("one", "two") and kind != state:
                path.unlink(missing_ok=True)
                continue
            begin = "same" if kind == "same" else {"one": "old", "two": "new"}[state]
            path.write_text(f"{begin} w{number % 50} {'x' * (number % 13)}\n")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "-m", state)
        if state == "one":
            git(root, "switch", "--quiet", "-c", "two")
    git(root, "switch", "--quiet", "one")
    return root


def differing(root: Path, state: str) -> set[str]:
    """The files of a state that are not so in the other one."""
    return {path for letter, path in changes(root, state) if letter != "D"}


def gone(root: Path, state: str) -> set[str]:
    """The files that a state does not have and the other one has."""
    return {path for letter, path in changes(root, state) if letter == "D"}


def changes(root: Path, state: str) -> list[tuple[str, str]]:
    other = "two" if state == "one" else "one"
    found = git(root, "diff", "--name-status", "--no-renames", f"{other}..{state}")
    return [(line[0], line[2:]) for line in found.splitlines()]


@pytest.fixture
def read() -> set[str]:
    """The files whose rows were made, since it was last emptied."""
    return set()


@pytest.fixture
def hear(read: set[str]) -> Callable[[Event], None]:
    def note(event: Event) -> None:
        if event.what in RAN and event.key is not None and event.key.query.name.endswith(":words"):
            read.update(event.key.args)

    return note


@pytest.mark.limit(10**6)
def test_a_checkout_of_which_most_events_are_lost_ends_equal_to_scratch(
    root: Path, tmp_path: Path, count: int, read: set[str], hear: Callable[[Event], None]
) -> None:
    Losing.told = Losing.lost = 0
    with Engine(tmp_path / "store", root=root, history=0) as db:
        db.listen(hear)
        before = answers(db)
        assert before == from_scratch(root)
        with db.watch(*QUESTIONS, backend=Losing, audit_seconds=10**6) as watch:
            assert watch.wait_until_ready(PATIENCE)
            for state in ("two", "one"):
                read.clear()
                git(root, "switch", "--quiet", state)
                watch.sync(crawl=True)
                after = answers(db)
                assert after == from_scratch(root)
                # A file may be seen to be gone before its directory is seen without it: then it is asked for.
                assert read - gone(root, state) == differing(root, state)
                assert (after == before) == (state == "one")
        db.check_invariants()
    assert Losing.lost > count / 2


@pytest.mark.limit(10**6)
def test_a_checkout_that_nobody_saw_ends_equal_to_scratch_after_a_restart(
    root: Path, tmp_path: Path, count: int, read: set[str], hear: Callable[[Event], None]
) -> None:
    with Engine(tmp_path / "store", root=root) as db:
        assert len(db.get(paths)) == len(git(root, "ls-files").splitlines())
        answers(db)
    git(root, "switch", "--quiet", "two")
    with Engine(tmp_path / "store", root=root) as db:
        db.listen(hear)
        assert answers(db) == from_scratch(root)
        assert read == differing(root, "two")
        assert count * 0.8 <= len(read) <= count
        read.clear()
        answers(db)
        assert read == set()
