"""Members of tables and folds are put back with what they gave, and so is who reads their keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, history, query, restore, table
from engine.core import Core
from engine.earlier_rows import pack_rows
from engine.graph import LOADED, MARKED
from engine.persist import load
from engine.tables.columns import Columns
from tests.histories import cell, db, doubled, told

__all__ = ["db"]  # a fixture


@frozen
class Word:
    text: str


@query(name="history:files")
def names() -> tuple[str, ...]:
    return ("a", "b") if cell("files") else ("a", "b", "c")


@table(each=names, index=("text",), name="history:words")
def words(name: str) -> Iterable[Word]:
    return [Word(f"{name}{number}") for number in (3, 1, 2)[: 1 + cell(name)]]


total = fold(each=names, of=doubled, into=Sum(), name="history:total")


@query(name="history:overview")
def overview() -> tuple[int, int, int]:
    return words.count(), len(words.where(text="c1")), total()


def test_members_of_tables_and_folds_are_put_back_with_what_they_gave(db: Engine) -> None:
    states = [{"a": 1}, {"files": 1}, {"files": 0, "c": 1, "a": 2}]
    wanted = []
    for state in states:
        with db.batch():
            for name in ("a", "c", "files"):
                db.set(cell.key(name), state.get(name, 0))
        wanted.append(db.get(overview))
    for turn in (0, 1, 2, 1, 0, 2):
        with db.batch():
            for name in ("a", "c", "files"):
                db.set(cell.key(name), states[turn].get(name, 0))
        with told(db) as events:
            assert db.get(overview) == wanted[turn]
        # Lookups do run: what they rest on are rows, which their dependencies do not name.
        assert [one for one in events if one.startswith("ran") and "words(" in one] == []
        assert [one for one in events if one.startswith("ran") and "doubled(" in one] == []
        assert [one for one in events if one.startswith("ran overview")] == []


def test_a_member_that_left_comes_again_with_its_rows_after_a_restart(tmp_path: Path) -> None:
    """That they are kept has to be in its row, which nothing else writes when it leaves."""
    for files, found in ((0, (4, 1)), (1, (2, 0)), (0, (4, 1))):
        with Engine(tmp_path / "store", history=4) as db:
            db.set(cell.key("c"), 1)
            db.set(cell.key("files"), files)
            with told(db) as events:
                assert (db.get(words.count), len(db.get(words.where, text="c1"))) == found
    assert [one for one in events if one.startswith("ran") and "words('" in one] == []


@query(name="history:listed")
def listed() -> str:
    return " ".join(names())


def test_who_reads_what_gives_a_table_its_keys_is_put_back_too(db: Engine) -> None:
    for state in (0, 1):
        db.set(cell.key("files"), state)
        db.get(listed)
        db.get(words.count)  # the table reads them last
    with told(db) as events:
        db.set(cell.key("files"), 0)
        assert db.get(listed) == "a b c"
    assert events == ["restored files()", "restored listed()"]


def test_a_member_that_is_put_back_costs_no_row_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier rows are kept as columns, and columns are what the table takes."""
    with Engine(tmp_path / "store") as db:
        for state in (2, 0):
            db.set(cell.key("a"), state)
            db.get(words.count)
        monkeypatch.setattr(Columns, "encode", refuse)
        monkeypatch.setattr(Columns, "decode", refuse)
        db.set(cell.key("a"), 2)
        with told(db) as events:
            assert db.get(words.count) == 5
    assert [one for one in events if "words('" in one] == ["restored words('a')"]


def refuse(columns: Columns, row: object) -> object:
    raise AssertionError(row)


def test_a_memo_of_a_member_that_is_kept_already_does_not_have_its_rows_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To go back and forth between two states reads no more rows for it than the first way back did."""
    packed = 0

    def pack(core: Core, node: int) -> bytes:
        nonlocal packed
        packed += 1
        return pack_rows(core, node)

    monkeypatch.setattr(history, "pack_rows", pack)
    with Engine(tmp_path / "store") as db:
        for state in (2, 0, 2, 0, 2):
            db.set(cell.key("a"), state)
            assert db.get(words.count) == 3 + state
    assert packed == 2, "once for each state"


@table(each=names, index=("text",), name="history:echoes")
def echoes(name: str) -> Iterable[Word]:
    if cell(name) >= 0:
        yield from (row for number in range(5) for row in words.where(text=f"{name}{number}"))


def test_an_earlier_memo_reads_what_rests_on_settled_tables_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member is put back while its own table is doubtful; what others of them rest on is not."""
    brought: list[int] = []

    def bring(core: Core, nodes: Iterable[int]) -> None:
        brought.extend(node for node in nodes if core.graph.status[node] & (LOADED | MARKED) == LOADED)
        load(core, nodes)

    with Engine(tmp_path / "store") as db:
        monkeypatch.setattr(restore, "load", bring)  # what it asks for on the long way
        for state in (0, 2, 0):
            db.set(cell.key("b"), state)
            with told(db) as events:
                assert db.get(echoes.count) == 3 + state
    assert [one for one in events if "echoes('" in one] == ["restored echoes('b')"]
    assert brought == [], "only what is not up to date"
