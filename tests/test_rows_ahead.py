"""What members of a table gave before is read for many at once, and once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, ahead, input, persist, query, table
from engine.tables import kept
from engine.tables.kept_table import KeptTable

MEMBERS, MANY = 300, 2000


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


@query
def many_numbers() -> tuple[int, ...]:
    return tuple(range(MANY))


@table(each=many_numbers, index=("number",))
def signs(number: int) -> list[Row]:
    return [Row(number, 1 if hub() > 0 else -1)]


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


def test_rows_of_members_that_give_the_same_again_do_not_pile_up_while_the_others_run(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(signs.count) == MANY
    with Engine(tmp_path / "store") as db:
        held: list[int] = []
        db.listen(
            lambda _: held.extend(
                len(one.kept._ahead) for one in db._core.collections.values() if isinstance(one, KeptTable)
            )
        )
        db.set(hub.key(), 3)
        before = db.counts()
        assert db.get(signs.count) == MANY
        assert (db.counts() - before).executed == MANY
        assert ahead.AT_MOST <= max(held) <= kept.AHEAD + 2 * ahead.AT_MOST
        db.set(hub.key(), -3)
        assert set(db.get(signs.where, number=7)) == {Row(7, -1)}
