"""Bundles of observed inputs that are missing are made anew, and damaged ones are not given out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import Batch, InputRow, NodeColumns, open_store
from engine.store.statements import take
from tests.bundles import RANGE, count_bundles, in_bundles, in_rows, node, written


def test_a_store_without_bundles_is_read_and_gets_them_with_the_next_input(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, RANGE)
    expected = without_bundles(tmp_path)
    with open_store(tmp_path) as store:
        assert store.notes == []
        assert count_bundles(store) == 0
        assert in_bundles(store) == expected
        store.check_invariants()
        store.write(Batch(inputs=[InputRow(2, b"second")]))
        assert count_bundles(store) == 3
        assert in_bundles(store) == in_rows(store) == expected | {2: (1, node(2).args, b"second")}
        store.check_invariants()


def without_bundles(directory: Path) -> dict[int, tuple[int, bytes, bytes]]:
    """Take the bundles out, as a store has none that an earlier version has written."""
    with pytest.MonkeyPatch.context() as patch, open_store(directory) as store:
        expected = in_rows(store)
        patch.setattr("engine.store.writing.write_observed", take_all)
        store.write(Batch(state=store.state))
        return expected


def take_all(connection: sqlite3.Connection, batch: Batch, written: NodeColumns, stamped: set[int]) -> int:
    return -take(connection, "observed", "1 = 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE observed SET stamps = x'90' WHERE part = 0",
        "UPDATE observed SET query = 9 WHERE part = 0 AND query = 1",
        "UPDATE observed SET args = 'text' WHERE part = 0",
        "UPDATE observed SET nodes = 7 WHERE part = 0",
        "UPDATE observed SET sum = x''",
        "UPDATE observed SET stamps = x'90' WHERE part = -1",
        "UPDATE observed SET nodes = 7 WHERE part = -1",
        "UPDATE observed SET part = -2 WHERE part = -1",
    ],
)
def test_a_damaged_bundle_is_not_given_out(tmp_path: Path, statement: str) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, RANGE)
        written(store, *range(2 * RANGE, 2 * RANGE + 50))
        store.write(Batch(inputs=[InputRow(2 * RANGE + at, b"second") for at in range(50)]))
        store.connection.execute(statement)
        with pytest.raises(StoreDamaged):
            store.bundles()
        with pytest.raises(StoreDamaged):
            store.check_invariants()


def test_the_audit_finds_bundles_of_another_moment(tmp_path: Path) -> None:
    """Each with its checksum, and with a total that is right."""
    for number, batch in enumerate(
        (
            Batch(inputs=[InputRow(2, b"second")]),
            Batch(nodes=[node(4)], inputs=[InputRow(4, b"first")]),
            Batch(nodes=[node(3 * RANGE)], inputs=[InputRow(3 * RANGE, b"first")]),
            Batch(deleted_inputs=[2]),
            Batch(deleted_inputs=[RANGE]),
            Batch(inputs=[InputRow(5 * RANGE + 7, b"third")]),  # beside the bundles
        )
    ):
        with open_store(tmp_path / str(number)) as store, pytest.MonkeyPatch.context() as patch:
            written(store, 1, 2, RANGE)
            written(store, *range(5 * RANGE, 5 * RANGE + 50))
            store.write(Batch(inputs=[InputRow(5 * RANGE + at, b"second") for at in range(50)]))
            store.check_invariants()
            patch.setattr("engine.store.writing.write_observed", lambda *given: 0)
            store.write(batch)
            with pytest.raises(StoreDamaged) as caught:
                store.check_invariants()
            assert caught.value.fields["table"] == "observed"
