"""Tables under snapshots, subscriptions, overlays, interrupts, threads and gc: one claim a test."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, input, query, table
from tests.striking import strike
from tests.watching import Watch
from tests.words import Word, content, over_fragile, ran, singles, uses, words, write


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


def test_a_table_that_is_got_is_its_rows_now_and_in_a_snapshot(db: Engine) -> None:
    write(db, a="cat", b="dog")
    rows = (Word("cat", 3), Word("dog", 3))
    assert db.get(words) == rows
    with db.snapshot() as old:
        write(db, b="cow")
        assert old.get(words) == rows
    assert (db.get(words), db.get(words, "b")) == ((Word("cat", 3), Word("cow", 3)), (Word("cow", 3),))


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
    from engine import keep

    write(db, a="cat", b="dog")
    db.get(uses, "cat")
    for text in ("cat cat2", "cow", "cat"):
        write(db, a=text, b=f"{text} cat", c="cat")
        with monkeypatch.context() as patch:
            strike(patch, keep, where)
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
        assert watch.ran == ["count(text='cat')"]  # the member and `cats` are what they were before


def test_a_batch_is_one_revision_and_each_lookup_runs_once(db: Engine, watch: Watch) -> None:
    write(db, **{f"f{n}": "cat" for n in range(9)})
    assert watch.get(uses, "cat") == 9
    before = db.revision
    write(db, **{f"f{n}": "cat cow" if n % 2 else None for n in range(9)}, new="cat")
    assert db.revision == before + 1
    assert watch.get(uses, "cat") == 5
    assert len(watch.ran) == len(set(watch.ran))
    assert watch.ran[-2:] == ["count(text='cat')", "uses('cat')"]
