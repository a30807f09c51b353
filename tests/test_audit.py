"""An audit finds what is wrong, names it, and changes nothing: one claim a test."""

from __future__ import annotations

import operator
import random
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import BadTable, ChangedInsideQuery, Engine, Transient, fold, input, query, table
from engine.accumulate import Max, Merge, Min, Sum
from engine.audit import Audit
from engine.collection import Collection
from engine.kept_fold import STATE, KeptFold
from engine.kept_table import KeptTable
from engine.locate import locate
from engine.store import Batch, BlockRow, MemberRow, MemberRows
from engine.store.canonical import pack

COUNT = 12
NAMES = tuple(f"k{n:02}" for n in range(COUNT))


@input
def keys() -> tuple[str, ...]:
    return NAMES


@input
def cell(key: str) -> int:
    return int(key[1:]) % 5


@frozen
class Note:
    key: str
    number: float


@table(each=keys, index=("number", "key"))
def notes(key: str) -> Iterable[Note]:
    if cell(key) < 0:
        raise ValueError(key)
    return [Note(key, cell(key)), Note(f"{key}+", 7)]


@query
def whole(key: str) -> int:
    if cell(key) < 0:
        raise ValueError(key)
    return cell(key)


@query
def pair(key: str) -> dict[str, float]:
    return {"b": cell(key), "a": 1}  # readers see its keys sorted, and floats


@query
def sevens() -> int:
    return notes.count(number=7.0) + len(notes.where(key="k03")) + len(notes.starting(key="k1"))


total = fold(each=keys, of=whole, into=Sum())
largest = fold(each=keys, of=whole, into=Max())
pairs = fold(each=keys, of=pair, into=Merge[dict[str, float]](operator.or_, {}))
by_number = fold(each=notes.column("number"), of=query(name="audit:n")(lambda n: int(n)), into=Sum())
ALL: dict[str, Any] = {
    "notes": notes, "total": total, "largest": largest, "pairs": pairs, "by_number": by_number,
}  # fmt: skip


@pytest.fixture(params=["memory", "stored", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    stored = tmp_path / "store" if request.param != "memory" else None
    with Engine(stored, root=tmp_path, workers=3 if request.param == "workers" else 1) as engine:
        for what in (sevens, total, largest, pairs, by_number):
            engine.get(what)
        yield engine


def kept_of(db: Engine, what: Any) -> Collection:
    with db._core.lock:
        return db._core.collections[locate(db._core, what.__collection__.settle, ())]


def node_of(db: Engine, what: Any, *args: Any) -> int:
    with db._core.lock:
        return locate(db._core, what, args)


def told(audit: Audit) -> list[tuple[str, str, str]]:
    """Where, without the module; what is kept, what is right."""
    return [(one.where.rpartition(":")[2], one.kept, one.right) for one in audit.differences]


def state_of(db: Engine) -> Any:
    core = db._core
    return (
        db.counts(), db.revision, core.commits, bytes(core.graph.status), list(core.graph.flags),
        list(core.graph.verified_at), len(core.graph), db.notes(),
    )  # fmt: skip


# -- healthy -------------------------------------------------------------------------------------


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


# -- damage --------------------------------------------------------------------------------------


def damaged(db: Engine, name: str, damage: Callable[[Any], None]) -> list[tuple[str, str, str]]:
    """What an audit tells of damage; told again, and nobody else is told anything by it."""
    with db._core.lock:
        damage(kept_of(db, ALL[name]))
    before = db.counts()
    found = told(db.audit(ALL[name]))
    assert told(db.audit(ALL[name])) == found, "none is mended quietly"
    assert db.counts() == before
    return found


def rows_put(member: str, rows: tuple[Any, ...]) -> Callable[[KeptTable], None]:
    def damage(kept: KeptTable) -> None:
        node = locate(kept.core, notes.__query__, (member,))
        kept.kept.put(node, member, rows, False)

    return damage


def test_a_row_that_is_missing_is_told_with_its_key(db: Engine) -> None:
    found = damaged(db, "notes", rows_put("k03", (("k03", 3.0),)))
    assert found == [("notes('k03')", "no such row", "Note(key='k03+', number=7.0)")]


def test_a_row_too_many_is_told_with_its_key(db: Engine) -> None:
    found = damaged(db, "notes", rows_put("k03", (("k03", 3.0), ("k03+", 7.0), ("zz", 1.0))))
    assert found == [("notes('k03')", "Note(key='zz', number=1.0)", "no such row")]


def test_a_row_of_nobody_is_told(db: Engine) -> None:
    found = damaged(db, "notes", lambda kept: kept.kept.put(9999, "gone", (("gone", 7.0),), True))
    assert ("notes", "Note(key='gone', number=7.0)", "no such row") in found


def test_a_member_that_is_missing_is_told_with_its_key(db: Engine) -> None:
    def forget(kept: Collection) -> None:
        kept.load_members().discard(locate(kept.core, kept.info.member, ("k05",)))  # type: ignore[union-attr]  # no input

    assert damaged(db, "total", forget) == [("whole('k05')", "no member", "a source key")]
    assert damaged(db, "notes", forget) == [("notes('k05')", "no member", "a source key")]


def test_a_member_too_many_is_told_with_its_key(db: Engine) -> None:
    db.get(whole, "k88")
    found = damaged(db, "total", lambda kept: kept.load_members().add(node_of(db, whole.__query__, "k88")))
    assert found == [("whole('k88')", "a member", "no source key")]


def test_a_wrong_contribution_is_told_with_its_key(db: Engine) -> None:
    def damage(kept: KeptFold) -> None:
        kept.news[node_of(db, whole.__query__, "k03")] = b"\x01" + pack(99)

    assert damaged(db, "total", damage) == [("whole('k03')", "another contribution", "3")]
    assert damaged(db, "largest", damage) == [("whole('k03')", "another contribution", "3")]


def test_a_wrong_state_is_told_with_what_is_right(db: Engine) -> None:
    def damage(kept: KeptFold) -> None:
        kept._held = [kept.info.into.add(kept._state, 1000)]  # type: ignore[union-attr]  # a Sum

    right = db.get(total)
    assert damaged(db, "total", damage) == [("whole.Sum", str(right + 1000), str(right))]


def test_a_wrong_tree_is_told_with_what_is_right(db: Engine) -> None:
    def damage(kept: KeptFold) -> None:
        tree = kept._tree(kept.info.into)  # type: ignore[union-attr]  # a Max
        tree.update({b"\x02zzz": pack((1000,))})
        kept._blocks.update(tree.written)

    assert damaged(db, "largest", damage) == [("whole.Max", "1000", "4")]


def test_a_failing_member_that_is_listed_wrongly_is_told(db: Engine) -> None:
    def damage(kept: KeptFold) -> None:
        kept.failing_members[node_of(db, whole.__query__, "k03")] = None

    assert damaged(db, "total", damage) == [("whole.Sum", "failing", str(db.get(total)))]


@pytest.mark.parametrize(("name", "what"), [("notes", notes.count.key(number=7.0)), ("total", total.key())])
def test_a_stale_answer_is_told_with_its_key(db: Engine, name: str, what: Any) -> None:
    node = node_of(db, what.query, *what.args)
    right = str(db.get(what))

    def damage(kept: Collection) -> None:
        kept.core.graph.fingerprint[node] = b"\x00" * 16

    ((where, kept, wanted),) = damaged(db, name, damage)
    assert (where, kept, wanted) == (str(what).rpartition(":")[2], "another answer", right)


def test_damage_in_the_store_with_checksums_that_fit_is_told_after_a_restart(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        for what in (sevens, total, largest):
            db.get(what)
        assert db.store is not None
        rows, sums = kept_of(db, notes).node, kept_of(db, total).node
        node, other = node_of(db, notes.__query__, "k03"), node_of(db, whole.__query__, "k04")
        db.store.write(
            Batch(
                rows=[MemberRows(rows, node, "k03", (("k03", 3.0),), False)],
                members=[MemberRow(sums, other, b"\x01" + pack(77))],
                blocks=[BlockRow(sums, *STATE, pack(Sum().add(Sum().zero(), 5)))],
                state=db.store.state,
            )
        )
    with Engine(tmp_path / "store") as db:
        assert ("notes('k03')", "no such row", "Note(key='k03+', number=7.0)") in told(db.audit(notes))
        found = told(db.audit(total))
        assert ("whole('k04')", "another contribution", "4") in found
        assert any(where == "whole.Sum" for where, _, _ in found)
        assert not db.notes()


def test_rows_that_do_not_fit_their_checksums_set_the_store_aside_with_a_note(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        db.get(total)
    with closing(sqlite3.connect(tmp_path / "store" / "store.db")) as connection:
        assert connection.execute("UPDATE member SET data = data || x'00'").rowcount > 0
        connection.commit()
    with Engine(tmp_path / "store") as db:
        assert told(db.audit(total)) == []
        assert len(db.notes()) == 1
