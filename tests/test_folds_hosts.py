"""Folds go through kills, restarts, snapshots, overlays and threads: one claim a test."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import engine.persist
import engine.tables.kept_fold
from engine import Engine, fold, input, query, table
from engine.code.fingerprint import code_fingerprint
from engine.query import QueryInfo
from engine.running import Running
from engine.tables.accumulate import Max, Sum
from engine.tables.kinds import shape_of
from tests.folding import FAILS, FOLDS, NUMBERS, cell, check, drop, keys, outcome, put, ran, text, wanted
from tests.watching import Watch


def test_a_long_build_killed_between_its_commits_goes_on_where_it_was(tmp_path: Path) -> None:
    copies: list[Path] = []

    def copy(*_: Any) -> None:
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(tmp_path / "store", copies[-1], ignore=shutil.ignore_patterns("*-shm"))

    with mock.patch.object(engine.persist, "CHUNK_NODES", 7), Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        db.listen(lambda event: copy() if event.what.value == "committed" else None)
        check(db, ["sum", "merge", "ends"])
        put(db, **{key: number + 1 for key, number in NUMBERS.items()})
        check(db, ["sum", "merge", "ends"])
        wanted_now = [db.get(FOLDS[name][0]) for name in ("sum", "merge", "ends")]
    assert len(copies) > 20
    for place in copies[:: max(1, len(copies) // 12)]:
        with Engine(place) as db:
            assert not db.notes()
            check(db)
            put(db, **{key: number + 1 for key, number in NUMBERS.items()})
            assert [db.get(FOLDS[name][0]) for name in ("sum", "merge", "ends")] == wanted_now


def halfway(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on all code and collections are others, and every few memos are committed."""
    monkeypatch.setattr("engine.locate.code_fingerprint", lambda of, **how: code_fingerprint(of, **how)[::-1])
    monkeypatch.setattr("engine.tables.collect.shape_of", lambda info, code: shape_of(info, f"{code}00"))
    monkeypatch.setattr(engine.persist, "CHUNK_NODES", 3)


def test_a_fold_that_is_built_anew_and_committed_halfway_reduces_every_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        check(db)
    halfway(monkeypatch)
    with Engine(tmp_path / "store") as db:
        check(db)
        assert db.counts().commits > 3
    with Engine(tmp_path / "store") as db:
        check(db)


class Spelling(NamedTuple):
    text: str


@table(each=keys, index=("text",))
def spellings(key: str) -> Iterable[Spelling]:
    cell(key)
    return [Spelling(key), Spelling(key[::-1])]


def test_a_table_that_is_built_anew_again_after_a_kill_counts_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Path] = []

    def copy(*_: Any) -> None:
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(tmp_path / "store", copies[-1], ignore=shutil.ignore_patterns("*-shm"))

    def digest(db: Engine) -> object:
        assert db.get(spellings.count) == 2 * len(NUMBERS)
        return [one.digest for one in db._core.collections.values()]

    with Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        before = digest(db)
    halfway(monkeypatch)
    with Engine(tmp_path / "store") as db:
        db.listen(lambda event: copy() if event.what.value == "committed" else None)
        assert digest(db) == before
    assert len(copies) > 10
    for place in copies:
        with Engine(place) as db:
            assert digest(db) == before, place


def test_changes_that_wait_are_stored_and_reduced_by_the_next_process(tmp_path: Path) -> None:
    for most in (0, 3, 1000):
        place = tmp_path / str(most)
        with mock.patch.object(engine.tables.kept_fold, "WAITING_AT_MOST", most):
            with Engine(place) as db:
                put(db, **NUMBERS)
                check(db)
                put(db, k01=50, k02=FAILS, k03=51, k04=52, k05=53)
                for key in ("k01", "k02", "k03", "k04", "k05"):
                    outcome(partial(db.get, text.key(key)))  # not the folds
            with Engine(place) as db:
                put(db, k02=5)
                outcome(lambda: db.get(text, "k02"))
            with Engine(place) as db:
                check(db)


def test_members_that_were_dropped_from_the_store_while_their_change_waited_do_no_harm(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2, c=3)
        check(db)
        put(db, b=9)
        db.get(text, "b")  # waits
        drop(db, "b")
        db.gc()
        assert not db.notes()
        check(db)
        assert not db.notes()


def test_an_interrupted_settling_and_a_collection_of_garbage_leave_the_fold_right(tmp_path: Path) -> None:
    armed: list[str] = []

    @query(name="folds:armed")
    def risky(key: str) -> int:
        value = cell(key)
        if key in armed:
            raise KeyboardInterrupt
        return value

    total = fold(each=keys, of=risky, into=Sum())
    joined = fold(each=keys, of=risky, into=Max(default=0))
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2, c=3)
        assert (db.get(total), db.get(joined)) == (6, 3)
        drop(db, "c")
        put(db, a=5)
        armed.append("a")
        for one in (total, joined):
            with pytest.raises(KeyboardInterrupt):
                db.get(one)
        db.gc()
        armed.clear()
        assert (db.get(total), db.get(joined)) == (7, 5)
        assert not db.notes()


def test_after_gc_folds_cost_what_they_did(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        watch = Watch(db)
        put(db, **NUMBERS)
        check(db)
        drop(db, "k00", "k01", "k02")
        check(db)
        db.gc()
        watch.get(FOLDS["merge"][0])
        assert watch.ran == []
        put(db, k07=1)
        watch.get(FOLDS["merge"][0])
        assert ran(watch) == ["whole(k07)", "text(k07)", "Merge()"]
        check(db)


def test_a_read_only_engine_answers_as_the_store_was_left_and_computes_what_is_missing(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        before = {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS if name != "count"}
        put(db, k07=50)
        after = {name: wanted(db, name) for name in FOLDS}
    assert before["sum"] != after["sum"]
    with Engine(tmp_path / "store", read_only=True) as db:
        assert {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS} == after


def test_a_snapshot_keeps_a_fold_as_it_was(db: Engine) -> None:
    put(db, **NUMBERS)
    before = {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS}
    with db.snapshot() as old:
        put(db, k07=1000, zz=3)
        drop(db, "k01")
        check(db)
        assert {name: outcome(partial(old.get, FOLDS[name][0])) for name in FOLDS} == before
        put(db, k07=FAILS)
        assert {name: outcome(partial(old.get, FOLDS[name][0])) for name in FOLDS} == before


def test_an_overlay_counts_until_it_is_taken_back_or_the_process_ends(tmp_path: Path) -> None:
    disk = {"a": 1, "b": 2}

    @input(name="folds:disk", stamp=lambda key: b"%d" % disk[key])
    def read(key: str) -> int:
        return disk[key]

    @query(name="folds:read")
    def doubled(key: str) -> int:
        return 2 * read(key)

    total = fold(each=keys, of=doubled, into=Sum())
    most = fold(each=keys, of=read, into=Max(default=0))
    with Engine(tmp_path / "store") as db:
        db.set(keys.key(), ("a", "b"))
        assert (db.get(total), db.get(most)) == (6, 2)
        db.set(read.key("b"), 50)
        disk["b"] = 7
        db.sync()
        assert (db.get(total), db.get(most)) == (102, 50)
        db.reset(read.key("b"))
        assert (db.get(total), db.get(most)) == (16, 7)
        db.set(read.key("a"), 100)
        assert (db.get(total), db.get(most)) == (214, 100)
    with Engine(tmp_path / "store") as db:
        assert (db.get(total), db.get(most)) == (16, 7)
        disk["a"] = 3
        db.sync()
        assert (db.get(total), db.get(most)) == (20, 7)


def test_two_engines_of_one_process_keep_folds_of_their_own(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as one, Engine(None) as two:
        put(one, a=1)
        put(two, a=5, b=6)
        check(one)
        check(two)
        assert (one.get(FOLDS["sum"][0]), two.get(FOLDS["sum"][0])) == (1, 11)


def test_threads_that_edit_and_ask_get_values_that_were_right_at_some_moment(tmp_path: Path) -> None:
    total = FOLDS["sum"][0]
    with Engine(tmp_path / "store", workers=2) as db:
        put(db, a=0, b=0)
        errors: list[BaseException] = []
        seen: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            try:
                while not stop.is_set():
                    seen.append(db.get(total))
            except BaseException as error:  # raised again by the test
                errors.append(error)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        for number in range(1, 150):
            with db.batch():
                db.set(cell.key("a"), number)
                db.set(cell.key("b"), 1000 * number)
        stop.set()
        for thread in asking:
            thread.join()
        assert not errors
        assert all(value % 1001 == 0 for value in seen), "a sum of two moments"
        assert db.get(total) == 149 * 1001
        check(db)


def test_folds_over_a_damaged_store_are_made_anew(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    for table_name in ("block", "member"):
        place = tmp_path / table_name
        with Engine(place) as db:
            put(db, **NUMBERS)
            check(db)
        with closing(sqlite3.connect(place / "store.db")) as connection:
            assert connection.execute(f"UPDATE {table_name} SET data = data || x'00'").rowcount > 0
            connection.commit()
        with Engine(place) as db:
            put(db, k07=50)
            check(db)
            assert db.notes()


def test_a_fold_that_cannot_be_settled_for_a_moment_does_not_answer_as_before(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = FOLDS["max"][0]
    put(db, a=1, b=5)
    assert db.get(total) == "b5"
    drop(db, "b")
    fetch, struck = Running.fetch, [MemoryError("full")]

    def full(self: Running, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        if struck and self.node in self.core.collections:  # it is about to be settled
            raise struck.pop()
        return fetch(self, info, args)

    monkeypatch.setattr(Running, "fetch", full)
    with pytest.raises(MemoryError):
        db.get(total)
    assert not struck
    assert db.get(total) == "a1"
    db.check_invariants()
