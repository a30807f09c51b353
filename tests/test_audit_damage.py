"""An audit tells what is wrong, with its key and with what is right."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.graph import FORCED
from engine.locate import locate
from engine.mark import suspect
from engine.store import Batch, BlockRow, MemberRow, MemberRows
from engine.store.canonical import pack
from engine.tables.accumulate import Sum
from engine.tables.blocks import STATE
from engine.tables.collection import Collection
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from tests.audits import ALL, db, kept_of, largest, node_of, notes, sevens, told, total, whole

__all__ = ["db"]  # a fixture


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


@pytest.mark.parametrize("name", ["notes", "total"])
def test_a_whole_that_fails_and_should_not_is_told(
    db: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Collection) -> None:
        raise ValueError("planted")

    for kind in (KeptTable, KeptFold):
        monkeypatch.setattr(kind, "check_members", fail)
    with db._core.lock:
        suspect(db._core, kept_of(db, ALL[name]).node, FORCED)
    assert [(kept, right) for _, kept, right in told(db.audit(ALL[name]))] == [
        ("ValueError: planted", "no error")
    ]
