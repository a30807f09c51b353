"""Collecting keeps exactly what roots reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import (
    GROUP_MARKER,
    Batch,
    CollectionRow,
    EarlierRow,
    InputRow,
    MemberRow,
    State,
    VersionRow,
    open_store,
)
from engine.store.gc import collect
from tests.stores import graph, node, packed

TABLE = CollectionRow(3, "m:table", "table", '{"columns": ["name"]}', b"")


def test_collecting_keeps_exactly_what_roots_reach(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [node(1), node(2), node(3, 1, GROUP_MARKER, 2), node(4, 2, flags=8 | 1), node(5, 4), node(6)]
        readers = [(1, packed(3)), (2, packed(3, 4)), (4, packed(5))]
        inputs = [InputRow(1, b"a"), InputRow(2, b"b")]
        suspects = packed(1, 2 | GROUP_MARKER, 4)
        store.write(Batch(nodes, readers, inputs, state=State(1, 7, 2, suspects, (1, 0, 0))))
        store.check_invariants()  # a marker of a group is no dependency
        done = collect(store)
        assert (done.kept, done.deleted, done.inputs_deleted) == (2, 4, 1)
        assert set(store.nodes(range(10))) == {2, 4}
        assert store.readers(range(10)) == {2: packed(4)}
        assert [row.id for row in store.inputs()] == [2]
        assert store.state == State(1, 7, 2, packed(2 | GROUP_MARKER, 4), (1, 0, 0))
        store.check_invariants()
        assert collect(store).deleted == 0


def test_collecting_gives_space_back_and_the_store_stays_sealed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        batch = graph(3000)
        batch.nodes = [row._replace(flags=8) if row.id == 10 else row for row in batch.nodes]
        store.write(batch)
        done = collect(store)
        assert (done.kept, done.compacted) == (10, True)
        assert done.bytes_after < done.bytes_before / 5
        store.check_invariants()
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, len(again.nodes(range(1, 3001)))) == ([], False, 10)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE node SET flags = 0 WHERE id = 4",
        "UPDATE node SET dependencies = x'' WHERE id = 4",
        "UPDATE member SET node = 9",
        "UPDATE collection SET id = 9",
    ],
)
def test_by_a_damaged_row_nothing_is_collected(tmp_path: Path, statement: str) -> None:
    """What the row kept went, such as a value that the host had set."""
    with open_store(tmp_path) as store:
        nodes = [node(1), node(2), node(3), node(4, 1, 3, flags=8)]
        store.write(Batch(nodes, collections=[TABLE], members=[MemberRow(TABLE.id, 2, b"")]))
        assert collect(store).deleted == 0
        store.connection.execute(statement)
        with pytest.raises(StoreDamaged):
            collect(store)
        assert len(store.all_nodes()) == 4


def test_what_goes_takes_its_history_along(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        versions = [VersionRow(id, 1, 2, bytes(16)) for id in (1, 2)]
        earlier = [EarlierRow(id, 0, 1, b"code", bytes(16), b"", b"", value=b"old") for id in (1, 2)]
        store.write(Batch([node(1, flags=8), node(2)], versions=versions, earlier=earlier))
        assert collect(store).deleted == 1
        assert (list(store.versions([1, 2])), list(store.earlier([1, 2]))) == ([1], [1])
        store.check_invariants()


def test_a_deep_chain_is_collected_without_recursion(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [node(i, *range(max(1, i - 2), i), flags=8 if i == 20_000 else 0) for i in range(1, 20_001)]
        store.write(Batch(nodes))
        assert collect(store).kept == 20_000
