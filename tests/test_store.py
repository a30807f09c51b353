"""What is written of nodes is read back, also after reopening."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.store import Batch, InputRow, NodeRow, RevisionRow, State, checksums, fingerprint_of, open_store
from tests.stores import dump, graph, node, packed


def test_what_is_written_is_read_back_also_after_reopening(tmp_path: Path) -> None:
    batch = graph(50)
    for reopened in (False, True):
        with open_store(tmp_path / "s") as store:
            if not reopened:
                assert store.state == State()
                store.write(batch)
            assert store.notes == []
            expected = {row.id: row._replace(value=None) for row in batch.nodes}
            assert store.nodes(list(range(60))) == expected
            assert store.find(2, b"args 4") == expected[4]
            assert store.find(2, b"args 5") is None
            assert store.find(1, b"args 4") is None
            assert store.values([4, 5, 99]) == {4: b"value 4", 5: b"value 5"}
            assert store.value(4, list(batch.nodes)[3].fingerprint) == b"value 4"
            assert store.value(4, bytes(16)) is None
            assert store.readers([1, 49, 50]) == {1: packed(2, 3), 49: packed(50)}
            assert store.inputs() == [(1, 2, b"args 1", 0, 0, next(iter(batch.nodes)).fingerprint, b"stamp")]
            assert store.queries() == batch.queries
            assert store.nodes_of(1) == list(range(3, 51, 3))
            assert store.revisions() == batch.revisions
            assert store.state == batch.state
            store.check_invariants()


def test_a_row_without_its_value_keeps_it_while_the_fingerprint_is_the_same(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1), node(2)]))
        store.write(Batch(nodes=[node(1)._replace(value=None, verified_at=7)]))
        assert store.values([1]) == {1: b"value 1"}
        assert store.nodes([1])[1].verified_at == 7
        store.write(Batch(nodes=[node(1)._replace(value=None, fingerprint=bytes(16))]))
        assert store.values([1, 2]) == {2: b"value 2"}
        store.check_invariants()


def test_colliding_keys_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "key_hash", lambda query, args: 7)
    monkeypatch.setattr(checksums, "key_hashes", lambda query, args: [7] * len(args))
    with open_store(tmp_path) as store:
        store.write(graph(20))
        assert [store.find(i % 3 + 1, b"args %d" % i) for i in range(1, 22)] == [
            *store.nodes(range(1, 21)).values(),
            None,
        ]


def test_a_node_cannot_change_its_key(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(5))
        before = dump(store)
        with pytest.raises(ValueError, match="new id"):
            store.write(Batch(nodes=[node(1)._replace(args=b"other")], state=State(9)))
        assert dump(store) == before


def test_deleting_takes_input_and_readers_rows_along(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1), node(2, 1)], readers=[(1, packed(2))], inputs=[InputRow(1, b"s")]))
        store.write(Batch(deleted=[1, 2, 77]))
        assert (store.nodes([1, 2]), store.readers([1, 2]), store.inputs()) == ({}, {}, [])
        store.check_invariants()


def test_one_batch_may_hold_every_kind_of_change_twice(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30))
        second = graph(30, revision=2)
        second.nodes = [*second.nodes, list(second.nodes)[4]]
        second.deleted_inputs = [1]
        second.inputs = []
        store.write(second)
        assert store.inputs() == []
        assert {row.changed_at for row in store.nodes(range(1, 31)).values()} == {2}
        assert [row.number for row in store.revisions()] == [2, 1]
        store.check_invariants()


def test_only_the_last_thousand_revisions_are_kept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(revisions=[RevisionRow(i, 1.5, 0, "") for i in range(1, 1001)]))
        store.write(Batch(revisions=[RevisionRow(i, 1.5, 0, "") for i in range(1001, 1011)]))
        assert [row.number for row in store.revisions()] == list(range(1010, 10, -1))
        store.check_invariants()


@pytest.mark.parametrize("value", [b"", b"\0", b"x" * 3_000_000])
def test_values_of_any_size(tmp_path: Path, value: bytes) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1)._replace(value=value, fingerprint=fingerprint_of(value))]))
        assert store.value(1, fingerprint_of(value)) == value


def test_small_nodes_stay_below_two_hundred_bytes(tmp_path: Path) -> None:
    count = 5000
    nodes = [
        NodeRow(i, 3, b"%012d" % i, 1, 90, 99, 0, 500, max(1, i - 9), fingerprint_of(b"v%05d" % i),
                packed(*range(max(1, i - 3), i)), b"v%05d" % i)
        for i in range(1, count + 1)
    ]  # fmt: skip
    readers = [(i, packed(*range(i + 1, min(count, i + 3) + 1))) for i in range(1, count)]
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=nodes, readers=readers))
        store.checkpoint()
        assert store.path.stat().st_size / count < 200
        store.check_invariants()
