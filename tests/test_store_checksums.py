"""A row that does not match its checksum is not given out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import checksums, fingerprint_of, open_store
from engine.store.sqlite import Store
from tests.stores import graph, node


def test_checksums_by_column_are_those_of_the_rows() -> None:
    ids, texts = [1, 2, 1 << 40], [b"", b"a", b"b" * 3000]
    assert checksums.readers_sums(ids, texts) == list(map(checksums.readers_sum, ids, texts))
    assert checksums.input_sums(ids, texts) == list(map(checksums.input_sum, ids, texts))
    assert checksums.member_sums([7] * 3, ids, texts) == list(map(checksums.member_sum, [7] * 3, ids, texts))
    nodes = [node(1, 2, 3), node(9)._replace(args=b"", fingerprint=b""), node(1 << 40, flags=4)]
    assert checksums.node_sums(list(zip(*nodes, strict=True))) == [
        checksums.node_sum(*row[:11]) for row in nodes
    ]
    keys = [checksums.key_hash(row.query, row.args) for row in nodes]
    assert list(checksums.key_hashes([row.query for row in nodes], [row.args for row in nodes])) == keys


def test_rows_that_no_longer_match_their_checksum_are_not_given_out(tmp_path: Path) -> None:
    changes: list[tuple[str, Callable[[Store], object]]] = [
        ("UPDATE node SET verified_at = 9 WHERE id = 3", lambda s: s.nodes([2, 3])),
        ("UPDATE node SET dependencies = zeroblob(8) WHERE id = 3", lambda s: s.find(1, b"args 3")),
        ("UPDATE node SET flags = 'x' WHERE id = 3", lambda s: s.nodes([3])),
        ("UPDATE node SET value = 'x' WHERE id = 3", lambda s: s.values([3])),
        ("UPDATE node SET value = x'00' WHERE id = 3", lambda s: s.value(3, fingerprint_of(b"value 3"))),
        ("UPDATE node SET value = x'' WHERE id = 3", lambda s: s.values_of({3: fingerprint_of(b"value 3")})),
        ("UPDATE readers SET packed = x'01000000' WHERE dependency = 3", lambda s: s.readers([3])),
        ("UPDATE input SET stamp = x'00'", lambda s: s.inputs()),
        ("UPDATE input SET node = 2", lambda s: s.inputs()),
        ("DELETE FROM node WHERE id = 1", lambda s: s.inputs()),
        ("UPDATE query SET name = 'm:other' WHERE id = 1", lambda s: s.queries()),
        ("UPDATE revision SET changed = 2", lambda s: s.revisions()),
        ("UPDATE revision SET changed = 2", lambda s: s.check_invariants()),
        ("UPDATE state SET revision = 2", lambda s: s.check_invariants()),
        ("DELETE FROM node WHERE id = 20", lambda s: s.check_invariants()),
        ("UPDATE node SET key = 1 WHERE id = 20", lambda s: s.check_invariants()),
        ("DELETE FROM readers WHERE dependency = 4", lambda s: s.check_invariants()),
        ("DELETE FROM revision", lambda s: s.check_invariants()),
    ]
    for number, (statement, look) in enumerate(changes):
        with open_store(tmp_path / str(number)) as store:
            store.write(graph(20))
            store.connection.execute(statement)
            with pytest.raises(StoreDamaged):
                look(store)
