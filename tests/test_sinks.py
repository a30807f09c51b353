"""Sinks: what is kept outside is what the table has, whatever happens to either side."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import BadArguments, BadCursor, BadTable, Engine, query, table
from engine.key import short
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.sinks import FullTextSink, Sink, drain, pour
from engine.store.fulltext import FullText
from engine.tables.changes import Delta


@frozen
class Line:
    path: str
    text: str


@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))


@table(each=files, identity=("path",))
def notes(path: str) -> Iterable[Line]:
    for line in read_text(path).splitlines():
        yield Line(path, line)


class Killed(BaseException):
    """The process ends here."""


class Mirror:
    """A sink in memory; `dies` says when: before a delta is applied, or after it was, before it is told."""

    def __init__(self) -> None:
        self.rows: Counter[Line] = Counter()
        self.at: str | None = None
        self.applied = 0
        self.resets = 0
        self.dies = ""

    def position(self) -> str | None:
        return self.at

    def apply(self, delta: Delta[Line]) -> None:
        if self.dies == "before":
            raise Killed
        if delta.reset:
            self.rows.clear()
            self.resets += 1
        self.rows.subtract([*delta.removed, *(before for before, _ in delta.changed)])
        self.rows.update([*delta.added, *(after for _, after in delta.changed)])
        assert not any(number not in (0, 1) for number in self.rows.values()), "a row twice, or never there"
        self.at = delta.position
        self.applied += 1
        if self.dies == "after":
            raise Killed


def rows(mirror: Mirror) -> set[Line]:
    return {row for row, number in mirror.rows.items() if number}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    return tmp_path


def engine(place: Path) -> Engine:
    return Engine(place / ".engine", root=place)


def test_a_sink_is_brought_up_to_date_by_what_changed(place: Path) -> None:
    mirror: Sink[Line] = Mirror()
    assert isinstance(mirror, Mirror)
    with engine(place) as db:
        assert drain(db, notes, mirror, "m") == 1
        assert drain(db, notes, mirror, "m") == 0
        (place / "b.txt").write_text("three\n")
        db.sync()
        assert drain(db, notes, mirror, "m") == 1
        assert rows(mirror) == set(db.get(notes.where))
    assert (mirror.applied, mirror.resets) == (2, 1)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sink_that_dies_at_any_moment_loses_and_repeats_nothing(place: Path, moment: str) -> None:
    mirror, chance = Mirror(), random.Random(3)
    for _ in range(20):
        (place / f"{chance.choice('abc')}.txt").write_text("\n".join(chance.sample("pqrstuv", 3)))
        mirror.dies = moment if chance.random() < 0.6 else ""
        with engine(place) as db:
            try:
                drain(db, notes, mirror, "m")
            except Killed:
                continue
            assert rows(mirror) == set(db.get(notes.where))
    mirror.dies = ""
    with engine(place) as db:
        drain(db, notes, mirror, "m")
        assert rows(mirror) == set(db.get(notes.where))
    assert mirror.resets == 1


def test_a_sink_without_a_position_gets_all_rows_whatever_its_cursor_was_told(place: Path) -> None:
    with engine(place) as db:
        drain(db, notes, Mirror(), "m")
        fresh = Mirror()
        assert drain(db, notes, fresh, "m") == 1
        assert (rows(fresh), fresh.resets) == (set(db.get(notes.where)), 1)


def test_a_sink_of_another_store_or_of_an_older_day_begins_anew(place: Path) -> None:
    mirror = Mirror()
    with engine(place) as db:
        drain(db, notes, mirror, "m")
        before = mirror.at
        (place / "a.txt").write_text("four\n")
        db.sync()
        drain(db, notes, mirror, "m")
        mirror.at = before  # as a backup has it
        mirror.rows = Counter([Line("a.txt", "one"), Line("a.txt", "two")])
        drain(db, notes, mirror, "m")
        assert rows(mirror) == {Line("a.txt", "four")}
    with Engine(place / ".other", root=place) as db:
        drain(db, notes, mirror, "m")
        assert rows(mirror) == {Line("a.txt", "four")}
    assert mirror.resets == 3


def test_two_that_feed_one_sink_apply_nothing_twice(place: Path, tmp_path: Path) -> None:
    with engine(place) as db, FullText(tmp_path / "x.db", {"text": 1.0}, ("path",)) as one:

        def texts(row: Line) -> tuple[str, ...]:
            return row.text, row.path

        other = FullText(tmp_path / "x.db", {"text": 1.0}, ("path",))
        applied: list[Delta[Line]] = []

        def deltas(after: str | None) -> Iterable[Delta[Line]]:
            for delta in db.changes(notes, since="m", after=after):
                if not applied:  # the other one is quicker
                    sink = FullTextSink[Line](other, texts)
                    assert sink.position() is None
                    sink.apply(delta)
                    applied.append(delta)
                yield delta

        assert pour(deltas, FullTextSink[Line](one, texts)) == 0
        assert len(one) == 2
        other.close()
        one.check()


def test_what_is_no_table_is_refused_by_its_name_before_anything_is_applied(place: Path) -> None:
    mistaken: list[Any] = [files, notes.where, files.key(), "notes"]  # Any: a checker of types would tell
    with engine(place) as db:
        for one in mistaken:
            with pytest.raises(BadTable) as error:
                drain(db, one, Mirror(), "m")
            assert error.value.fields == {"": f"{short(one)} is not a table", "consumer": "m"}
            assert "db.changes(" in error.value.hint


def test_what_is_no_sink_is_refused_with_what_it_lacks(place: Path) -> None:
    class Deaf:
        def position(self) -> None: ...

    mistaken: list[tuple[Any, str]] = [
        (Counter(), "it lacks position, apply"),
        (Deaf(), "it lacks apply"),
        (Mirror, "it is a class, and not one of its objects"),
    ]
    with engine(place) as db:
        for sink, cause in mistaken:
            with pytest.raises(BadArguments) as error:
                drain(db, notes, sink, "m")
            assert error.value.fields == {"sink": short(sink), "cause": cause}
            assert "engine.sinks.Sink" in error.value.hint


def test_a_sink_that_is_never_alone_gives_up_in_words() -> None:
    class Never:
        def position(self) -> str | None:
            return "x"

        def apply(self, delta: Delta[Line]) -> None:
            raise BadCursor(cause="always")

    delta: Delta[Line] = Delta(1, "p", (), (), ())
    with pytest.raises(BadCursor, match="others feed the same sink"):
        pour(lambda after: [delta], Never())
