"""Tables: an edit runs what it concerns, and answers are those from scratch. One claim a test."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import pytest
from attrs import astuple, frozen

from engine import CycleError, Engine, Query, Table, Transient, each, input, query, table
from engine.errors import BadLookup, BadTable, WrongValue
from engine.key import Key
from engine.tables import MemberFailure
from tests.test_recover import strike
from tests.watching import Watch

OPTIONS: dict[str, dict[str, Any]] = {
    "memory": {},
    "stored": {"history": 0},
    "strict": {"strict": True},
    "workers": {"workers": 3},
}
BUSY: set[str] = set()  # files that cannot be read for a moment


@frozen
class Word:
    text: str
    length: int


@input
def paths() -> tuple[str, ...]:
    return ()


@input
def content(path: str) -> str:
    return ""


@table(each=paths, index=("text", "length"))
def words(path: str) -> Iterable[Word]:
    if path in BUSY:
        raise OSError("busy")
    text = content(path)
    if "!" in text:
        raise ValueError(text)
    for word in text.split():
        yield Word(word, len(word))


@query
def uses(word: str) -> int:
    return words.count(text=word)


@query
def lengths() -> tuple[int, ...]:
    return tuple(sorted({word.length for word in words.where()}))


@query
def has(word: str) -> str:
    return "yes" if words.exists(text=word) else "no"


@query
def unrelated() -> int:
    return len(paths())


@pytest.fixture(params=OPTIONS)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    BUSY.clear()
    store = tmp_path / "store" if request.param == "stored" else None
    with Engine(store, **OPTIONS[request.param]) as engine:
        yield engine


@pytest.fixture
def watch(db: Engine) -> Watch:
    return Watch(db)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    BUSY.clear()
    return tmp_path / "store"


def write(db: Engine, **files: str | None) -> None:
    """One batch: contents of files, None for a file that goes."""
    known = dict.fromkeys(db.get(paths))
    for path, text in files.items():
        known = {**known, path: None} if text is not None else {p: None for p in known if p != path}
    with db.batch():
        db.set(paths.key(), tuple(known))
        for path, text in files.items():
            if text is not None:
                db.set(content.key(path), text)


def ran(watch: Watch, *asked: Key[Any]) -> list[str]:
    """What runs when keys are asked for one after the other, sorted."""
    watch.clear()
    for key in asked:
        watch.db.get(key)
    watch.db.check_invariants()
    return sorted(name.partition(":")[2] or name for name in (str(e.key) for e in watch.events if is_run(e)))


def is_run(event: Any) -> bool:
    return event.what.value in ("executed", "cut off", "failed")


# -- whom a row concerns ---------------------------------------------------------------------------


LOOKUPS: dict[str, Key[Any]] = {
    "where text": words.where.key(text="cat"),
    "where length": words.where.key(length=3),
    "where both": words.where.key(text="cat", length=3),
    "all": words.where.key(),
    "first": words.first.key(text="cat"),
    "exists": words.exists.key(text="cat"),
    "count": words.count.key(length=3),
    "count all": words.count.key(),
    "starting": words.starting.key(text="ca"),
    "starting with anything": words.starting.key(text=""),
    "of": words.of.key("a"),
    "of b": words.of.key("b"),
    "failures": words.failures.key(),
    "where other": words.where.key(text="elephant"),
    "starting other": words.starting.key(text="cats"),
}


@pytest.mark.parametrize(
    ("added", "concerned"),
    [
        (
            "cat",
            ["where text", "where length", "where both", "all", "first", "exists", "count", "count all",
             "starting", "starting with anything", "of"],
        ),
        ("dog", ["where length", "all", "count", "count all", "starting with anything", "of"]),
        ("cast", ["all", "count all", "starting", "starting with anything", "of"]),
        ("cats", ["all", "count all", "starting", "starting with anything", "starting other", "of"]),
        ("elephant", ["all", "count all", "starting with anything", "where other", "of"]),
    ],
)  # fmt: skip
def test_a_row_that_comes_or_goes_runs_exactly_the_lookups_that_it_matches(
    db: Engine, watch: Watch, added: str, concerned: list[str]
) -> None:
    write(db, a="x", b="mouse")
    for key in LOOKUPS.values():
        db.get(key)
    expected = sorted([short(LOOKUPS[name]) for name in concerned] + ["words('a')"])
    for text in (f"x {added}", "x"):
        write(db, a=text)
        # `of` is asked for first: its answer rests on the member itself, and needs no further run of it
        keys = sorted(LOOKUPS.values(), key=lambda key: short(key) != "words.of('a')")
        assert ran(watch, *keys) == expected
        assert ran(watch, *(LOOKUPS[name] for name in ("exists", "count", "count all"))) == []


def short(key: Key[Any]) -> str:
    return str(key).partition(":")[2]


def test_answers_are_sorted_by_source_key_then_by_columns_and_doubles_of_a_member_are_one_row(
    db: Engine, watch: Watch
) -> None:
    write(db, b="cat ant cat", a="dog cat dog")
    assert [word.text for word in watch.get(words.where)] == ["cat", "dog", "ant", "cat"]
    assert watch.get(words.first, length=3) == Word("cat", 3)
    assert watch.get(words.count, text="cat") == 2
    assert watch.get(words.starting, text="d") == (Word("dog", 3),)
    assert watch.get(words.of, "a") == (Word("cat", 3), Word("dog", 3))
    assert list(db.get(words.key("a"))) == [Word("dog", 3), Word("cat", 3), Word("dog", 3)]
    assert watch.get(words.where, text="dog", length=4) == ()


def test_an_absent_answer_has_readers(db: Engine, watch: Watch) -> None:
    write(db, a="cat")
    assert (watch.get(uses, "dog"), watch.get(has, "cow"), watch.get(words.of, "b")) == (0, "no", ())
    assert watch.get(words.first, text="dog") is None
    write(db, a="cat dog")
    assert watch.get(uses, "dog") == 1
    assert watch.ran == ["words('a')", "count(text='dog')", "uses('dog')"]
    write(db, b="cow")
    assert watch.get(has, "cow") == "yes"
    assert watch.ran == ["words('b')", "exists(text='cow')", "has('cow')"]
    assert watch.get(words.of, "b") == (Word("cow", 3),)


def test_a_member_whose_rows_are_equal_is_cut_off(db: Engine, watch: Watch) -> None:
    write(db, a="cat dog")
    watch.get(uses, "cat")
    write(db, a="cat  dog")
    assert watch.get(uses, "cat") == 1
    assert (watch.ran, watch.cut) == (["words('a')"], ["words('a')"])


def test_a_member_that_gives_the_same_rows_in_another_order_concerns_nobody(db: Engine, watch: Watch) -> None:
    write(db, a="cat dog")
    watch.get(uses, "cat")
    watch.get(lengths)
    write(db, a="dog cat cat")
    watch.get(lengths)
    assert ran(watch, uses.key("cat"), lengths.key()) == []
    assert watch.ran == []


def test_count_and_exists_are_cut_off_where_rows_change_and_they_do_not(db: Engine, watch: Watch) -> None:
    write(db, a="cat", b="cat")
    assert (watch.get(has, "cat"), watch.get(uses, "cat")) == ("yes", 2)
    write(db, a="cat cow", b="", c="cat")
    assert watch.get(uses, "cat") == 2
    assert sorted(watch.ran) == ["count(text='cat')", "words('a')", "words('b')", "words('c')"]
    assert "count(text='cat')" in watch.cut
    assert watch.get(has, "cat") == "yes"
    assert (watch.ran, watch.cut) == (["exists(text='cat')"], ["exists(text='cat')"])


def test_members_appear_vanish_and_come_back_each_at_its_own_cost(db: Engine, watch: Watch) -> None:
    write(db, a="cat", b="dog", c="cow")
    watch.get(uses, "cat")
    write(db, d="cat")
    assert watch.get(uses, "cat") == 2
    assert watch.ran == ["words('d')", "count(text='cat')", "uses('cat')"]
    write(db, a=None)
    assert watch.get(uses, "cat") == 1
    assert watch.ran == ["count(text='cat')", "uses('cat')"]
    write(db, b=None)
    assert watch.get(uses, "cat") == 1
    assert watch.ran == []
    write(db, a="cat")
    assert watch.get(uses, "cat") == 2
    # The value of a member is not kept: it may be computed once more, and nothing else.
    assert [name for name in watch.ran if name != "words('a')"] == ["count(text='cat')", "uses('cat')"]


def test_a_row_that_moves_from_one_member_to_another_is_the_same_answer(db: Engine, watch: Watch) -> None:
    write(db, a="cat", b="")
    watch.get(uses, "cat")
    write(db, a="", b="cat")
    assert watch.get(uses, "cat") == 1
    assert sorted(watch.ran) == ["count(text='cat')", "words('a')", "words('b')"]
    assert "count(text='cat')" in watch.cut


def test_unrelated_changes_run_nothing_and_what_rests_on_no_table_settles_none(
    db: Engine, watch: Watch
) -> None:
    write(db, a="cat", b="dog")
    watch.get(uses, "cat")
    watch.get(unrelated)
    write(db, a="cow", b="ant")
    assert watch.get(unrelated) == 2
    assert watch.ran == []
    assert watch.get(has, "owl") == "no"
    assert sorted(watch.ran) == ["exists(text='owl')", "has('owl')", "words('a')", "words('b')"]


def test_after_a_restart_a_repeated_request_runs_nothing_and_an_edit_what_it_must(store: Path) -> None:
    with Engine(store) as db:
        write(db, a="cat", b="dog", c="cow!")
        assert (db.get(uses, "cat"), db.get(has, "owl"), db.get(lengths)) == (1, "no", (3,))
        assert len(db.get(words.failures)) == 1
    with Engine(store) as db:
        watch = Watch(db)
        assert ran(watch, uses.key("cat"), has.key("owl"), lengths.key()) == []
        write(db, b="owl")
        assert ran(watch, uses.key("cat"), has.key("owl")) == [
            "has('owl')", "words('b')", "words.exists(text='owl')",
        ]  # fmt: skip
        write(db, a=None)
    with Engine(store) as db:
        watch = Watch(db)
        assert (db.get(uses, "cat"), db.get(has, "owl")) == (0, "yes")
        assert watch.ran == ["count(text='cat')", "uses('cat')"]
        assert db.get(words.where) == (Word("owl", 3),)
        db.check_invariants()


# -- tables over tables ----------------------------------------------------------------------------


@frozen
class Group:
    text: str
    size: int


@table(each=words.column("text"), index=("size",))
def groups(text: str) -> Iterable[Group]:
    yield Group(text, words.count(text=text))


@query
def singles() -> tuple[str, ...]:
    return tuple(group.text for group in groups.where(size=1))


@query
def twins(word: str) -> tuple[str, ...]:
    """A join: words as long as this one."""
    found = words.first(text=word)
    return () if found is None else tuple(other.text for other in words.where(length=found.length))


def test_a_table_over_a_column_follows_the_values_that_come_and_go(db: Engine, watch: Watch) -> None:
    write(db, a="cat dog", b="cat")
    assert watch.get(singles) == ("dog",)
    write(db, b="cat owl")
    assert watch.get(singles) == ("dog", "owl")
    expected = ["words('b')", "groups('owl')", "count(text='owl')", "where(size=1)", "singles()"]
    assert sorted(watch.ran) == sorted(expected)
    write(db, b="owl")
    assert watch.get(singles) == ("cat", "dog", "owl")
    assert sorted(watch.ran) == [
        "count(text='cat')",
        "groups('cat')",
        "singles()",
        "where(size=1)",
        "words('b')",
    ]
    write(db, b="")
    assert watch.get(singles) == ("cat", "dog")
    assert sorted(watch.ran) == ["singles()", "where(size=1)", "words('b')"]


def test_a_join_is_a_query_over_lookups(db: Engine, watch: Watch) -> None:
    write(db, a="cat mouse", b="dog")
    assert watch.get(twins, "cat") == ("cat", "dog")
    write(db, b="horse")
    assert watch.get(twins, "cat") == ("cat",)
    assert watch.ran == ["words('b')", "where(length=3)", "twins('cat')"]
    assert watch.get(twins, "owl") == ()


def test_groups_of_lookups_are_asked_for_at_once(db: Engine, watch: Watch) -> None:
    @query
    def several() -> int:
        return sum(each(uses, ["cat", "dog", "cow"]))

    write(db, a="cat dog", b="cat")
    assert watch.get(several) == 3
    write(db, b="cow")
    assert watch.get(several) == 3
    assert sorted(watch.ran) == [
        "count(text='cat')", "count(text='cow')", "several()", "uses('cat')", "uses('cow')", "words('b')",
    ]  # fmt: skip


# -- tables that need themselves -------------------------------------------------------------------


@input
def closed() -> tuple[str, ...]:
    """How the loop is closed, if it is."""
    return ()


@input
def numbers() -> tuple[int, ...]:
    return (1, 2)


@frozen
class Row:
    n: int


@table(each=numbers, index=("n",))
def low(n: int) -> Iterable[Row]:
    how = closed()
    if "directly" in how:
        low.count()
    if "query" in how:
        through_a_query()
    if "table" in how:
        high.exists(n=1)
    yield Row(n)


@query
def through_a_query() -> int:
    return low.count(n=2)


@table(each=numbers, index=("n",))
def high(n: int) -> Iterable[Row]:
    yield Row(low.count(n=n))


@query
def top() -> int:
    return high.count(n=1)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("directly", ["low", "low.count()"]),
        ("query", ["low", "through_a_query()", "low.count(n=2)"]),
        ("table", ["low", "high", "high.exists(n=1)"]),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_table_that_needs_itself_is_a_cycle_with_its_path_also_by_an_edit_and_heals(
    db: Engine, how: str, path: list[str], first: bool
) -> None:
    if not first:
        assert db.get(top) == 2
        db.get(through_a_query)
    for _ in range(2):
        db.set(closed.key(), (how,))
        for key in (top.key(), low.where.key(), low.count.key(n=1)):
            with pytest.raises(CycleError) as error:
                db.get(key)
            names = {name.rpartition(":")[2] for name in error.value.path}
            assert set(path) <= names
            assert any(name.startswith("low(") for name in names)
        db.check_invariants()
        db.set(closed.key(), ())
        assert db.get(top) == 2
        assert len(db.get(low.where)) == 2
        assert db.get(through_a_query) == 1
        db.check_invariants()


# -- errors ----------------------------------------------------------------------------------------


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


@input
def broken() -> str:
    return ""


@query
def fragile() -> tuple[str, ...]:
    if broken() == "busy":
        raise Transient("busy")
    if broken():
        raise ValueError(broken())
    return paths()


@table(each=fragile, index=("text",))
def over_fragile(path: str) -> Iterable[Word]:
    yield Word(content(path), 1)


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


# -- changed definitions ---------------------------------------------------------------------------


def defined(addition: int, index: tuple[str, ...] = ("text",), row: type = Word) -> Table[str, Any]:
    def rows(path: str) -> Iterable[Any]:
        for word in content(path).split():
            yield Word(word, len(word) + addition) if row is Word else Group(word, addition)

    rows.__annotations__ = {"path": str, "return": Iterable[row]}  # type: ignore[valid-type]
    return table(each=paths, index=index, name="test_tables:defined")(rows)


def reader_of(made: Table[str, Any]) -> Query[[str], str]:
    @query(name="test_tables:reader", code="version", version=1)
    def reader(word: str) -> str:
        return f"{made.where(text=word)}"

    return reader


@pytest.mark.parametrize("restarts", [False, True])
def test_changed_code_or_columns_of_a_table_reach_its_lookups(store: Path, restarts: bool) -> None:
    db = Engine(store)
    write(db, a="cat dog", b="cow")
    steps: list[tuple[int, tuple[str, ...], type]] = [
        (0, ("text",), Word),
        (1, ("text",), Word),
        (1, ("text", "length"), Word),
        (0, ("length", "text"), Word),
        (0, ("text", "size"), Group),
        (5, ("text", "size"), Group),
        (0, ("text",), Word),
    ]
    for addition, index, row in steps:
        made = defined(addition, index, row)
        reader = reader_of(made)
        if restarts:
            db.close()
            db = Engine(store)
        wanted: Any = Word("cat", 3 + addition) if row is Word else Group("cat", addition)
        if addition == 5:
            db.get(made.key("a"))  # a member runs before the table is settled
        assert db.get(reader, "cat") == f"{(wanted,)}"
        assert db.get(made.where, text="cat") == (wanted,)
        if len(index) > 1:
            other = "length" if row is Word else "size"
            assert wanted in db.get(made.where, **{other: getattr(wanted, other)})
        assert db.get(made.count) == 3
        db.check_invariants()
    db.close()


def test_changed_code_of_the_members_runs_them_and_the_lookups_that_differ(db: Engine, watch: Watch) -> None:
    made = defined(0)
    write(db, a="cat dog", b="cow")
    db.get(made.where, text="cat")
    db.get(made.count)
    made = defined(1)
    assert ran(watch, made.count.key()) == ["defined('a')", "defined('b')", "defined.count()"]
    made = defined(1)
    assert ran(watch, made.count.key()) == []


# -- hosts -----------------------------------------------------------------------------------------


def test_a_snapshot_answers_lookups_as_they_were_also_those_asked_for_first_in_it(db: Engine) -> None:
    write(db, a="cat", b="dog")
    db.get(uses, "cat")
    db.get(words.where)
    with db.snapshot() as old:
        write(db, a="cow cat!", b="cat", c="cat")
        assert db.get(uses, "cat") == 2
        assert (old.get(uses, "cat"), old.get(uses, "dog"), old.get(uses, "cow")) == (1, 1, 0)
        assert old.get(words.where) == (Word("cat", 3), Word("dog", 3))
        assert old.get(words.of, "a") == (Word("cat", 3),)
        assert old.get(words.of, "c") == ()
        assert old.get(words.failures) == ()
        assert old.get(words.starting, text="d") == (Word("dog", 3),)
        assert old.get(singles) == ("cat", "dog")
    assert db.get(singles) == ()


def test_a_subscription_on_a_lookup_is_told_changes_of_its_rows_alone(db: Engine) -> None:
    told: list[Any] = []
    write(db, a="cat")
    db.subscribe(words.where.key(text="cat"), told.append)
    db.subscribe(words.count.key(text="cow"), told.append)
    write(db, b="dog")
    assert told == []
    write(db, b="cat")
    assert told == [(Word("cat", 3), Word("cat", 3))]
    write(db, b="cow")
    assert told[1:] == [(Word("cat", 3),), 1]


def test_gc_keeps_tables_that_somebody_rests_on_and_drops_the_others(store: Path) -> None:
    with Engine(store) as db:
        write(db, a="cat dog", b="cat")

        @query
        def switch() -> int:
            return over_fragile.count() if "on" in content("switch") else -1

        db.set(content.key("switch"), "on")
        assert (db.get(switch), db.get(uses, "cat"), db.get(singles)) == (2, 2, ("dog",))
        db.set(content.key("switch"), "off")
        assert db.get(switch) == -1
        db.gc()
        watch = Watch(db)
        assert ran(watch, switch.key(), uses.key("cat"), singles.key()) == []
        write(db, b="cow")
        assert (db.get(uses, "cat"), db.get(singles)) == (1, ("cat", "cow", "dog"))
        db.set(content.key("switch"), "on")
        assert db.get(switch) == 2
        db.check_invariants()
    with Engine(store) as db:
        write(db, b="cat cow", c="owl")
        assert (db.get(uses, "cat"), db.get(switch), db.get(singles)) == (2, 3, ("cow", "dog", "owl"))


@pytest.mark.parametrize("where", ["put_value", "replace_dependencies", "save"])
def test_an_interrupt_amid_a_settling_loses_nothing(
    db: Engine, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from engine import execute

    write(db, a="cat", b="dog")
    db.get(uses, "cat")
    for text in ("cat cat2", "cow", "cat"):
        write(db, a=text, b=f"{text} cat", c="cat")
        with monkeypatch.context() as patch:
            strike(patch, execute, where)
            with suppress(KeyboardInterrupt):
                db.get(uses, "cat")
        assert db.get(uses, "cat") == (3 if text != "cow" else 2)
        db.check_invariants()
        write(db, c=None)
        assert db.get(uses, "cat") == (2 if text != "cow" else 1)


def test_a_read_only_engine_answers_new_lookups_and_saves_nothing(store: Path) -> None:
    with Engine(store) as db:
        write(db, a="cat dog", b="cow")
        db.get(uses, "cat")
    for _ in range(2):
        with Engine(store, read_only=True) as db:
            watch = Watch(db)
            assert ran(watch, uses.key("cat")) == []
            assert db.get(words.where, text="cow") == (Word("cow", 3),)
            assert db.get(singles) == ("cat", "cow", "dog")
            assert watch.ran != []


def test_threads_that_ask_at_once_run_each_member_once(db: Engine, watch: Watch) -> None:
    write(db, **{f"f{n}": f"w{n} all" for n in range(20)})
    for edit in range(3):
        watch.clear()
        barrier = threading.Barrier(6)
        found: list[int] = []

        def ask(n: int, barrier: threading.Barrier = barrier, found: list[int] = found) -> None:
            barrier.wait()
            found.append(db.get(uses, "all") if n % 2 else db.get(words.count))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [20] * 3 + [40] * 3
        assert len(watch.ran) == len(set(watch.ran))
        write(db, f1=f"all e{edit}", f2=f"all g{edit}", f3=f"all h{edit}")
    db.check_invariants()


def test_threads_that_edit_and_ask_get_answers_of_some_moment(db: Engine) -> None:
    write(db, a="cat", b="")
    wrong: list[Any] = []

    def edit() -> None:
        for n in range(40):
            write(db, **({"a": "", "b": "cat"} if n % 2 else {"a": "cat", "b": ""}))

    def ask() -> None:
        for _ in range(60):
            rows = db.get(words.where, text="cat")
            if rows != (Word("cat", 3),):
                wrong.append(rows)

    threads = [threading.Thread(target=edit), threading.Thread(target=ask), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    db.check_invariants()


def test_outside_an_engine_a_lookup_is_made_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (words.where(), words.count(text="cat"), words.first(), words.of("a"), list(words)) == (
        (),
        0,
        None,
        (),
        [],
    )


# -- keys and values of any type -------------------------------------------------------------------


ODD_KEYS: list[Any] = [
    1, True, 1.0, 0, -0.0, 0.0, "1", "\ud800", "é", "", None, (1, "a"), (), b"x", 1 << 70, -(1 << 63),
]  # fmt: skip


@input
def odd_keys() -> tuple[Any, ...]:
    return ()


@frozen
class Shown:
    kind: str
    text: str


@table(each=odd_keys, index=("kind",))
def shown(key: Any) -> Iterable[Shown]:
    yield Shown(type(key).__name__, repr(key))


@pytest.mark.parametrize("stored", [False, True])
def test_source_keys_of_any_type_are_members_of_their_own(store: Path, stored: bool) -> None:
    with Engine(store if stored else None) as db:
        db.set(odd_keys.key(), tuple(ODD_KEYS))
        for key in ODD_KEYS:
            assert [one.text for one in db.get(shown.of, key)] == [repr(key)]
        assert db.get(shown.count) == len(ODD_KEYS)
        assert db.get(shown.count, kind="float") == 3
        assert sorted(map(repr, db.get(shown.where))) == sorted(
            repr(Shown(type(key).__name__, repr(key))) for key in ODD_KEYS
        )
        db.set(odd_keys.key(), tuple(ODD_KEYS[1::2]))
        assert db.get(shown.count) == len(ODD_KEYS[1::2])
        for at, key in enumerate(ODD_KEYS):
            assert len(db.get(shown.of, key)) == at % 2, key
    if stored:
        with Engine(store) as db:
            db.set(odd_keys.key(), tuple(ODD_KEYS))
            assert db.get(shown.count) == len(ODD_KEYS)
            for key in ODD_KEYS:
                assert [one.text for one in db.get(shown.of, key)] == [repr(key)]


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@frozen
class Odd:
    at: int
    anything: Any
    real: float
    whole: int
    text: str
    raw: bytes
    size: Size
    flag: bool
    maybe: str | None
    pair: tuple[int, str]
    mixed: str | int


NAN = float("nan")
ODD_ROWS: list[tuple[Any, ...]] = [
    (None, 0.0, 0, "", b"", Size.SMALL, False, None, (0, "")),
    (True, -0.0, 1, "é", b"\x00\xff", Size.LARGE, True, "", (1, "a")),
    (1, 1.0, -1, "\ud800", b"\xc1", Size.SMALL, True, "\udfff", (-1, "\ud800")),
    (1.0, NAN, 1 << 80, "x\x00y", b"x", Size.LARGE, False, "None", (1 << 80, "b")),
    (-0.0, float("inf"), -(1 << 63), "'\"%_*?[", b"%", Size.SMALL, False, "%", (0, "%")),
    (("a", (1, None)), float("-inf"), (1 << 63) - 1, "X", b"X", Size.SMALL, True, "x", (1, "x")),
    (Size.LARGE, 5e-324, 1 << 63, "x", b"x\x00", Size.LARGE, True, "X", (2, "")),
    (frozenset({1, 2}), 1e308, -(1 << 64), "𝒳", b"", Size.LARGE, True, "𝒳", (3, "")),
]


@input
def odd_count() -> int:
    return len(ODD_ROWS)


@query
def places() -> tuple[int, ...]:
    return tuple(range(odd_count()))


COLUMNS = ("at", "anything", "real", "whole", "text", "raw", "size", "flag", "maybe", "pair", "mixed")


@table(each=places, index=COLUMNS)
def odd_rows(at: int) -> Iterable[Odd]:
    yield Odd(at, *ODD_ROWS[at], f"m{at}" if at % 2 else at)  # type: ignore[call-arg]


def exact(value: Any) -> str:
    return f"{type(value).__name__} {sorted(map(repr, value)) if isinstance(value, frozenset) else value!r}"


@pytest.mark.parametrize("stored", [False, True])
def test_values_of_any_type_are_found_by_themselves_alone_and_come_back_as_they_were(
    store: Path, stored: bool
) -> None:
    for _ in range(2):
        with Engine(store if stored else None) as db:
            rows = db.get(odd_rows.where)
            assert [tuple(map(exact, astuple(row, recurse=False)[1:-1])) for row in rows] == [
                tuple(map(exact, row)) for row in ODD_ROWS
            ]
            for number, name in enumerate(COLUMNS[1:-1]):
                for row in ODD_ROWS:
                    same = [one for one in ODD_ROWS if exact(one[number]) == exact(row[number])]
                    found = db.get(odd_rows.where, **{name: row[number]})
                    assert len(found) == len(same), (name, row[number], found)
                    assert db.get(odd_rows.count, **{name: row[number]}) == len(same)
            assert [row.text for row in db.get(odd_rows.starting, text="x")] == ["x\x00y", "x"]
            assert [row.text for row in db.get(odd_rows.starting, text="'\"%_")] == ["'\"%_*?["]
            assert [row.maybe for row in db.get(odd_rows.starting, maybe="\udfff")] == ["\udfff"]
            assert [row.text for row in db.get(odd_rows.starting, text="\ud800")] == ["\ud800"]
            assert [row.mixed for row in db.get(odd_rows.starting, mixed="m")] == ["m1", "m3", "m5", "m7"]
            assert len(db.get(odd_rows.starting, text="")) == len(ODD_ROWS)
            db.set(odd_count.key(), 3)
            assert db.get(odd_rows.count) == 3
            db.set(odd_count.key(), len(ODD_ROWS))
            assert db.get(odd_rows.starting, text="𝒳")[0].maybe == "𝒳"


# -- bad input -------------------------------------------------------------------------------------


@frozen
class Loose:
    value: Any


def test_a_row_of_another_type_or_without_bytes_is_the_error_of_its_member_alone(db: Engine) -> None:
    @query
    def names() -> tuple[str, ...]:
        return ("fine", "wrong type", "wrong field", "no bytes", "not iterable")

    @table(each=names, index=("value",))
    def loose(name: str) -> Iterable[Loose]:
        if name == "not iterable":
            return 5  # type: ignore[return-value]
        return [{"wrong type": Word("x", 1), "no bytes": Loose(object())}.get(name, Loose(1))]  # type: ignore[list-item]

    @table(each=names, index=("length",))
    def strict(name: str) -> Iterable[Word]:
        yield Word(name, "long" if name == "wrong field" else 4)  # type: ignore[arg-type]

    assert db.get(loose.where) == (Loose(1), Loose(1))
    assert [(one.source, one.error.partition(":")[0]) for one in db.get(loose.failures)] == [
        ("'no bytes'", "UnstorableValue"), ("'not iterable'", "TypeError"), ("'wrong type'", "WrongValue"),
    ]  # fmt: skip
    assert db.get(strict.count, length=4) == 4
    with pytest.raises(WrongValue, match="wrong field") as error:
        db.get(strict.of, "wrong field")
    assert "length" in str(error.value)
    db.check_invariants()


@pytest.mark.parametrize(
    ("mode", "columns", "error", "says"),
    [
        ("where", {"size": 1}, BadLookup, "no such column"),
        ("where", {"text": 1}, WrongValue, "column"),
        ("where", {"length": "x"}, WrongValue, "length"),
        ("where", {"length": True}, WrongValue, "length"),
        ("starting", {}, BadLookup, "one column"),
        ("starting", {"length": 1}, BadLookup, "beginning"),
        ("starting", {"text": 1}, BadLookup, "beginning"),
        ("starting", {"text": "a", "length": 1}, BadLookup, "one column"),
    ],
)
def test_a_lookup_that_cannot_be_is_refused_with_its_reason(
    db: Engine, mode: str, columns: dict[str, Any], error: type[Exception], says: str
) -> None:
    lookup: Any = getattr(words, mode)
    for ask in (partial(db.get, lookup), lookup):
        with pytest.raises(error, match=says) as raised:
            ask(**columns)
        assert "words" in str(raised.value)


def test_a_column_without_index_is_refused_with_what_to_do() -> None:
    @table(each=paths, index=("text",))
    def half_indexed(path: str) -> Iterable[Word]:
        return ()

    with pytest.raises(BadLookup, match="not indexed") as error:
        half_indexed.count(length=1)
    assert 'index=(…, "length")' in str(error.value)
    with pytest.raises(BadLookup, match="not indexed"):
        half_indexed.column("length")


def test_what_cannot_be_a_table_is_refused_when_it_is_made() -> None:
    @frozen
    class Alike:
        name: str
        Name: str

    @frozen
    class Private:
        _hidden: int

    @query
    def with_arguments(at: int) -> tuple[str, ...]:
        return ()

    def two(a: str, b: str) -> Iterable[Word]:
        return ()

    def rows(path: str) -> Iterable[Word]:
        return ()

    def alike(path: str) -> Iterable[Alike]:
        return ()

    def private(path: str) -> Iterable[Private]:
        return ()

    def numbers(path: str) -> Iterable[int]:
        return ()

    rows_of: dict[str, tuple[Any, dict[str, Any]]] = {
        "not a function of one argument": (two, {}),
        "takes arguments": (rows, {"each": with_arguments}),
        "no such column": (rows, {"index": ("size",)}),
        "two columns alike": (alike, {}),
        "_hidden": (private, {}),
        "attrs class": (numbers, {}),
    }
    for says, (function, options) in rows_of.items():
        row: Any = {"alike": Alike, "private": Private, "numbers": int}.get(function.__name__, Word)
        function.__annotations__ = {"return": Iterable[row]}  # classes in here are not found by their names
        with pytest.raises(BadTable, match=says):
            table(**{"each": paths, "index": (), **options})(function).where()


def test_lookups_have_the_types_of_their_rows(db: Engine) -> None:
    assert_type(words.where(text="x"), tuple[Word, ...])
    assert_type(words.first(), Word | None)
    assert_type(words.count(), int)
    assert_type(words.exists(), bool)
    assert_type(words.of("a"), tuple[Word, ...])
    assert_type(words("a"), tuple[Word, ...])
    assert_type(words.failures(), tuple[MemberFailure, ...])
    assert_type(db.get(words.where, text="x"), tuple[Word, ...])
    assert_type(db.get(words.first), Word | None)
    assert_type(db.get(words.key("a")), tuple[Word, ...])
    assert_type(list(words), list[Word])


DISK = {"a": "cat", "b": "dog"}


@input(stamp=lambda name: DISK[name].encode())
def on_disk(name: str) -> str:
    return DISK[name]


@query
def two_names() -> tuple[str, ...]:
    return ("a", "b")


@table(each=two_names, index=("text",))
def disk_words(name: str) -> Iterable[Word]:
    yield Word(on_disk(name), 1)


@query
def cats() -> int:
    return disk_words.count(text="cat")


def test_an_overlay_counts_in_lookups_until_it_is_taken_back_or_the_process_ends(store: Path) -> None:
    with Engine(store) as db:
        watch = Watch(db)
        assert watch.get(cats) == 1
        db.set(on_disk.key("b"), "cat")
        assert watch.get(cats) == 2
        assert watch.ran == ["disk_words('b')", "count(text='cat')", "cats()"]
        db.reset(on_disk.key("b"))
        assert watch.get(cats) == 1
        db.set(on_disk.key("a"), "cow")
        assert watch.get(cats) == 0
    with Engine(store) as db:
        watch = Watch(db)
        assert watch.get(cats) == 1
        assert watch.ran == ["count(text='cat')"]  # the others are what they were before


def test_a_batch_is_one_revision_and_each_lookup_runs_once(db: Engine, watch: Watch) -> None:
    write(db, **{f"f{n}": "cat" for n in range(9)})
    assert watch.get(uses, "cat") == 9
    before = db.revision
    write(db, **{f"f{n}": "cat cow" if n % 2 else None for n in range(9)}, new="cat")
    assert db.revision == before + 1
    assert watch.get(uses, "cat") == 5
    assert len(watch.ran) == len(set(watch.ran))
    assert watch.ran[-2:] == ["count(text='cat')", "uses('cat')"]
