"""The full-text index: rows and position together, whoever kills whom."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadCursor, BadSearch, StoreForeign, StoreFull, StoreTooNew
from engine.store.fulltext import FullText

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {"name": 10.0, "text": 1.0}
GREET = ("greet", "Says hello to everybody.", "a.py")
PART = ("part", "Says goodbye; greets nobody.", "b.py")


def opened(path: Path) -> FullText:
    return FullText(path, COLUMNS, ("path",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


def names(index: FullText, text: str) -> list[str]:
    return [hit.values["name"] for hit in index.search(text, 100)]


def test_rows_are_found_by_their_words_the_better_match_first(path: Path) -> None:
    with opened(path) as index:
        assert index.position() is None
        index.apply("1", removed=(), added=[PART, GREET])
        assert names(index, "greet") == ["greet", "part"]  # a name counts more than a text
        assert names(index, "everybody OR goodbye") == ["greet", "part"]
        assert names(index, "name:part") == ["part"]
        (hit,) = index.search('"hello to"', 10)
        assert hit.values == dict(zip(index.columns, GREET, strict=True))
        assert hit.snippet == "Says hello to everybody."
        assert len(index.search("says", 1)) == 1
        index.check()


def test_position_and_rows_outlive_the_process(path: Path) -> None:
    with opened(path) as index:
        index.apply("7", removed=(), added=[GREET])
    with opened(path) as index:
        assert (index.position(), names(index, "hello"), index.set_aside) == ("7", ["greet"], "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_row_that_was_added_twice_is_there_until_it_was_removed_twice(path: Path) -> None:
    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET, GREET])
        index.apply("2", removed=[GREET], added=())
        assert names(index, "hello") == ["greet"]
        index.apply("3", removed=[GREET, GREET], added=[PART])
        assert (names(index, "hello"), len(index)) == ([], 1)
        index.apply("4", removed=(), added=[GREET], reset=True)
        assert (names(index, "says"), len(index)) == (["greet"], 1)
        index.check()


def test_a_change_that_fails_halfway_changes_nothing(path: Path) -> None:
    def rows() -> Iterator[tuple[str, str, str]]:
        yield PART
        raise RuntimeError("in the middle")

    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET])
        with pytest.raises(RuntimeError):
            index.apply("2", removed=[GREET], added=rows())
        assert (index.position(), names(index, "says")) == ("1", ["greet"])
        index.apply("2", removed=(), added=[PART])
        index.check()


def test_an_index_that_finds_no_room_says_what_to_do_about_an_index(path: Path) -> None:
    with opened(path) as index:
        index._connection.execute("PRAGMA max_page_count = 1")  # no fewer than there are
        with pytest.raises(StoreFull, match="or name another place for the index") as caught:
            index.apply("1", removed=(), added=[("name", " ".join(map(str, range(20_000))), "a.py")])
        assert "memory" not in str(caught.value)
        assert index.position() is None


def test_of_two_writers_one_is_told_that_the_other_went_on(path: Path) -> None:
    with opened(path) as one, opened(path) as other:
        assert one.position() is other.position() is None
        one.apply("1", removed=(), added=[GREET])
        with pytest.raises(BadCursor):
            other.apply("1", removed=(), added=[GREET])
        assert other.position() == "1"
        assert names(other, "hello") == ["greet"]


def test_who_opens_an_index_while_another_makes_it_leaves_it_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made once more, empty, under the eyes of who had filled it."""
    others: list[FullText] = []
    connect = sqlite3.connect

    class Overtaken(sqlite3.Connection):
        def execute(self, sql: str, *bound: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and not others:
                monkeypatch.setattr(sqlite3, "connect", connect)
                others.append(opened(path))
                assert others[0].position() is None
                others[0].apply("1", removed=(), added=[GREET])
            return super().execute(sql, *bound)

    monkeypatch.setattr(sqlite3, "connect", lambda *given, **how: connect(*given, factory=Overtaken, **how))
    with opened(path) as index:
        assert (index.position(), names(index, "hello")) == ("1", ["greet"])
    assert names(others[0], "hello") == ["greet"]
    others[0].close()


@pytest.mark.parametrize(
    "text", ["a.b", "", '"', "nowhere:word", "(", "NOT", "a AND", "*", "NEAR(a b, c)", "\x00"]
)
def test_what_is_no_query_is_refused_in_words(path: Path, text: str) -> None:
    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET])
        with pytest.raises(BadSearch) as refused:
            index.search(text, 10)
        assert "double quotes" in str(refused.value)
        assert names(index, "hello") == ["greet"]


def test_more_rows_may_be_asked_for_than_sqlite_counts(path: Path) -> None:
    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET])
        assert [hit.values["name"] for hit in index.search("hello", 10**30)] == ["greet"]


def test_any_text_can_be_kept_and_taken_out_again(path: Path) -> None:
    odd = ("\udcff\0x", "naïve \N{SNOWMAN} 日本語", "\x1b[31m")
    with opened(path) as index:
        index.apply("1", removed=(), added=[odd])
        assert [hit.values["path"] for hit in index.search("naive", 10)] == ["\x1b[31m"]
        index.apply("2", removed=[odd], added=())
        assert len(index) == 0


def test_other_columns_begin_anew(path: Path) -> None:
    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET])
    with FullText(path, {"name": 1.0}) as index:
        assert (index.position(), len(index)) == (None, 0)


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_index_is_set_aside_and_begun_anew(path: Path, damage: str) -> None:
    with opened(path) as index:
        index.apply("1", removed=(), added=[GREET] * 100)
    data = bytearray(path.read_bytes())
    assert len(data) > 8192
    if damage == "cut":
        del data[4096:]
    else:
        data[100:4096] = os.urandom(3996)
    path.write_bytes(data)
    with opened(path) as index:
        assert index.position() is None
        assert Path(index.set_aside).read_bytes() == bytes(data)


def test_a_file_that_is_not_ours_is_left_alone(path: Path) -> None:
    path.write_text("a poem")
    with pytest.raises(StoreForeign):
        opened(path)
    assert path.read_text() == "a poem"
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE poem (line)")
    other.close()
    with pytest.raises(StoreForeign):
        opened(path)
    path.unlink()
    opened(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreTooNew):
        opened(path)


WRITER = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from engine.store.fulltext import FullText
with FullText(Path({path!r}), {columns!r}, ("path",)) as index:
    at = int(index.position() or 0)
    print(flush=True)
    while True:
        at += 1
        index.apply(str(at), removed=[(f"n{{at - 20}}", "x", "p")], added=[(f"n{{at}}", "x", "p")])
"""


def test_a_writer_that_is_killed_leaves_rows_and_position_of_one_moment(path: Path) -> None:
    program = WRITER.format(root=str(ROOT), path=str(path), columns=COLUMNS)
    for pause in (0.0, 0.003, 0.01, 0.02, 0.05, 0.08):
        process = subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.kill()
        process.wait()
        process.stdout.close()
        with opened(path) as index:
            at = int(index.position() or 0)
            wanted = {f"n{number}" for number in range(max(1, at - 19), at + 1)}
            assert set(names(index, "x")) == wanted
            index.check()
