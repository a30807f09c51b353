"""Records of neighbouring nodes lie in one row: the newest of each node stay, and all of them stay few."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import msgpack

from engine.errors import StoreDamaged
from engine.store import Batch, EarlierRow, NodeRow, State, VersionRow, open_store, parts, schema
from engine.store.checksums import added, fingerprint_of
from engine.store.gc import collect
from engine.store.history import LARGEST, OF_MEMOS, OF_VERSIONS
from engine.store.parts import PART_BITS, Kept

KEPT = 3
SIZE = 1 << PART_BITS


class Table:
    """A table of parts, beside what it should hold."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.connection = sqlite3.connect(":memory:")
        for statement in schema.TABLES:
            self.connection.execute(statement)
        self.total = 0
        self.expected: dict[int, list[bytes]] = {}

    def add(self, *several: tuple[int, bytes]) -> None:
        nodes, records = [node for node, _ in several], [self.record(text) for _, text in several]
        self.total += parts.add(self.connection, self.kept, nodes, records, KEPT)
        for node, text in several:
            self.expected.setdefault(node, []).append(text)

    def record(self, text: bytes) -> bytes:
        return text.ljust(32) if self.kept is OF_VERSIONS else msgpack.encode(text)

    def of(self, *nodes: int) -> list[bytes]:
        found = [bytes(one) for _, one in parts.of_nodes(self.connection, self.kept, nodes)]
        return [one.strip() if self.kept is OF_VERSIONS else one[2:] for one in found]

    def rows(self) -> list[tuple[int, int, bytes, bytes, bytes]]:
        return self.connection.execute(f"SELECT * FROM {self.kept.table} ORDER BY id").fetchall()

    def check(self) -> None:
        for node, texts in self.expected.items():
            assert self.of(node)[-KEPT:] == texts[-KEPT:]
            others = range(1 << 20, 1 << 20 | parts.FEW)  # so many are looked for in another way
            assert self.of(node, *others) == self.of(node)
        assert added(row[3] for row in self.rows()) == self.total


@pytest.fixture(params=[OF_VERSIONS, OF_MEMOS], ids=["version", "earlier"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    table = Table(request.param)
    yield table
    table.connection.close()


def test_the_newest_records_of_each_node_stay_in_their_order_and_the_rows_of_a_part_few(table: Table) -> None:
    dice = random.Random(7)
    nodes = [*range(1, 9), *range(SIZE - 2, SIZE + 3), 8 * SIZE]
    for number in range(600):
        several = dice.sample(nodes, dice.choice((1, 1, 1, 2, 5, len(nodes))))
        table.add(*((node, b"%d.%d" % (number, node)) for node in several))
        if number % 20 == 0:
            table.check()
            by_part = [row[1] for row in table.rows()]
            assert max(map(by_part.count, by_part)) <= 2 * KEPT
    table.check()
    assert sum(len(table.of(node)) for node in nodes) <= 3 * KEPT * len(nodes)


def test_a_row_goes_when_newer_ones_of_the_same_nodes_are_enough(table: Table) -> None:
    for number in range(2 * KEPT + 1):
        table.add(*((node, b"%d" % number) for node in range(1, 200)))
    assert len(table.rows()) == KEPT
    assert table.of(7) == [b"4", b"5", b"6"]
    table.check()


def test_what_is_said_twice_of_a_node_at_once_keeps_its_order(table: Table) -> None:
    table.add((9, b"1"), (8, b"2"), (9, b"3"))
    assert (table.of(9), table.of(8)) == ([b"1", b"3"], [b"2"])
    assert len(table.rows()) == 1


def test_all_rows_together_take_a_bounded_number_of_bytes(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 1_000)
    for number in range(100):
        table.add((number * SIZE, b"%d" % number))
    assert 5 <= len(table.rows()) <= 1_000 // parts.ROW_BYTES
    assert table.of(99 * SIZE) == [b"99"]
    assert added(row[3] for row in table.rows()) == table.total


@pytest.mark.parametrize("table", [OF_MEMOS], indirect=True)
def test_many_bytes_become_several_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LARGEST", 100)
    table.add(*((node, b"x" * size) for node, size in enumerate((10, 60, 60, 120, 1), 1)))
    assert [len(row[2]) // 4 for row in table.rows()] == [2, 1, 1, 1]
    for number in range(60):
        table.add((number % 40, b"%d" % number))
    table.check()


@pytest.mark.parametrize("table", [OF_MEMOS], indirect=True)
def test_large_records_that_cannot_be_made_one_row_stay_few_as_well(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node is written again and again, each time with another neighbour."""
    monkeypatch.setattr(parts, "LARGEST", 100)
    for number in range(200):
        table.add((1, b"%d" % number), (2 + number % 100, b"%080d" % number))
        if number % 20 == 0:
            table.check()
    table.check()
    assert len(table.of(1)) <= (parts.CROWDED + 1) * KEPT + 1
    assert sum(len(table.of(node)) for node in range(2, 102)) <= KEPT * 100


@pytest.mark.parametrize("table", [OF_MEMOS], indirect=True)
@pytest.mark.parametrize("largest", [1, 30, 100, 400])
def test_random_records_of_any_size_stay_as_long_as_they_are_promised(
    table: Table, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(parts, "LARGEST", largest)
    dice = random.Random(largest)
    for number in range(400):
        several = dice.sample(range(1, 12), dice.choice((1, 1, 2, 6)))
        table.add(*((node, b"%d" % number * dice.randint(1, 30)) for node in several))
        if number % 20 == 0:
            table.check()
    table.check()


def test_records_of_nodes_that_go_are_taken_out_and_the_others_stay(table: Table) -> None:
    for number in range(3):
        table.add(*((node, b"%d" % number) for node in (1, 2, SIZE, 3 * SIZE)))
    table.total -= parts.remove(table.connection, table.kept, [2, SIZE, 9 * SIZE])
    assert (table.of(2), table.of(SIZE)) == ([], [])
    del table.expected[2], table.expected[SIZE]
    table.check()
    assert len(table.rows()) == 6


MEMO = EarlierRow(1, 0, 5, b"code", fingerprint_of(b"now"), b"", b"")


def filled(directory: Path) -> None:
    node = NodeRow(1, 1, b"\x90", 0, 1, 1, 0, 5, 0, fingerprint_of(b"now"), b"", b"now")
    with open_store(directory) as store:
        store.write(Batch(nodes=[node], state=State(next_node=2)))
        store.write(Batch(versions=[VersionRow(1, 1, 2, b"v" * 16)], earlier=[MEMO]))
        assert [one.value for one in store.earlier([1])[1]] == [b"now"]
        store.check_invariants()


@pytest.mark.parametrize("name", ["version", "earlier"])
@pytest.mark.parametrize("change", ["nodes = x'02000000'", "packed = packed || x'00'", "part = 1", "id = 7"])
def test_a_row_that_is_not_as_it_was_written_is_damage(tmp_path: Path, name: str, change: str) -> None:
    filled(tmp_path)
    with open_store(tmp_path) as store:
        store.connection.execute(f"UPDATE {name} SET {change}")
        with pytest.raises(StoreDamaged):
            store.check_invariants()
        if name == "earlier":  # what memos read is kept
            with pytest.raises(StoreDamaged):
                collect(store)
        node = {"nodes": 2, "part": SIZE + 1}.get(change.split()[0], 1)
        if node <= SIZE:
            with pytest.raises(StoreDamaged):
                {"version": store.versions, "earlier": store.earlier}[name]([node])


@pytest.mark.parametrize("value", ["x'00'", "'now'"])
def test_a_damaged_value_is_not_taken_into_an_earlier_memo(tmp_path: Path, value: str) -> None:
    """The checksum of its record agreed from then on, and the value was put back."""
    filled(tmp_path)
    with open_store(tmp_path) as store:
        store.connection.execute(f"UPDATE node SET value = {value}")
        with pytest.raises(StoreDamaged):
            store.write(Batch(earlier=[MEMO]))


@pytest.mark.parametrize("nodes", ["x'0100000000'", "'a text'"])
def test_nodes_that_are_none_are_damage(tmp_path: Path, nodes: str) -> None:
    filled(tmp_path)
    with open_store(tmp_path) as store:
        store.connection.execute(f"UPDATE version SET nodes = {nodes}")
        for ask in ([1], range(1, 9)):
            if nodes.startswith("x") or len(ask) > 1:
                with pytest.raises(StoreDamaged):
                    store.versions(ask)
        with pytest.raises(StoreDamaged):
            store.check_invariants()


def test_a_large_value_is_read_when_somebody_wants_it(tmp_path: Path) -> None:
    value = bytes(LARGEST + 1)
    memo = EarlierRow(1, 0, 5, b"code", fingerprint_of(value), b"", b"", b"", value)
    with open_store(tmp_path) as store:
        store.write(Batch(earlier=[memo]))
        assert [one.value for one in store.earlier([1])[1]] == [None]
        assert store.earlier_value(1, memo.fingerprint) == value


def test_the_value_of_an_earlier_memo_is_found_where_the_node_has_it_still(tmp_path: Path) -> None:
    """Its record is not written yet, or says that it was stored nowhere."""
    filled(tmp_path)
    with open_store(tmp_path) as store:
        store.write(Batch(earlier_gone=[1]))
        for batch in (Batch(), Batch(earlier=[MEMO._replace(valueless=True)])):
            store.write(batch)
            assert store.earlier_value(1, MEMO.fingerprint) == b"now"
        assert store.earlier_value(1, fingerprint_of(b"another")) is None
