"""What members of a table gave before is read for many at once, and once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, ahead, input, persist, query, table
from engine.tables.kept import KeptRows
from engine.tables.kept_table import KeptTable

MEMBERS = 300


class Row(NamedTuple):
    number: int
    value: int


@input
def hub() -> int:
    return 1


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(MEMBERS))


@table(each=numbers, index=("number",))
def products(number: int) -> list[Row]:
    return [Row(number, hub() * number), Row(number, -1)]


@pytest.mark.parametrize("chunk", [persist.CHUNK_NODES, 10])
def test_rows_that_were_read_ahead_outlive_a_commit_amid_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(products.count) == 2 * MEMBERS
    monkeypatch.setattr(persist, "CHUNK_NODES", chunk)
    with Engine(tmp_path / "store") as db:
        assert db.store is not None
        for hub_is in (3, 1, 5):  # new, restored, new again with an earlier memo kept
            db.set(hub.key(), hub_is)
            found: list[str] = []
            db.store.connection.set_trace_callback(found.append)
            before = db.counts()
            assert db.get(products.count) == 2 * MEMBERS
            counts = db.counts() - before
            db.store.connection.set_trace_callback(None)
            assert counts.executed + counts.restored >= MEMBERS
            assert (counts.commits > MEMBERS / 20) == (chunk == 10)
            read = [text for text in found if " FROM rows_" in text and "WHERE _member IN" in text]
            assert len(read) <= ahead.AT_MOST.bit_length() + MEMBERS // ahead.AT_MOST + 3
            assert set(db.get(products.where, number=7)) == {Row(7, 7 * hub_is), Row(7, -1)}
            tables = [one for one in db._core.collections.values() if isinstance(one, KeptTable)]
            assert [one.kept._ahead for one in tables] == [{}]  # nothing of it stays in memory


def test_of_rows_that_are_read_ahead_those_of_one_piece_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of members whose rows stay the same were there until the table was brought up to date."""
    held: list[int] = []
    of = KeptRows.of

    def counted(kept: KeptRows, member: int) -> object:
        held.append(len(kept._ahead))
        return of(kept, member)

    @table(each=numbers)
    def signs(number: int) -> list[Row]:
        return [Row(number, min(hub(), 1))]

    monkeypatch.setattr(ahead, "AT_MOST", 16)
    with Engine(tmp_path / "store") as db:
        assert db.get(signs.count) == MEMBERS
    monkeypatch.setattr(KeptRows, "of", counted)
    with Engine(tmp_path / "store") as db:
        db.set(hub.key(), 2)
        before = db.counts()
        assert db.get(signs.count) == MEMBERS
        assert (db.counts() - before).cut_off == MEMBERS
    assert max(held) == ahead.AT_MOST
