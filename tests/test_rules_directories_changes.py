"""A change in a tree runs the nodes on its path, and no others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Engine, Event, What, query
from engine.rules.directories import (
    glob,
)
from engine.rules.files import read_text
from tests.folders import grow, place

__all__ = ["place"]  # a fixture


@query
def sources() -> tuple[str, ...]:
    return glob("**/*.py")


@query
def total() -> int:
    return sum(len(read_text(path)) for path in sources())


@contextmanager
def runs(db: Engine) -> Iterator[dict[str, set[str]]]:
    """The queries that run, by what became of them: short names and directories."""
    found: dict[str, set[str]] = {}

    def listener(event: Event) -> None:
        if event.key is not None and event.what in (What.EXECUTED, What.CUT_OFF, What.READ, What.FAILED):
            name = event.key.query.name.partition(":")[2]
            about = str(event.key.args[0]) if event.key.args else ""
            found.setdefault(event.what.value, set()).add(f"{name} {about}".rstrip())

    end = db.listen(listener)
    try:
        yield found
    finally:
        end()


@pytest.fixture
def tree(place: Path) -> Path:
    grow("a.py", "one/b.py", "one/deep/c.py", "two/d.py", "two/notes.txt")
    return place


def test_a_new_file_runs_the_nodes_on_its_path_and_no_others(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        assert db.get(total) == 4
        grow("one/deep/new.py")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 5
        assert ran.pop("read") - {"read_text one/deep/new.py"} <= {"listing one/deep"} | {
            f"read_text {path}" for path in ("a.py", "one/b.py", "one/deep/c.py", "two/d.py")
        }  # contents are not kept, so a sum over all reads them again; listings elsewhere are not
        assert ran == {
            "cut off": {"ignore_rules one/deep"},
            "executed": {
                "visible one/deep",
                "matches_below one/deep",
                "matches_below one",
                "matches_below",
                "glob **/*.py",
                "sources",
                "total",
            },
        }


def test_a_new_file_that_does_not_match_stops_in_its_directory(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(total)
        grow("one/deep/new.txt")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 4
        assert ran.pop("read") <= {"listing one/deep"}
        assert ran == {
            "cut off": {"ignore_rules one/deep", "matches_below one/deep"},
            "executed": {"visible one/deep"},
        }


def test_a_changed_file_runs_no_glob(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(total)
        Path("one/b.py").write_text("longer")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 9
        assert ran["executed"] == {"total"}
        assert "cut off" not in ran


def test_a_comment_in_an_ignore_file_runs_its_lines_only(tree: Path) -> None:
    Path("one/.gitignore").write_text("*.pyc\n")
    with Engine(None, root=tree) as db:
        db.get(sources)
        Path("one/.gitignore").write_text("# compiled\n*.pyc\n")
        with runs(db) as ran:
            db.sync()
            db.get(sources)
        ran.pop("read")
        assert ran == {"cut off": {"ignore_lines one"}}


def test_an_ignore_line_runs_what_lies_below_its_file_only(tree: Path) -> None:
    Path("one/.gitignore").write_text("*.pyc\n")
    with Engine(None, root=tree) as db:
        db.get(sources)
        Path("one/.gitignore").write_text("*.pyc\ndeep/\n")
        with runs(db) as ran:
            db.sync()
            assert db.get(sources) == ("a.py", "one/b.py", "two/d.py")
        touched = set().union(*ran.values())
        assert not {name for name in touched if name.endswith(" two")}, touched
        with runs(db) as ran:
            grow("one/deep/unseen.py")
            db.sync()
            assert db.get(sources) == ("a.py", "one/b.py", "two/d.py")
        assert not ran.keys() & {"executed", "cut off"}, "nothing that is ignored runs anything"


def test_an_ignored_directory_is_not_even_listed(tree: Path) -> None:
    Path(".gitignore").write_text("two/\n")
    grow(".git/objects/x.py")
    with Engine(None, root=tree) as db:
        with runs(db) as ran:
            assert db.get(sources) == ("a.py", "one/b.py", "one/deep/c.py")
        listed = {name for name in ran["read"] if name.startswith("listing")}
        assert listed == {"listing", "listing one", "listing one/deep"}


def test_a_literal_start_of_a_pattern_keeps_the_rest_of_the_tree_unread(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        with runs(db) as ran:
            assert db.get(glob, "one/*.py") == ("one/b.py",)
        assert ran["read"] == {"listing", "listing one"}


def test_a_directory_replaced_by_a_file_and_back_is_followed(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        before = db.get(sources)
        os.rename("one", "elsewhere")
        grow("one")
        db.sync()
        assert db.get(sources) == ("a.py", "elsewhere/b.py", "elsewhere/deep/c.py", "two/d.py")
        os.unlink("one")
        os.rename("elsewhere", "one")
        db.sync()
        assert db.get(sources) == before


def test_two_patterns_share_the_work_of_ignoring(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(glob, "**/*.py")
        with runs(db) as ran:
            db.get(glob, "**/*.txt")
        assert ran["executed"] == {"glob **/*.txt"} | {
            f"matches_below {name}".rstrip() for name in ("", "one", "one/deep", "two")
        }


def test_a_walk_over_10_000_files_takes_well_under_a_second(place: Path) -> None:
    for number in range(1000):
        directory = f"p{number // 100}/q{number // 10 % 10}/r{number % 10}"
        grow(*(f"{directory}/f{index}.py" for index in range(10)))
    Path(".gitignore").write_text("__pycache__/\n*.pyc\nbuild/\n/dist\n*.egg-info\nnode_modules/\n" * 5)
    started = time.thread_time()
    assert len(glob("**/*.py")) == 10_000
    assert time.thread_time() - started < 3.0  # 0.3 to 0.5 s measured; the rest is for busy machines
