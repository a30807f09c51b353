"""Observed inputs are read in blocks at a start, and the blocks say what the rows say."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path

import pytest

from engine import Engine, each, input, query
from engine.errors import StoreDamaged
from engine.rules.files import read_text
from engine.store import Batch, InputRow, NodeColumns, NodeRow, State, late, open_store, rows
from engine.store.canonical import canonical
from engine.store.gc import collect
from engine.store.observed import RANGE_BITS
from engine.store.sqlite import Store
from engine.store.statements import take

RANGE = 1 << RANGE_BITS
OBSERVED = 64


def node(id: int, args: tuple[object, ...] | None = None, flags: int = OBSERVED) -> NodeRow:
    packed = canonical((f"file {id}",) if args is None else args)
    return NodeRow(id, id % 2 + 1, packed, flags, 1, 1, 0, 0, 0, b"", b"", None)


def written(store: Store, *ids: int, stamp: bytes = b"first") -> None:
    store.write(Batch(nodes=[node(id) for id in ids], inputs=[InputRow(id, stamp) for id in ids]))


def in_blocks(store: Store) -> dict[int, tuple[int, bytes, bytes]]:
    """Query, arguments and stamp of every input, by the blocks."""
    found = {}
    for block in store.input_blocks():
        args = block.args or [canonical((text,)) for text in block.texts or ()]
        for id, one, stamp in zip(block.nodes, args, block.stamps, strict=True):
            assert id not in found
            found[id] = block.query, one, stamp
    return found


def in_rows(store: Store) -> dict[int, tuple[int, bytes, bytes]]:
    return {row.id: (row.query, row.args, row.stamp) for row in store.inputs()}


def count_blocks(store: Store) -> int:
    return store.statistics().rows["observed"]


class Statements(list[str]):
    """The SQL that a store executes from now on."""

    def __init__(self, store: Store) -> None:
        store.connection.set_trace_callback(self.append)

    def count_of(self, part: str) -> int:
        return sum(part in one for one in self)


# -- the blocks and the rows ---------------------------------------------------------------------------


@pytest.mark.parametrize("most", [late.MOST, 300])
def test_the_blocks_say_what_the_rows_say_whatever_was_written(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", most)
    dice = random.Random(4)
    made: set[int] = set()
    with open_store(tmp_path) as store:
        for turn in range(60):
            fresh = {dice.randrange(1, 3 * RANGE) for _ in range(dice.choice((0, 1, 40)))} - made
            known = sorted(made)
            stamped = dice.sample(known, min(len(known), dice.choice((0, 1, 2, 3, 200))))
            gone = dice.sample(known, min(len(known), dice.choice((0, 0, 1, 9))))
            unobserved = dice.sample(known, min(len(known), dice.choice((0, 1))))
            left = [id for id in (*fresh, *stamped) if id not in {*gone, *unobserved}]
            store.write(
                Batch(
                    nodes=[node(id) for id in fresh],
                    inputs=[InputRow(id, b"turn %d" % turn) for id in left],
                    deleted=gone,
                    deleted_inputs=unobserved,
                )
            )
            made = (made | fresh) - set(gone)
            assert in_blocks(store) == in_rows(store)
            store.check_invariants()
        assert len(in_rows(store)) > 100


def test_a_changed_stamp_writes_the_block_it_is_in_and_no_other(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, *range(1, 4 * RANGE))
        assert count_blocks(store) == 8  # two queries in each range
        statements = Statements(store)
        store.write(Batch(inputs=[InputRow(RANGE + 2, b"second"), InputRow(RANGE + 4, b"second")]))
        assert statements.count_of("UPDATE observed") == 1
        assert statements.count_of("JOIN node") == 0
        assert in_blocks(store) == in_rows(store)


def test_many_changed_stamps_are_put_beside_the_blocks_and_no_block_is_written(tmp_path: Path) -> None:
    several = range(1, 40 * RANGE, RANGE)
    with open_store(tmp_path) as store:
        written(store, *several)
        statements = Statements(store)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in several]))
        assert statements.count_of("UPDATE observed") == statements.count_of("FROM node") == 0
        assert statements.count_of("INTO observed") == 1
        assert in_blocks(store) == in_rows(store)
        store.check_invariants()


def test_stamps_beside_the_blocks_go_into_them_together_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", 30)
    several = range(1, 40 * RANGE, RANGE)
    with open_store(tmp_path) as store:
        written(store, *several)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in several[:20]]))
        statements = Statements(store)
        store.write(Batch(inputs=[InputRow(id, b"third") for id in several[20:]]))
        assert statements.count_of("UPDATE observed") == 40
        assert statements.count_of("FROM observed WHERE part IN") == 1
        assert statements.count_of("FROM node") == 0
        assert in_blocks(store) == in_rows(store)
        store.check_invariants()


def test_a_commit_that_writes_no_input_leaves_the_blocks_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, 3)
        statements = Statements(store)
        store.write(Batch(nodes=[node(9, flags=0)], state=State(2, 10, 3)))
        assert statements.count_of("observed") == 0


def test_blocks_of_inputs_that_come_with_their_nodes_are_made_without_reading_a_row(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        statements = Statements(store)
        written(store, 1, 2, RANGE)
        written(store, 2 * RANGE, 3 * RANGE)
        pinned = node(4 * RANGE, flags=OBSERVED | rows.PINNED_FLAG)
        store.write(Batch(nodes=[pinned], inputs=[InputRow(pinned.id, b"of before")]))
        assert statements.count_of("input LEFT JOIN node") == 0
        store.write(Batch(nodes=[node(5 * RANGE)]))
        store.write(Batch(inputs=[InputRow(5 * RANGE, b"later")]))
        assert statements.count_of("input LEFT JOIN node") == 1
        assert in_blocks(store) == in_rows(store) | {pinned.id: (1, pinned.args, b"")}
        store.check_invariants()


def test_arguments_of_any_kind_come_back(tmp_path: Path) -> None:
    several: tuple[tuple[object, ...], ...] = ((), ("a", 1), (b"x",), ("\udc80",), (("a",),), (1 << 70,))
    with open_store(tmp_path) as store:
        for number, args in enumerate(several):
            id = (number + 1) * RANGE
            store.write(Batch(nodes=[node(id, args), node(id + 2)], inputs=[InputRow(id, b"s")]))
            store.write(Batch(inputs=[InputRow(id + 2, b"s")]))
        assert in_blocks(store) == in_rows(store)
        assert len(in_rows(store)) == 2 * len(several)


def test_the_stamp_of_what_the_host_has_set_is_empty_in_its_block(tmp_path: Path) -> None:
    pinned = node(2, flags=OBSERVED | rows.PINNED_FLAG)
    with open_store(tmp_path) as store:
        written(store, 1, 2, 3)
        store.write(Batch(nodes=[pinned]))
        assert [in_blocks(store)[id][2] for id in (1, 2, 3)] == [b"first", b"", b"first"]
        store.check_invariants()
        store.write(Batch(inputs=[InputRow(2, b"second")]))
        assert in_blocks(store)[2][2] == b""
        store.check_invariants()
        store.write(Batch(nodes=[node(2)], inputs=[InputRow(2, b"third")]))
        assert in_blocks(store)[2][2] == b"third"


def test_what_the_host_sets_and_what_is_deleted_leaves_the_stamps_beside_the_blocks(tmp_path: Path) -> None:
    several = range(1, 60)
    with open_store(tmp_path) as store:
        written(store, *several)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in several]))
        pinned = [node(id, flags=OBSERVED | rows.PINNED_FLAG) for id in range(1, 30)]
        store.write(Batch(nodes=pinned, deleted=[40], deleted_inputs=[41]))
        found = in_blocks(store)
        assert {found[id][2] for id in range(1, 30)} == {b""}
        assert {found[id][2] for id in range(30, 60) if id in found} == {b"second"}
        assert found.keys() == in_rows(store).keys() == {*several} - {40, 41}
        store.check_invariants()
        store.write(Batch(deleted=list(several)))
        assert count_blocks(store) == 0
        store.check_invariants()


def test_what_is_collected_leaves_the_blocks(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        kept = node(2, flags=OBSERVED | rows.ROOT_FLAG)
        store.write(
            Batch(
                nodes=[node(1), kept, node(3)],
                inputs=[InputRow(1, b"a"), InputRow(2, b"b")],
                state=State(1, 4),
            )
        )
        assert collect(store).inputs_deleted == 1
        assert list(in_blocks(store)) == [2]
        store.check_invariants()


# -- without blocks, and damaged -----------------------------------------------------------------------


def test_a_store_without_blocks_is_read_and_gets_them_with_the_next_input(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, RANGE)
    expected = without_blocks(tmp_path)
    with open_store(tmp_path) as store:
        assert store.notes == []
        assert count_blocks(store) == 0
        assert in_blocks(store) == expected
        store.check_invariants()
        store.write(Batch(inputs=[InputRow(2, b"second")]))
        assert count_blocks(store) == 3
        assert in_blocks(store) == in_rows(store) == expected | {2: (1, node(2).args, b"second")}
        store.check_invariants()


def without_blocks(directory: Path) -> dict[int, tuple[int, bytes, bytes]]:
    """Take the blocks out, as a store has none that an earlier version has written."""
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
def test_a_damaged_block_is_not_given_out(tmp_path: Path, statement: str) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, RANGE)
        written(store, *range(2 * RANGE, 2 * RANGE + 50))
        store.write(Batch(inputs=[InputRow(2 * RANGE + at, b"second") for at in range(50)]))
        store.connection.execute(statement)
        with pytest.raises(StoreDamaged):
            store.input_blocks()
        with pytest.raises(StoreDamaged):
            store.check_invariants()


def test_the_audit_finds_blocks_of_another_moment(tmp_path: Path) -> None:
    """Each with its checksum, and with a total that is right."""
    for number, batch in enumerate(
        (
            Batch(inputs=[InputRow(2, b"second")]),
            Batch(nodes=[node(4)], inputs=[InputRow(4, b"first")]),
            Batch(nodes=[node(3 * RANGE)], inputs=[InputRow(3 * RANGE, b"first")]),
            Batch(deleted_inputs=[2]),
            Batch(deleted_inputs=[RANGE]),
            Batch(inputs=[InputRow(5 * RANGE + 7, b"third")]),  # beside the blocks
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


# -- a start -------------------------------------------------------------------------------------------

stamped: list[list[str]] = []


def one_stamp(name: str) -> bytes:
    return b"stamp of " + name.encode()


def many_stamps(names: list[str]) -> list[bytes]:
    stamped.append(names)
    return [b"stamp of " + name.encode() for name in names]


@input(stamp=one_stamp, stamps=many_stamps)
def letters(name: str) -> int:
    return len(name)


@input(stamp=one_stamp, stamps=many_stamps)
def first_letter(name: str) -> str:
    return name[:1]


@query
def all_letters(count: int) -> int:
    return sum(each(letters, [f"name {number}" for number in range(count)])) + len(first_letter("name 3"))


@query
def lines(name: str) -> int:
    return read_text(name).count("\n")


@query
def all_lines(names: tuple[str, ...]) -> int:
    return sum(each(lines, names))


def test_inputs_that_share_stamps_are_stamped_once_after_a_restart(tmp_path: Path) -> None:
    for restarted in (False, True):
        with Engine(tmp_path / "store", root=tmp_path) as db:
            stamped.clear()
            assert db.get(all_letters, 2000) > 0
            if restarted:
                assert sorted(name for names in stamped for name in names) == sorted(
                    f"name {number}" for number in range(2000)
                )
                assert len(stamped) == 1  # in one call, though there are four blocks and more
                assert db.counts().read == 0


def test_a_start_reads_blocks_and_no_row_of_an_input(tmp_path: Path) -> None:
    names = tuple(f"{number}.txt" for number in range(300))
    for name in names:
        (tmp_path / name).write_text("line\n")
        os.utime(tmp_path / name, (1, 1))
    time.sleep(2.1)  # the change time has to settle
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(all_lines, names) == 300
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.store is not None
        statements = Statements(db.store)
        assert db.get(all_lines, names) == 300
        assert statements.count_of("FROM observed") == 1
        assert statements.count_of("FROM input") == 0
        assert statements.count_of("FROM node") == 2  # the key that was asked for, and its value
        assert (db.counts().stamped, db.counts().read, db.counts().executed) == (300, 0, 0)
    (tmp_path / "7.txt").write_text("line\nline\n")
    (tmp_path / "8.txt").unlink()
    (tmp_path / "8.txt").write_text("line\n")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(all_lines, names) == 301
        assert (db.counts().stamped, db.counts().read, db.counts().executed) == (300, 2, 2)
        assert db.store is not None
        db.store.check_invariants()
