"""Collecting keeps a table or a fold with all its members, or drops it with all that it had."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import Batch, BlockRow, ChangeRow, CursorRow, MemberRow, State, open_store
from engine.store.gc import collect
from tests.stored_collections import collection, rows_of
from tests.stores import node, packed


def garden() -> Batch:
    """Root 1 reads table 2 with members 3 and 4; 3 reads 5. Nobody reads table 6 with members 4 and 7.

    The readers of members name the table, which does not list them; the tables have no readers.
    """
    return Batch(
        nodes=[node(1, 2, flags=8), node(2), node(3, 5), node(4), node(5), node(6), node(7), node(8, 2)],
        readers=[(3, packed(2)), (4, packed(2, 6)), (5, packed(3)), (7, packed(6))],
        collections=[collection(2, "m:kept"), collection(6, "m:lost")],
        members=[MemberRow(2, 3, b""), MemberRow(2, 4, b""), MemberRow(6, 4, b""), MemberRow(6, 7, b"")],
        rows=[rows_of(m, ("a", "b", m), table=t) for t, m in ((2, 3), (2, 4), (6, 4), (6, 7))],
        changes=[ChangeRow(1, 2, 1, 1, b""), ChangeRow(2, 6, 1, 1, b"")],
        cursors=[CursorRow(2, "c", 1, 1, b""), CursorRow(6, "c", 1, 1, b""), CursorRow(8, "c", 1, 1, b"")],
        blocks=[BlockRow(6, 0, b"k", b"d")],
        state=State(1, 9),
    )


def test_collecting_keeps_the_members_of_kept_collections_and_drops_the_others(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(garden())
        store.check_invariants()
        done = collect(store)
        assert (done.kept, done.deleted) == (5, 3)
        assert set(store.nodes(range(10))) == {1, 2, 3, 4, 5}
        derived = store.derived
        assert [row.id for row in derived.collections()] == [2]
        assert [row.node for row in derived.members(2)] == [3, 4]
        assert derived.count(2, []) == 2
        assert store.readers(range(10)) == {3: packed(2), 4: packed(2), 5: packed(3)}
        left = {name: count for name, count in store.statistics().rows.items() if count}
        assert left == {
            "node": 5, "readers": 3, "collection": 1, "member": 2, "change": 1, "rows_kept_2": 2,
            "cursor": 2,  # with that of the log
        }  # fmt: skip
        store.check_invariants()
        assert collect(store).deleted == 0
        store.write(Batch(collections=[collection(50)], members=[MemberRow(50, 3, b"")]))  # without a node
        assert collect(store).deleted == 0
        assert [row.id for row in derived.collections()] == [2]
    with open_store(tmp_path) as store:
        assert store.notes == []


def test_a_collection_that_is_a_root_or_a_member_keeps_its_members(tmp_path: Path) -> None:
    for number, change in enumerate([{6: node(6, flags=8)}, {5: node(5)}]):
        batch = garden()
        batch.nodes = [change.get(row.id, row) for row in batch.nodes]
        if number:
            batch.members.append(MemberRow(2, 6, b""))
        with open_store(tmp_path / str(number)) as store:
            store.write(batch)
            assert collect(store).deleted == 1
            assert [row.id for row in store.derived.collections()] == [2, 6]
            assert store.derived.count(6, []) == 2
            store.check_invariants()


def test_without_roots_nothing_of_a_collection_is_left_and_space_is_given_back(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        batch = garden()
        batch.nodes = [node(1, 2), *list(batch.nodes)[1:]]
        batch.rows.append(rows_of(3, *((i, "x" * 100, i) for i in range(5000))))
        batch.rows[-1] = batch.rows[-1]._replace(collection=2)
        store.write(batch)
        done = collect(store)
        assert (done.kept, done.compacted) == (0, True)
        assert done.bytes_after < done.bytes_before / 4
        assert {name: count for name, count in store.statistics().rows.items() if count} == {"cursor": 1}
        store.check_invariants()
    with open_store(tmp_path) as store:
        assert store.notes == []


def test_readers_are_audited_but_for_what_collections_need_not_list(tmp_path: Path) -> None:
    wrong = [
        (5, packed(3, 8)),  # 8 does not read 5, and is no collection
        (5, b""),
        (3, packed(7)),
        (8, packed(1)),
    ]
    for number, row in enumerate(wrong):
        with open_store(tmp_path / str(number)) as store:
            batch = garden()
            batch.readers = [*batch.readers, row]
            store.write(batch)
            with pytest.raises(StoreDamaged, match="readers"):
                store.check_invariants()
    with open_store(tmp_path / "right") as store:
        batch = garden()
        batch.readers = [*batch.readers, (2, packed(1)), (5, packed(3, 6))]
        store.write(batch)
        store.check_invariants()
