"""Tables: an edit runs what it concerns, and answers are those from scratch. One claim a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine.tables.lookup
from engine import Engine, each, query
from engine.key import Key
from engine.tables.columns import order
from tests.watching import Watch
from tests.words import Word, has, lengths, ran, singles, unrelated, uses, words, write

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


def test_the_first_of_many_rows_is_found_without_sorting_them(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(db, **{f"k{at}": "cat owl" for at in range(200)})
    ranked: list[object] = []

    def counted(columns: tuple[Any, ...]) -> Any:
        ranked.append(columns)
        return order(columns)

    monkeypatch.setattr(engine.tables.lookup, "order", counted)
    assert db.get(words.first, length=3) == Word("cat", 3)
    assert len(ranked) == 200 + 2  # each key once, then the rows of the lowest
    assert db.get(words.where, length=3)[0] == Word("cat", 3)
