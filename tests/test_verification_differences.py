"""A value that is wrong is found and named where it begins, with what is kept and what is right."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine import Engine, query
from engine.rules.files import read_text
from tests.verified import db, lines, node_of, place

__all__ = ["db", "place"]  # fixtures


@query
def peeks(path: str) -> str:
    return (Path(__file__).parent / path).read_text() if path == "never" else Path(path).read_text()


@query
def above(path: str) -> str:
    return peeks(path).upper()


def test_a_read_that_nobody_recorded_is_found_and_named_where_it_begins(db: Engine, place: Path) -> None:
    secret = place / "secret"
    secret.write_text("before")
    db.get(above, str(secret))
    secret.write_text("after")
    db.sync()
    assert db.get(above, str(secret)) == "BEFORE"
    first, second = db.verify().differences
    assert (first.key, first.kept, first.right) == (str(peeks.key(str(secret))), "'before'", "'after'")
    assert first.because == ""
    assert (second.key, second.because) == (str(above.key(str(secret))), first.key)


def test_values_are_shortened_to_the_place_where_they_differ(db: Engine, place: Path) -> None:
    secret = place / "secret"
    secret.write_text("x" * 5000 + "before" + "y" * 5000)
    db.get(peeks, str(secret))
    secret.write_text("x" * 5000 + "after" + "y" * 5000)
    (found,) = db.verify().differences
    assert "before" in found.kept
    assert "after" in found.right
    assert len(found.kept) < 200


def test_an_input_that_is_kept_wrongly_is_a_difference_with_all_that_rests_on_it(place: Path) -> None:
    with Engine(place / ".engine", root=place) as db:
        db.get(lines, "a.txt")
        db._core.observed.clear()  # as if an observed input had been forgotten: nobody looks at it again
        (place / "a.txt").write_text("")
        db.sync()
        found = db.verify(lines.key("a.txt"))
        assert [one.key for one in found.differences] == [
            str(read_text.key("a.txt")),
            str(lines.key("a.txt")),
        ]
        assert (found.differences[1].kept, found.differences[1].right) == ("2", "0")
        assert found.moved == ()


def test_a_value_in_memory_that_is_not_the_one_of_its_fingerprint_is_found(db: Engine) -> None:
    db.get(lines, "a.txt")
    db._core.graph.values[node_of(db, lines.key("a.txt"))] = 3
    (found,) = db.verify().differences
    assert (found.key, found.kept, found.right) == (str(lines.key("a.txt")), "in memory: 3", "2")


def test_stored_bytes_that_are_not_those_of_their_fingerprint_are_found_and_left_alone(place: Path) -> None:
    with Engine(place / ".engine", root=place) as db:
        db.get(lines, "a.txt")
        assert db.store is not None
        with sqlite3.connect(db.store.path) as other:
            other.execute("UPDATE node SET value = x'05' WHERE id = ?", (node_of(db, lines.key("a.txt")),))
        other.close()
        for _ in range(2):
            (found,) = db.verify().differences
            assert found.key == str(lines.key("a.txt"))
            assert "stored bytes" in found.kept
            assert found.right == "2"
