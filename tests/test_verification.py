"""Everything once more from scratch: what is right is found right, and what is wrong is named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, input, query, table
from engine.errors import ChangedInsideQuery, Closed
from engine.kept_table import KeptTable
from engine.key import Key
from engine.locate import find
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.verification import Verifier


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


@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())


@table(each=files, index=("text",))
def words(path: str) -> Iterable[Word]:
    for word in read_text(path).split():
        if len(word) >= least():
            yield Word(word, len(word))


total = fold(each=files, of=lines, into=Sum())


@query
def uses(word: str) -> tuple[int, int]:
    return len(words.where(text=word)), total()


@query
def number(path: str) -> int:
    return int(read_text(path))


@query
def peeks(path: str) -> str:
    return (Path(__file__).parent / path).read_text() if path == "never" else Path(path).read_text()


@query
def above(path: str) -> str:
    return peeks(path).upper()


@query(eq=lambda old, new: abs(old - new) < 10)
def rough(path: str) -> int:
    return len(read_text(path))


@query
def from_rough(path: str) -> int:
    return rough(path)


TICKS: list[int] = []
EDITS: list[tuple[Path, str]] = []


@query(untracked=True)
def ticks() -> int:
    TICKS.append(0)
    return len(TICKS)


@query
def from_ticks() -> int:
    return ticks() + 1


@query
def restless(path: str) -> str:
    text = read_text(path)
    if EDITS:  # somebody saves the file while it is read
        file, new = EDITS.pop()
        file.write_text(new)
    return text


@query
def verifies() -> int:
    return ENGINES[-1].verify().compared


ENGINES: list[Engine] = []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    (tmp_path / "b.txt").write_text("two\n")
    return tmp_path


@pytest.fixture(params=["in memory", "stored"])
def db(request: pytest.FixtureRequest, place: Path) -> Iterator[Engine]:
    with Engine(None if request.param == "in memory" else place / ".engine", root=place) as found:
        yield found


def node_of(db: Engine, key: Key[object]) -> int:
    node = find(db._core, key.query, key.args)
    assert node
    return node


# -- what is right -------------------------------------------------------------------------------


def test_an_engine_that_is_right_is_found_right_and_every_node_was_compared(db: Engine) -> None:
    assert db.get(uses, "two") == (2, 3)
    found = db.verify()
    assert (found.differences, found.moved, found.left_out) == ((), (), ())
    assert found.compared == len(db._core.graph) - 1
    assert found.keys == 1


def test_without_keys_there_is_nothing_to_compare(db: Engine) -> None:
    assert (db.verify().keys, db.verify().compared) == (0, 0)


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


def test_failures_are_values_and_compared_as_such(db: Engine, place: Path) -> None:
    for path in ("a.txt", "gone.txt"):
        with pytest.raises(Exception, match=r"invalid literal|gone"):
            db.get(number, path)
    assert db.verify().differences == ()
    (place / "a.txt").write_text("7")
    db.sync()
    found = db.verify()
    assert (found.differences, db.get(number, "a.txt")) == ((), 7)


def test_only_the_keys_that_are_named_are_computed(db: Engine) -> None:
    db.get(uses, "two")
    found = db.verify(lines.key("a.txt"))
    assert (found.keys, found.compared) == (1, 2)
    whole = db.verify(words, total)
    assert whole.keys == 2
    assert whole.differences == ()


def test_a_sample_computes_no_more_than_it_names(db: Engine, place: Path) -> None:
    for at in range(50):
        (place / f"n{at}.txt").write_text("x\n" * at)
        db.get(lines, f"n{at}.txt")
    verifier = Verifier(db._core, (), 5, random.Random(1))
    found = verifier.run()
    assert (found.differences, found.keys) == ((), 50)
    assert verifier.scratch.executed == 5
    assert found.compared == 10  # and the text that each of them read


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


# -- what may differ -----------------------------------------------------------------------------


def test_an_untracked_query_and_what_rests_on_it_are_no_differences(db: Engine) -> None:
    db.get(from_ticks)
    assert db.verify().differences == ()


def test_a_value_that_its_own_eq_takes_for_the_same_is_no_difference(db: Engine, place: Path) -> None:
    db.get(from_rough, "b.txt")
    (place / "b.txt").write_text("two!\n")
    db.sync()
    assert db.get(from_rough, "b.txt") == 4  # the old value is kept
    assert db.verify().differences == ()


def test_a_file_that_is_saved_meanwhile_is_looked_at_again(db: Engine, place: Path) -> None:
    db.get(restless, "b.txt")
    EDITS.append((place / "b.txt", "saved\n"))
    found = db.verify()
    assert not EDITS
    assert (found.differences, found.moved) == ((), ())
    assert db.get(restless, "b.txt") == "saved\n"


def test_a_file_that_never_stands_still_is_named_and_no_difference(db: Engine, place: Path) -> None:
    db.get(restless, "b.txt")
    EDITS.extend((place / "b.txt", f"saved {at}\n") for at in range(100))
    found = db.verify()
    EDITS.clear()
    assert found.differences == ()
    assert [name for name in found.moved if "b.txt" in name] == list(found.moved)


# -- what is wrong -------------------------------------------------------------------------------


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


def test_a_query_may_not_verify(db: Engine) -> None:
    ENGINES.append(db)
    with pytest.raises(ChangedInsideQuery):
        db.get(verifies)


@query
def ending() -> int:
    """Closes the engine that it is verified in."""
    for engine in to_close:
        engine.close()
    return 1


to_close: list[Engine] = []


def test_a_verification_ends_with_its_engine() -> None:
    with Engine(None) as db:
        assert db.get(ending) == 1
        to_close.append(db)
        try:
            with pytest.raises(Closed):
                db.verify()
        finally:
            to_close.clear()
