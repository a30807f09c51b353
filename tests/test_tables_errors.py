"""Members and source keys that fail, for good or for a moment, and heal: one claim a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from engine import Engine, Table, Transient, input, query, table
from engine.tables.lookup import MemberFailure
from tests.watching import Watch
from tests.words import (
    BUSY,
    Word,
    broken,
    content,
    over_fragile,
    paths,
    ran,
    unrelated,
    uses,
    words,
    write,
)


@pytest.fixture(autouse=True)
def free() -> Iterator[None]:
    yield
    BUSY.clear()


def test_a_member_that_fails_has_no_rows_is_listed_and_heals(db: Engine, watch: Watch) -> None:
    write(db, a="cat", b="cat dog")
    assert (watch.get(uses, "cat"), watch.get(words.failures)) == (2, ())
    write(db, b="cat dog!")
    assert watch.get(uses, "cat") == 1
    assert watch.ran == ["words('b')", "count(text='cat')", "uses('cat')"]
    assert db.get(words.failures) == (MemberFailure("'b'", "ValueError: cat dog!"),)
    with pytest.raises(ValueError, match="cat dog!"):
        db.get(words.of, "b")
    assert db.get(words.of, "a") == (Word("cat", 3),)
    write(db, b="cat owl!")
    assert db.get(words.failures) == (MemberFailure("'b'", "ValueError: cat owl!"),)
    write(db, b="cat")
    assert (watch.get(uses, "cat"), db.get(words.failures)) == (2, ())
    write(db, b="!")
    assert len(db.get(words.failures)) == 1
    write(db, b=None)
    assert db.get(words.failures) == ()
    assert db.get(words.of, "b") == ()


class Mute(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_that_cannot_be_told_is_that_of_its_member_alone(db: Engine) -> None:
    @table(each=paths, index=("text",))
    def muted(path: str) -> Iterable[Word]:
        if content(path) == "mute":
            raise Mute
        yield Word(content(path), 1)

    for text, count in (("mute", 1), ("cow", 2), ("mute", 1)):
        write(db, a="cat", b=text)
        assert db.get(muted.count) == count
        assert [one.error for one in db.get(muted.failures)] == ["Mute"] * (2 - count)
    with pytest.raises(Mute):
        db.get(muted.of, "b")
    db.check_invariants()


def test_an_error_that_is_equal_is_told_to_nobody(db: Engine, watch: Watch) -> None:
    write(db, a="cat!", b="dog")
    db.get(words.failures)
    db.get(uses, "dog")
    db.forget("*words('a')")
    assert ran(watch, words.failures.key(), uses.key("dog")) == ["words('a')"]


def test_rows_that_a_transient_failure_hid_are_seen_by_who_looked_meanwhile(db: Engine, watch: Watch) -> None:
    BUSY.add("a")
    write(db, a="cat", b="cat")
    for _ in range(2):
        assert db.get(uses, "cat") == 1
        assert [one.error for one in db.get(words.failures)] == ["OSError: busy"]
    BUSY.clear()
    assert db.get(uses, "cat") == 2
    assert db.get(words.failures) == ()
    assert watch.get(uses, "cat") == 2
    assert watch.ran == []
    BUSY.add("a")
    write(db, a="cat cow")
    assert (db.get(uses, "cat"), db.get(uses, "cow")) == (1, 0)
    with pytest.raises(OSError, match="busy"):
        db.get(words.of, "a")
    BUSY.clear()
    assert (db.get(uses, "cat"), db.get(uses, "cow"), len(db.get(words.of, "a"))) == (2, 1, 2)
    db.check_invariants()


def test_a_transient_failure_is_tried_again_after_a_restart(store: Path) -> None:
    BUSY.add("a")
    with Engine(store) as db:
        write(db, a="cat")
        assert db.get(uses, "cat") == 0
    BUSY.clear()
    with Engine(store) as db:
        assert db.get(uses, "cat") == 1


def test_a_value_that_cannot_be_had_again_for_a_moment_leaves_its_memo_alone(db: Engine) -> None:
    @query
    def by_member(path: str) -> int:
        return len(words(path)) + unrelated()

    write(db, a="cat dog")
    assert (db.get(by_member, "a"), db.get(uses, "cat")) == (3, 1)
    for text in ("x", "y", "z"):
        write(db, b=text)  # the value of the member is kept for so long only
        db.get(unrelated)
    BUSY.add("a")
    with pytest.raises(OSError, match="busy"):
        db.get(words.key("a"))
    assert db.get(uses, "cat") == 1
    db.check_invariants()
    BUSY.clear()
    assert db.get(by_member, "a") == 4
    write(db, a="cat")
    assert (db.get(by_member, "a"), db.get(uses, "dog")) == (3, 0)


def test_a_failure_that_is_not_stored_is_equal_to_itself(db: Engine, watch: Watch) -> None:
    @query(persist=False)
    def odd(n: int) -> int:
        raise ValueError("odd", n)

    @query
    def reader(n: int) -> str:
        try:
            return str(odd(1) + unrelated())
        except ValueError as error:
            return f"{error.args} {unrelated()} {n}"

    for n in range(5):
        db.get(reader, n)
        write(db, a="x" * n)
    before = db.revision
    watch.clear()
    db.get(reader, 9)
    assert watch.ran == ["odd(1)", "reader(9)"]
    assert db.revision == before
    assert not db.notes()


@table(each=over_fragile.column("text"), index=("text",))
def over_column(text: str) -> Iterable[Word]:
    yield Word(text, 1)


@pytest.mark.parametrize("which", [over_fragile, over_column])
def test_source_keys_that_fail_fail_every_lookup_with_their_error_of_now_and_heal(
    db: Engine, which: Table[str, Word]
) -> None:
    write(db, a="cat")
    assert db.get(which.count) == 1
    for why in ("one", "two", "busy", "two", "", "one", ""):
        db.set(broken.key(), why)
        for _ in range(2):
            if not why:
                assert db.get(which.count) == 1
                assert db.get(which.where, text="cat") == (Word("cat", 1),)
            else:
                for key in (which.count.key(), which.where.key(text="cat"), which.failures.key()):
                    with pytest.raises(Transient if why == "busy" else ValueError, match=why):
                        db.get(key)
        db.check_invariants()


def test_a_table_whose_members_fail_says_so_where_it_has_no_rows() -> None:
    @input
    def divisor() -> int:
        return 0

    @query
    def sources() -> tuple[str, ...]:
        return ("a", "bb")

    @table(each=sources, index=("text",), name="quotients")
    def quotients(source: str) -> Iterable[Word]:
        yield Word(source, len(source) // divisor())

    with Engine(None) as db:
        assert db.get(quotients) == ()
        (told,) = db.notes()
        assert told.startswith("quotients has no rows, and members of it fail: ZeroDivisionError")
        assert "failures()" in told
        assert (db.get(quotients.count), db.notes()) == (0, ())  # once
        db.set(divisor, 1)
        assert (len(db.get(quotients)), db.notes()) == (2, ())
        db.set(divisor, 0)
        assert (db.get(quotients), len(db.notes())) == ((), 1)  # again


@pytest.mark.parametrize(("good", "bad"), ["ab", "ba"])
def test_it_says_so_whichever_of_its_members_was_looked_at_last(good: str, bad: str) -> None:
    @input
    def healed() -> bool:
        return False

    @query
    def sources() -> tuple[str, ...]:
        return ("a", "b")

    @table(each=sources, index=("text",), name=f"healing {good}")
    def healing(source: str) -> Iterable[Word]:
        if source == (good if healed() else bad):
            raise ValueError(source)
        if not healed():
            yield Word(source, 1)

    with Engine(None) as db:
        assert (len(db.get(healing)), db.notes()) == (1, ())
        db.set(healed, True)  # what had a row fails, and what failed has none
        assert (db.get(healing), len(db.notes())) == ((), 1)


def test_a_pattern_of_failures_that_a_store_has_forces_nobody(store: Path) -> None:
    with Engine(store) as db:
        write(db, a="cat", b="dog!")
        assert len(db.get(words.failures)) == 1
        (kept,) = db._core.collections.values()
        kept.patterns.update({("failures", (), 0): None, ("of", (), 0): None})  # as engines before noted them
        kept.dirty = True
    with Engine(store) as db:
        watch = Watch(db)
        write(db, a="cow")
        assert len(watch.get(words.failures)) == 1
        assert watch.ran == ["words('a')"]
