"""`engine search`: words of definitions and docstrings to the places where they stand."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.__main__ import answer
from engine.errors import BadSearch
from engine.rules.python.documents import Document, documents
from tests.watch_process import Asked, Watching, save
from tests.watching import Watch

SHAPES = '''\
"""Shapes that can be drawn."""

class Shape:
    """Something with an area."""

    def area(self) -> float:
        """How much paint it takes, in litres."""

        def inner():
            """Nobody searches this."""

def loadConfig(path):
    return 1

SIZE = 3
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "pkg" / "shapes.py").write_text(SHAPES)
    return tmp_path


def found(place: Path, text: str, *options: str) -> list[Any]:
    answer = Asked(place, "search", text, "--json", *options)
    assert answer.code == 0, answer.err
    assert "note" not in answer.err
    assert "found" not in answer.err
    return [(one["path"], one["line"], one["qualified"]) for one in json.loads(answer.out)["found"]]


# -- the table -----------------------------------------------------------------------------------


def test_documents_are_the_definitions_with_their_docstrings(place: Path) -> None:
    with Engine(None, root=place) as db:
        rows = db.get(documents.where, path="pkg/shapes.py")
        assert [(row.qualified, row.kind, row.name, row.text) for row in rows] == [
            ("", "module", "shapes", "Shapes that can be drawn."),
            ("SIZE", "variable", "SIZE", ""),
            ("Shape", "class", "Shape", "Something with an area."),
            ("Shape.area", "method", "area", "How much paint it takes, in litres."),
            ("loadConfig", "function", "loadConfig", ""),
        ]
        assert db.get(documents.first, path="pkg/__init__.py") == Document(
            "pkg/__init__.py", "", "module", 0, "pkg", "A package."
        )


def test_moved_lines_change_no_document_and_a_reworded_docstring_one(place: Path) -> None:
    with Engine(None, root=place) as db:
        feed = db.changes(documents, since="test")
        assert [delta.reset for delta in feed] == [True]
        watch = Watch(db)
        save(place / "pkg" / "shapes.py", SHAPES.replace("class Shape", "\n\n# moved\nclass Shape"))
        db.sync()
        assert list(feed) == []
        assert [name for name in watch.ran if name.startswith("documents")] == ["documents('pkg/shapes.py')"]
        save(place / "pkg" / "shapes.py", SHAPES.replace("litres", "buckets"))
        db.sync()
        (delta,) = feed
        assert (delta.added, delta.removed) == ((), ())
        ((before, after),) = delta.changed
        assert (before.text[-7:-1], after.text[-8:-1]) == ("litres", "buckets")


def test_a_broken_file_has_documents_of_what_can_be_read(place: Path) -> None:
    save(place / "pkg" / "broken.py", 'def whole():\n    """Whole."""\ndef half(:\n')
    with Engine(None, root=place) as db:
        assert [row.name for row in db.get(documents.where, path="pkg/broken.py")] == ["broken", "whole"]
        assert db.get(documents.failures) == ()


# -- the command ---------------------------------------------------------------------------------


def test_people_see_the_place_the_definition_and_what_it_says(place: Path) -> None:
    answer = Asked(place, "search", "paint")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == ("pkg/shapes.py:6  method Shape.area\n    How much paint it takes, in litres.\n")
    nothing = Asked(place, "search", "nowhere")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing was found\n")


def test_words_are_found_inside_of_names_and_in_other_forms(place: Path) -> None:
    load = [("pkg/shapes.py", 12, "loadConfig")]
    assert found(place, "config") == found(place, "loadconfig") == found(place, "load config") == load
    assert found(place, "packages") == [("pkg/__init__.py", 1, "")]
    assert found(place, "name:shape*", "--limit", "1") == [("pkg/shapes.py", 3, "Shape")]
    assert found(place, "searches") == []


def test_the_index_follows_what_is_saved_and_where_it_stands(place: Path) -> None:
    assert found(place, "litres") == [("pkg/shapes.py", 6, "Shape.area")]
    save(place / "pkg" / "shapes.py", "\n\n\n" + SHAPES)
    assert found(place, "litres") == [("pkg/shapes.py", 9, "Shape.area")]
    save(place / "pkg" / "shapes.py", SHAPES.replace("litres", "buckets"))
    assert found(place, "litres") == []
    assert found(place, "buckets") == [("pkg/shapes.py", 6, "Shape.area")]
    (place / "pkg" / "shapes.py").unlink()
    assert found(place, "buckets") == []


def test_an_index_that_was_removed_or_is_of_another_store_is_made_anew(place: Path) -> None:
    assert found(place, "litres")
    (place / ".engine" / "search.db").unlink()
    assert found(place, "litres") == [("pkg/shapes.py", 6, "Shape.area")]
    assert found(place, "litres", "--index", "elsewhere.db") == [("pkg/shapes.py", 6, "Shape.area")]
    save(place / "pkg" / "shapes.py", SHAPES.replace("litres", "buckets"))
    arguments = ("--store", ".other", "--index", "elsewhere.db")
    assert found(place, "litres OR buckets", *arguments) == [("pkg/shapes.py", 6, "Shape.area")]
    assert found(place, "litres", *arguments) == []


def test_a_damaged_index_is_made_anew_with_a_note(place: Path) -> None:
    assert found(place, "litres")
    file = place / ".engine" / "search.db"
    with sqlite3.connect(file) as index:
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    index.close()
    file.write_bytes(file.read_bytes()[:4096])
    answer = Asked(place, "search", "litres")
    assert answer.out.startswith("pkg/shapes.py:6  ")
    assert "the index was damaged, and is made anew" in answer.err


def test_a_search_that_is_none_and_a_file_that_is_no_index_are_refused(place: Path) -> None:
    for arguments, code in (
        (("a.b",), 2),
        (("x", "--index", "pkg/shapes.py"), 76),
        (("x", "--limit", "0"), 2),
    ):
        answer = Asked(place, "search", *arguments)
        assert (answer.code, answer.out) == (code, ""), answer.err
        assert "Traceback" not in answer.err
    assert (place / "pkg" / "shapes.py").read_text() == SHAPES


def test_an_index_in_a_directory_that_is_not_there_is_told_as_one_and_not_as_the_store(place: Path) -> None:
    for file in ("nowhere/search.db", "pkg/shapes.py/search.db"):
        answer = Asked(place, "search", "litres", "--index", file)
        assert (answer.code, answer.out) == (73, "")
        assert answer.err.splitlines()[-1] == "  Name another place for the index."


def test_a_search_that_is_none_is_refused_before_anything_is_computed(place: Path) -> None:
    assert Asked(place, "search", "a.b").code == 2
    assert json.loads(Asked(place, "status", "--json").out)["nodes"] == 0
    assert found(place, "litres") == [("pkg/shapes.py", 6, "Shape.area")]


def test_any_text_and_any_limit_can_be_said(place: Path) -> None:
    assert found(place, "litres", "--limit", f"{10**30}") == [("pkg/shapes.py", 6, "Shape.area")]
    answer = Asked(place, "search", "\udcff")
    assert (answer.code, answer.out, answer.err.splitlines()[0]) == (2, "", BadSearch.headline)


def test_the_table_of_documents_is_verified_like_any_other_key(place: Path) -> None:
    assert found(place, "litres")
    answer = Asked(place, "verify")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("2 keys from scratch, ")  # the table, and the spans of a file
    assert answer.out.endswith(": no difference\n")


def test_where_a_file_has_its_definitions_is_asked_once_for_all_hits_in_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A watch that answers gets a request for each."""
    asked: list[str] = []
    value = Engine.get

    def noted(db: Engine, query: Any, *args: Any) -> Any:
        asked.extend(args)
        return value(db, query, *args)

    monkeypatch.setattr(Engine, "get", noted)
    monkeypatch.chdir(place)
    assert answer(["search", "shape* OR load OR size OR package", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["found"]) == 6
    assert sorted(asked) == ["pkg/__init__.py", "pkg/shapes.py"]


def test_a_watch_that_has_the_store_brings_the_index_up_to_date(place: Path) -> None:
    with Watching(place, "engine.rules.python.documents:documents") as watch:
        watch.ready()
        assert found(place, "litres") == [("pkg/shapes.py", 6, "Shape.area")]
        save(place / "pkg" / "shapes.py", "\n" + SHAPES.replace("litres", "buckets"))
        assert found(place, "buckets") == [("pkg/shapes.py", 7, "Shape.area")]
        (place / ".engine" / "search.db").unlink()
        assert found(place, "buckets") == [("pkg/shapes.py", 7, "Shape.area")]
        assert watch.ends(signal.SIGINT) == 130
    assert found(place, "litres") == []
