"""An audit of what is right finds nothing and changes nothing, whatever happens meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engine import BadTable, ChangedInsideQuery, CycleError, Engine, Transient, fold, query, table
from engine.stack import HOP
from engine.tables.accumulate import Min, Sum
from tests.audits import (
    ALL,
    COUNT,
    NAMES,
    Note,
    by_number,
    cell,
    db,
    keys,
    largest,
    notes,
    pairs,
    sevens,
    state_of,
    told,
    total,
    whole,
)

__all__ = ["db"]  # a fixture


@pytest.mark.parametrize("name", ALL)
def test_an_audit_of_what_is_right_finds_nothing_and_changes_nothing(db: Engine, name: str) -> None:
    heard: list[Any] = []
    db.listen(heard.append)
    before = state_of(db)
    audit = db.audit(ALL[name])
    assert state_of(db) == before
    assert heard == []
    assert audit.differences == ()
    assert audit.name == ALL[name].__collection__.name
    assert audit.members == (6 if name == "by_number" else COUNT)
    assert audit.lookups == (3 if name == "notes" else 1)


def test_an_audit_after_edits_brings_up_to_date_what_it_looks_at(db: Engine) -> None:
    db.set(cell.key("k03"), 50)
    db.set(keys.key(), (*NAMES[1:], "k77"))
    for what in ALL.values():
        audit = db.audit(what)
        assert (audit.differences, audit.members) == ((), COUNT if what is not by_number else 7)
    before = db.counts()
    assert db.get(total) == sum(db.get(cell, key) for key in db.get(keys))
    assert db.counts().executed - before.executed <= 1


def test_an_audit_after_a_restart_finds_nothing(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        for what in (sevens, total, largest, pairs, by_number):
            db.get(what)
        db.set(cell.key("k03"), 50)
        db.get(total)
    for read_only in (False, True):
        with Engine(tmp_path / "store", read_only=read_only) as db:
            assert [told(db.audit(what)) for what in ALL.values()] == [[], [], [], [], []]
            assert not db.notes()


def test_what_fails_is_right_where_it_fails_from_scratch_too(db: Engine) -> None:
    db.set(cell.key("k04"), -1)
    db.set(cell.key("k02"), -1)
    for what, members in ((notes, COUNT), (total, COUNT), (largest, COUNT)):
        audit = db.audit(what)
        assert (told(audit), audit.members) == ([], members)
    db.set(keys.key(), ())
    least = fold(each=keys, of=whole, into=Min(), name="audit:least")
    assert told(db.audit(least)) == [], "it is the error EmptyFold both ways"


def test_a_collection_whose_keys_fail_has_nothing_to_look_at(db: Engine) -> None:
    @query(name="audit:no_keys")
    def no_keys() -> tuple[str, ...]:
        if cell("switch") == 1:
            raise RuntimeError
        return ("k01",)

    some = fold(each=no_keys, of=whole, into=Sum(), name="audit:some")
    db.set(cell.key("switch"), 0)
    assert db.audit(some).members == 1
    db.set(cell.key("switch"), 1)
    assert (db.audit(some).members, db.audit(some).differences) == (0, ())


def test_transient_failures_are_no_differences(tmp_path: Path) -> None:
    failing = {"k03"}

    @query(name="audit:shaky")
    def shaky(key: str) -> int:
        value = whole(key)
        if key in failing:
            raise Transient(OSError(key))
        return value

    shaken = fold(each=keys, of=shaky, into=Sum())
    with Engine(tmp_path / "store") as db:
        assert told(db.audit(shaken)) == []
        failing.clear()
        assert told(db.audit(shaken)) == []
        assert db.get(shaken) == db.get(total)


def test_a_member_on_a_cycle_that_catches_its_error_is_no_difference(db: Engine) -> None:
    """Its function alone gives a value; the key is on the cycle, and has its error."""

    @query(name="audit:catches")
    def catches(key: str) -> int:
        try:
            return catches(key)
        except CycleError:
            return 1

    caught = fold(each=keys, of=catches, into=Sum())
    with pytest.raises(CycleError):
        db.get(caught)
    audit = db.audit(caught)
    assert (audit.members, audit.differences) == (COUNT, ())


@pytest.mark.parametrize("name", ALL)
def test_a_sample_looks_at_so_many_members_and_lookups(db: Engine, name: str) -> None:
    for sample in (0, 1, 3, 1000):
        audit = db.audit(ALL[name], sample=sample)
        assert audit.members == min(sample, 6 if name == "by_number" else COUNT)
        assert audit.lookups == min(sample, 3 if name == "notes" else 1)
        assert audit.differences == ()


def test_a_sample_runs_the_members_it_looks_at_and_no_others() -> None:
    ran: list[str] = []

    @query(name="audit:traced")
    def traced(key: str) -> int:
        ran.append(key)
        return 1

    with Engine(None) as db:
        traces = fold(each=keys, of=traced, into=Sum())
        db.get(traces)
        ran.clear()
        db.audit(traces, sample=4)
        assert len(ran) == len(set(ran)) == 4
        ran.clear()
        db.audit(traces)
        assert sorted(ran) == sorted(NAMES)


def test_an_audit_runs_each_member_once_and_a_sample_no_others_though_there_are_lookups() -> None:
    ran: list[str] = []

    @table(name="audit:looked-into", each=keys, index=("key",))
    def looked_into(key: str) -> Iterable[Note]:
        ran.append(key)
        yield Note(key, 1)

    with Engine(None) as db:
        db.get(looked_into.where, key=NAMES[0])
        db.get(looked_into.count)
        db.get(looked_into.failures)
        ran.clear()
        assert db.audit(looked_into, sample=4).lookups == 2
        assert len(ran) == len(set(ran)) == 4
        ran.clear()
        assert db.audit(looked_into).lookups == 3
        assert sorted(ran) == sorted(NAMES)


def test_a_sample_computes_the_rows_of_one_key_only_where_it_computes_that_member(tmp_path: Path) -> None:
    """And what members read may need stacks of their own, which wait for the lock of the engine."""
    ran: list[str] = []

    @query(name="audit:deep", persist=False)
    def deep(left: int) -> int:
        return deep(left - 1) + 1 if left else 0

    @table(name="audit:of", each=keys)
    def one_of(key: str) -> Iterable[Note]:
        ran.append(key)
        yield Note(key, deep(3 * HOP))

    with Engine(tmp_path / "store") as db:
        for key in NAMES:
            db.get(one_of.of, key)
    with Engine(tmp_path / "store") as db:
        ran.clear()
        audit = db.audit(one_of, sample=4)
        assert (audit.lookups, audit.differences) == (4, ())
        assert len(ran) == len(set(ran)) == 4


def test_a_member_of_a_wrong_type_fails_in_an_audit_as_it_failed_before() -> None:
    @table(name="audit:wrong", each=keys)
    def wrong(key: str) -> Iterable[Note]:
        return [Note(key, "no number")]  # type: ignore[arg-type]  # the claim

    with Engine(None) as db:
        assert len(db.get(wrong.failures)) == COUNT
        assert db.audit(wrong).differences == ()


def test_what_is_no_table_and_no_fold_is_refused(db: Engine) -> None:
    with pytest.raises(BadTable):
        db.audit(whole)  # type: ignore[arg-type]  # the claim


def test_a_query_cannot_audit(db: Engine) -> None:
    @query(name="audit:inside")
    def inside() -> int:
        return db.audit(total).members

    with pytest.raises(ChangedInsideQuery):
        db.get(inside)


def test_audits_amid_edits_raise_no_false_alarm(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        stop = threading.Event()

        def edit() -> None:
            chance = random.Random(1)
            while not stop.is_set():
                db.set(cell.key(chance.choice(NAMES)), chance.randint(-1, 9))
                if chance.random() < 0.5:
                    db.set(keys.key(), tuple(chance.sample(NAMES, 9)))
                db.get(chance.choice([notes.count.key(), sevens.key()]))

        editor = threading.Thread(target=edit)
        editor.start()
        try:
            for _ in range(6):
                for what in ALL.values():
                    assert told(db.audit(what, sample=5)) == []
        finally:
            stop.set()
            editor.join()
