"""What a snapshot cannot know any more is lost: no answer of another revision stands in for it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, SnapshotLost, input, query, table
from engine.rules.files import read_text
from engine.tables.audit import glance


@input
def number() -> int:
    return 0


@query
def double() -> int:
    return number() * 2


class Line(NamedTuple):
    of: str
    text: str


WORLD = {"a": "old", "b": "old"}


@input(observed=True, persist=False)
def text(name: str) -> str:
    return WORLD[name]


@query
def careful(name: str) -> str:
    try:
        return text(name)
    except Exception:  # whatever it is, as queries of users do it
        return "unreadable"


@query
def loud(name: str) -> str:
    return f"{text(name)}!"


@query
def numbered(name: str) -> str:
    return f"{text(name)} {number()}"


@query
def names() -> tuple[str, ...]:
    return ("a", "b")


@table(each=names, index=("text",))
def lines(name: str) -> Iterable[Line]:
    yield Line(name, text(name))


@query
def count() -> int:
    return lines.count(text="old")


def commit_often(db: Engine) -> None:
    """Texts of files go after two commits."""
    for value in range(1, 4):
        db.set(number.key(), value)
        db.get(double)


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None) as engine:
        yield engine


def test_what_needs_an_input_that_is_lost_is_lost_too_although_a_query_or_a_table_caught_that(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORLD, "a", "old")
    assert (db.get(careful, "a"), db.get(count)) == ("old", 2)
    db.forget("*careful*")
    db.forget("*count*")
    db.forget("*lines*")
    with db.snapshot() as old:
        monkeypatch.setitem(WORLD, "a", "new")
        db.sync()
        db.get(text, "a")
        for _ in range(2):
            for asked in (careful.key("a"), count.key(), lines.where.key()):
                with pytest.raises(SnapshotLost):
                    old.get(asked)
        assert old.get(careful, "b") == "old"


def test_a_file_that_is_another_one_by_now_is_lost_where_nobody_has_its_text_any_more(tmp_path: Path) -> None:
    """It was read once more, as if it had said at that revision what it says now."""
    (tmp_path / "a.txt").write_text("one")

    @query
    def text() -> str:
        return read_text("a.txt")

    @query
    def size() -> int:
        return len(read_text("a.txt"))

    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(text) == "one"
        commit_often(db)
        with db.snapshot() as old:
            assert old.get(size) == 3
        with db.snapshot() as old:
            (tmp_path / "a.txt").write_text("another")
            assert old.get(text) == "one"
            with pytest.raises(SnapshotLost):
                old.get(size)
        assert db.get(text) == "another"  # the engine was told


def test_what_the_engine_read_again_and_found_as_it_was_is_not_lost(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.get(numbered, "a")
    db.get(numbered, "b")
    commit_often(db)
    with db.snapshot() as then:
        db.set(number.key(), 7)
        monkeypatch.setitem(WORLD, "b", "new")
        db.sync()
        assert [db.get(numbered, name) for name in "ab"] == ["old 7", "new 7"]
        assert then.get(numbered, "a") == "old 3"
        with pytest.raises(SnapshotLost):
            then.get(numbered, "b")


def test_what_is_first_looked_at_while_a_snapshot_is_open_is_of_its_revision(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been looked at once more: one revision gave two answers, or the text of a later one."""
    with db.snapshot() as old:
        assert db.get(careful, "a") == "old"
        monkeypatch.setitem(WORLD, "a", "new")
        assert db.sync() == 1
        assert db.get(careful, "a") == "new"
        assert (old.get(loud, "a"), old.get(text, "a")) == ("old!", "old")
        monkeypatch.setitem(WORLD, "b", "new")
        assert old.get(text, "b") == "new"  # nobody looked while the revision was the engine's
    db.forget("*text*")
    with db.snapshot() as old:
        assert db.get(careful, "a") == "new"
        monkeypatch.setitem(WORLD, "a", "newer")
        assert db.sync() >= 1
        assert old.get(loud, "a") == "new!"


def test_an_audit_of_what_rests_on_a_file_that_was_just_saved_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")

    @query
    def paths() -> tuple[str, ...]:
        return ("a.txt",)

    @table(each=paths, index=("text",), name="snapshot:files")
    def files(path: str) -> Iterable[Line]:
        yield Line(path, read_text(path))

    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(files.where)
        commit_often(db)
        (tmp_path / "a.txt").write_text("another")
        assert glance(db._core, files.__collection__, 9, random.Random(1)) is None
        assert not db.audit(files).differences
        assert db.get(files.where) == (Line("a.txt", "another"),)
