"""A look that reads on several threads finds what one thread finds, also where a file cannot be read."""

from __future__ import annotations

import errno
import threading

import pytest

from engine import Engine
from engine.look import HANDFUL, SHARE
from engine.rules import files
from engine.rules.files import FileMissing
from tests.looking import db, looked, node_of, paths_in, shouted, taken, trusting, write

__all__ = ["db", "trusting"]


def test_reading_on_threads_finds_the_same(db: Engine) -> None:
    paths = [f"f{number}" for number in range(3 * SHARE + 1)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **{path: f"2 {path}" for path in paths})
    for path in paths[::7]:
        (db.root / path).unlink()
    before = db.counts()
    alone, many = looked(db), looked(db, threads=4)
    assert paths_in(alone) == paths_in(many) == paths
    assert [change.digest for change in alone.changes] == [change.digest for change in many.changes]
    assert (db.counts() - before).read == 2 * len(paths)
    assert taken(db, many) == len(paths)
    for number, path in enumerate(paths):
        if number % 7:
            assert db.get(shouted, path) == f"2 {path}".upper()
        else:
            with pytest.raises(FileMissing):
                db.get(shouted, path)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("engine-look")] == []


def test_a_handful_is_read_without_threads(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[str] = []
    full_path = files.full_path

    def noting(path: str) -> str:
        readers.append(threading.current_thread().name)
        return full_path(path)

    monkeypatch.setattr(files, "full_path", noting)
    paths = [f"f{number}" for number in range(HANDFUL + 1)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    readers.clear()
    looked(db, *paths[:HANDFUL], threads=2)
    assert set(readers) == {threading.current_thread().name}
    readers.clear()
    looked(db, *paths, threads=2)
    assert all(name.startswith("engine-look") for name in readers)


@pytest.mark.parametrize("threads", [1, 3])
def test_trouble_with_one_file_does_not_stop_the_others(
    db: Engine, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"f{number:03}" for number in range(2 * SHARE)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    full_path = files.full_path

    def failing(path: str) -> str:
        if path == paths[SHARE]:
            raise OSError(errno.EIO, "broken")
        return full_path(path)

    monkeypatch.setattr(files, "full_path", failing)
    found = looked(db, threads=threads)
    assert found.retry == [node_of(db, paths[SHARE])]
    assert paths_in(found) == paths[:SHARE] + paths[SHARE + 1 :]
    assert taken(db, found) == len(paths) - 1
    others = paths[:SHARE] + paths[SHARE + 1 :]
    assert [db.get(shouted, path) for path in others] == ["2!"] * len(others)
    monkeypatch.setattr(files, "full_path", full_path)
    again = looked(db, threads=threads)
    assert (paths_in(again), again.retry, taken(db, again)) == ([paths[SHARE]], [], 1)
    assert db.get(shouted, paths[SHARE]) == "2!"
    db.check_invariants()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_signal_to_end_ends_the_reading(db: Engine, threads: int) -> None:
    paths = [f"f{number}" for number in range(2 * SHARE)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    db._core.stopping = True
    before = db.counts()
    with pytest.raises(KeyboardInterrupt, match="asked to stop"):
        looked(db, threads=threads)
    assert (db.counts() - before).read == 0
