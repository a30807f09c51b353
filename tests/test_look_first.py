"""What a store remembers as observed is looked at before anything is answered from it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, query
from engine.core import Core
from engine.first_look import load_observed
from engine.look import look_at, take
from engine.rules import files
from engine.rules.files import exists
from tests.looking import looked, paths_in, shouted, taken, trusting

__all__ = ["trusting"]


def reopened(tmp_path: Path) -> Engine:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert [db.get(shouted, path) for path in "ab"] == ["1", "1"]
        assert db.get(exists, "a")
    (tmp_path / "a").write_text("2!")
    (tmp_path / "b").write_text("2!")
    return Engine(tmp_path / "store", root=tmp_path)


def observed(core: Core) -> set[tuple[str, str]]:
    found = set()
    for node in core.observed:
        info = core.info_of(node)
        assert info is not None
        found.add((info.function.__name__, core.args_of(node)[0]))
    return found


def test_what_is_observed_is_known_before_the_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        with db._core.lock:
            load_observed(db._core)
        assert observed(db._core) == {("read_text", "a"), ("read_text", "b"), ("exists", "a")}
        assert db.counts().stamped == 0
        assert not db._core.synced
        assert db.sync() == 2
        assert db.get(shouted, "a") == "2!"


def test_a_look_at_some_inputs_is_no_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        with db._core.lock:
            load_observed(db._core)
        node = next(node for node in db._core.observed if db._core.args_of(node) == ("a",))
        with db._core.sync_lock:
            take(db._core, look_at(db._core, [node]), "in a test")
        assert not db._core.synced
        assert [db.get(shouted, path) for path in "ab"] == ["2!", "2!"]
        db.check_invariants()


def test_a_look_at_everything_is_a_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        found = looked(db)
        assert (sorted(paths_in(found)), found.stamped, found.whole) == (["a", "a", "b"], 3, True)
        assert taken(db, found) == 2
        assert db._core.synced
        before = db.counts()
        assert [db.get(shouted, path) for path in "ab"] == ["2!", "2!"]
        assert (db.counts() - before).stamped == 0


def test_a_reader_of_an_input_that_cannot_be_read_fails_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @query(name="test_look:twice")
    def twice(path: str) -> str:
        return shouted(path) * 2

    (tmp_path / "a").write_text("1")
    with Engine(None, root=tmp_path) as db:
        assert db.get(twice, "a") == "11"
        (tmp_path / "a").write_text("2!")
        full_path = files.full_path
        monkeypatch.setattr(files, "full_path", raising(OSError(errno.EIO, "broken")))
        db.sync()
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                db.get(twice, "a")
        monkeypatch.setattr(files, "full_path", full_path)
        assert db.get(twice, "a") == "2!2!"
        db.check_invariants()


def raising(error: Exception) -> Callable[[str], str]:
    def fail(path: str) -> str:
        raise error

    return fail
