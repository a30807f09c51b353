"""Files that come, go and change under an open engine are seen at a sync, and an overlay beats them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import Engine, EngineError, input, query
from engine.rules.files import FileError, read_text
from tests.line_counts import lines, opened, report, root, setting
from tests.watching import Watch

__all__ = ["root"]  # a fixture


def test_an_absent_file_appears(root: Path) -> None:
    @query
    def optional() -> str:
        try:
            return read_text("maybe.txt")
        except FileError as error:
            return error.kind

    with opened(root) as db:
        assert db.get(optional) == "missing"
        (root / "maybe.txt").write_text("here")
        assert db.get(optional) == "missing"
        db.sync()
        assert db.get(optional) == "here"
        (root / "maybe.txt").unlink()
        db.sync()
        assert db.get(optional) == "missing"


def test_a_glob_gains_and_loses_a_file(root: Path) -> None:
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        (root / "deep" / "new.txt").write_text("n\n")
        db.sync()
        assert watch.get(report) == "13 lines, setting 0"
        assert "lines('deep/new.txt')" in watch.ran
        assert [name for name in watch.ran if name.startswith("lines")] == ["lines('deep/new.txt')"]
        (root / "deep" / "new.txt").unlink()
        db.sync()
        assert watch.get(report) == "12 lines, setting 0"
        assert not [name for name in watch.ran if name.startswith("lines")]


def test_a_file_that_does_not_match_runs_no_reader_of_the_glob(root: Path) -> None:
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        (root / "deep" / "note.md").write_text("n\n")
        db.sync()
        assert watch.get(report) == "12 lines, setting 0"
        assert "total()" not in watch.ran


def test_an_overlay_beats_the_disk_until_reset_and_ends_with_the_process(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
        db.set(read_text.key("2.txt"), "only\n")
        assert db.get(report) == "11 lines, setting 0"
        db.reset(read_text.key("2.txt"))
        assert db.get(report) == "12 lines, setting 0"
        db.set(read_text.key("2.txt"), "")
        assert db.get(report) == "10 lines, setting 0"
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"


def test_a_file_rewritten_between_look_and_read_is_not_mixed_in(root: Path) -> None:
    """Its content is not stored: when it is needed again and differs, that is a new revision."""

    @query
    def both(name: str) -> tuple[int, str]:
        return lines(name), read_text(name)[: 1 + setting("x")]

    with opened(root) as db:
        assert db.get(both, "2.txt") == (2, "l")
    with opened(root) as db:
        db.sync()
        (root / "2.txt").write_text("XYZ\n")
        db.set(setting.key("x"), 1)
        assert db.get(both, "2.txt") == (1, "XY")
        db.check_invariants()


WORLD: dict[str, Any] = {}


@input(observed=True)
def told(name: str) -> str:
    found: str = WORLD[name]
    return found


@input(observed=True)
def anything(name: str) -> Any:
    return WORLD[name]


@query
def louder(name: str) -> str:
    return f"{told(name)}!"


@query
def shown(name: str) -> str:
    return f"{anything(name)}!"


@pytest.mark.parametrize("stored", [False, True])
def test_what_the_world_says_and_is_no_value_is_an_error_and_keeps_nothing_else_from_being_seen(
    tmp_path: Path, stored: bool
) -> None:
    WORLD.update(a="one", b="one")
    asked = [(louder, "a"), (louder, "b"), (shown, "a"), (shown, "b")]

    def answers(db: Engine) -> list[str]:
        return [_outcome(db, question, name) for question, name in asked]

    with Engine(tmp_path / "store" if stored else None, root=tmp_path) as db:
        assert answers(db) == ["one!"] * 4
        for odd in (5, b"two", object(), len, "one"):
            WORLD.update(a=odd, b=f"not {odd!r}")
            assert db.sync() > 0
            with Engine(None) as fresh:
                assert answers(db) == answers(fresh)
            assert db.sync() == 0


def _outcome(db: Engine, question: Any, name: str) -> str:
    try:
        return str(db.get(question, name))
    except EngineError as error:
        return f"{type(error).__name__}: {error.fields}"
