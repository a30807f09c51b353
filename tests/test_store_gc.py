"""Collecting keeps exactly what roots reach."""

from __future__ import annotations

from pathlib import Path

from engine.store import GROUP_MARKER, Batch, InputRow, State, open_store
from engine.store.gc import collect
from tests.stores import graph, node, packed


def test_collecting_keeps_exactly_what_roots_reach(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [node(1), node(2), node(3, 1, GROUP_MARKER, 2), node(4, 2, flags=8 | 1), node(5, 4), node(6)]
        readers = [(1, packed(3)), (2, packed(3, 4)), (4, packed(5))]
        inputs = [InputRow(1, b"a"), InputRow(2, b"b")]
        suspects = packed(1, 2 | GROUP_MARKER, 4)
        store.write(Batch(nodes, readers, inputs, state=State(1, 7, 2, suspects, (1, 0, 0))))
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


def test_a_deep_chain_is_collected_without_recursion(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [
            node(i, *([i - 1] if i > 1 else []), flags=8 if i == 20_000 else 0) for i in range(1, 20_001)
        ]
        store.write(Batch(nodes))
        assert collect(store).kept == 20_000
