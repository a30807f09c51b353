"""Tables and folds are found right after edits and restarts, and a wrong row or contribution is named."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, input, query, table
from engine.graph import LOADED
from engine.key import Key
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from tests.verified import db, lines, node_of, number, place

__all__ = ["db", "place"]  # fixtures


@frozen
class Word:
    text: str
    length: int


@input
def least() -> int:
    return 0


@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))


@table(each=files, index=("text",))
def words(path: str) -> Iterable[Word]:
    for word in read_text(path).split():
        if len(word) >= least():
            yield Word(word, len(word))


total = fold(each=files, of=lines, into=Sum())


@query
def uses(word: str) -> tuple[int, int]:
    return len(words.where(text=word)), total()


def test_an_engine_that_is_right_is_found_right_and_every_node_was_compared(db: Engine) -> None:
    assert db.get(uses, "two") == (2, 3)
    found = db.verify()
    assert (found.differences, found.moved, found.left_out) == ((), (), ())
    assert found.compared == len(db._core.graph) - 1
    assert found.keys == 1


def test_outdated_keys_are_brought_up_to_date_first(db: Engine, place: Path) -> None:
    db.get(uses, "two")
    (place / "c.txt").write_text("two two\nx\n")
    db.sync()
    assert db.verify().differences == ()
    before = db.counts().executed
    assert db.get(uses, "two") == (3, 5)
    assert db.counts().executed == before


def test_a_restart_between_building_and_verifying_makes_no_difference(place: Path) -> None:
    with Engine(place / ".engine", root=place) as db:
        db.get(uses, "two")
        with pytest.raises(ValueError, match="invalid literal"):
            db.get(number, "a.txt")
    (place / "a.txt").write_text("two\n")
    with Engine(place / ".engine", root=place) as db:
        found = db.verify()
        assert (found.differences, found.keys) == ((), 2)
        assert found.compared > 10
    with Engine(place / ".engine", root=place, read_only=True) as db:
        (place / "a.txt").write_text("two two two\n")
        assert db.verify().differences == ()


def test_a_verification_of_what_stands_still_is_no_revision_and_reads_nothing(place: Path) -> None:
    for _ in range(2):
        with Engine(place / ".engine", root=place) as db:
            db.get(uses, "two")
            revision, read = db.revision, db.counts().read
            assert db.verify().differences == ()
            assert (db.revision, db.counts().read) == (revision, read)


def test_what_the_host_set_counts_for_both(db: Engine, place: Path) -> None:
    db.set(least.key(), 4)
    db.set(read_text.key("b.txt"), "threefold\n")
    assert db.get(words.where) == (Word("three", 5), Word("threefold", 9))
    assert db.verify().differences == ()
    db.reset(read_text.key("b.txt"))
    assert db.verify().differences == ()


def test_only_the_keys_that_are_named_are_computed(db: Engine) -> None:
    db.get(uses, "two")
    found = db.verify(lines.key("a.txt"))
    assert (found.keys, found.compared) == (1, 2)
    whole = db.verify(words, total)
    assert whole.keys == 2
    assert whole.differences == ()


def test_a_state_that_its_members_do_not_come_to_is_found_before_an_edit_shows_it(db: Engine) -> None:
    db.get(total)
    kept = db._core.collections[node_of(db, Key(total.__collection__.settle, ()))]
    assert isinstance(kept, KeptFold)
    state = kept._state
    kept._held = [total.__collection__.into.add(state, 5)]

    (told,) = db.verify().differences

    assert (told.key, told.kept, told.right) == ("tests.verified:lines.Sum", "a state that comes to 8", "3")
    kept._held = ["no state of a sum"]
    (told,) = db.verify().differences
    assert told.kept.startswith("a state that comes to ValueError: "), "not a sentence without an end"
    kept._held = [state]
    assert db.verify().differences == ()


def test_to_verify_a_key_reads_no_query_that_it_does_not_rest_on(place: Path) -> None:
    with Engine(place / ".engine", root=place) as db:
        db.set(least.key(), 4)
        db.get(uses, "two")
    with Engine(place / ".engine", root=place) as db:
        core = db._core
        assert db.verify(lines.key("a.txt")).compared == 2
        loaded = {core.name_of(node) for node, state in enumerate(core.graph.status) if state & LOADED}

    assert loaded.issuperset({f"{lines.key('a.txt')}", f"{least.key()}"})  # what the host set counts
    assert loaded.isdisjoint({f"{lines.key('b.txt')}", f"{uses.key('two')}"})


def test_all_nodes_are_found_in_one_statement_however_many_queries_there_are(place: Path) -> None:
    with Engine(place / ".engine", root=place) as db:
        db.get(uses, "two")
    with Engine(place / ".engine", root=place) as db:
        said: list[str] = []
        assert db.store is not None
        db.store.connection.set_trace_callback(said.append)
        assert db.forget("none of them") == 0
        db.store.connection.set_trace_callback(None)

    assert [one for one in said if "FROM node WHERE query" in one] == []
    assert len([one for one in said if "FROM node" in one and " IN " not in one]) == 1


def test_random_edits_never_make_a_difference(db: Engine, place: Path) -> None:
    chance = random.Random(5)
    for step in range(25):
        path = place / f"{chance.choice('abcd')}.txt"
        match chance.randrange(4):
            case 0:
                path.unlink(missing_ok=True)
            case 1:
                db.set(least.key(), chance.randrange(4))
            case _:
                text = chance.choices(["one", "two", "three\n"], k=chance.randrange(6))
                path.write_text(" ".join(text))
        db.sync()
        db.get(uses, chance.choice(["one", "two"]))
        assert db.verify().differences == (), step


def test_a_row_that_is_not_its_members_is_found_and_named(db: Engine) -> None:
    db.get(words.where)
    core = db._core
    kept = core.collections[node_of(db, Key(words.__collection__.settle, ()))]
    assert isinstance(kept, KeptTable)
    node = node_of(db, words.key("b.txt"))
    kept.kept.put(node, "b.txt", (("too", 3),), False)
    found = db.verify().differences
    assert [(one.key, one.kept, one.right) for one in found] == [
        (f"{__name__}:words", "Word(text='too', length=3) of 'b.txt'", "no such row"),
        (f"{__name__}:words", "no such row", "Word(text='two', length=3) of 'b.txt'"),
    ]


def test_a_contribution_that_is_not_its_members_is_found_and_named(db: Engine) -> None:
    db.get(total)
    core = db._core
    kept = core.collections[node_of(db, Key(total.__collection__.settle, ()))]
    kept.news[node_of(db, lines.key("b.txt"))] = b"\x01\x07"
    (found,) = db.verify().differences
    assert (found.key, found.right) == (str(lines.key("b.txt")), "1")
    assert "contribution" in found.kept
