"""The bundles of observed inputs say what the rows say, whatever was written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.store import Batch, InputRow, State, late, open_store, rows
from engine.store.gc import collect
from tests.bundles import OBSERVED, RANGE, Statements, count_bundles, in_bundles, in_rows, node, written


@pytest.mark.parametrize("most", [late.MOST, 300])
def test_the_bundles_say_what_the_rows_say_whatever_was_written(
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
            assert in_bundles(store) == in_rows(store)
            store.check_invariants()
        assert len(in_rows(store)) > 100


def test_a_changed_stamp_writes_the_bundle_it_is_in_and_no_other(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, *range(1, 4 * RANGE))
        assert count_bundles(store) == 8  # two queries in each range
        statements = Statements(store)
        store.write(Batch(inputs=[InputRow(RANGE + 2, b"second"), InputRow(RANGE + 4, b"second")]))
        assert statements.count_of("UPDATE observed") == 1
        assert statements.count_of("JOIN node") == 0
        assert in_bundles(store) == in_rows(store)


def test_many_changed_stamps_are_put_beside_the_bundles_and_no_bundle_is_written(tmp_path: Path) -> None:
    several = range(1, 40 * RANGE, RANGE)
    with open_store(tmp_path) as store:
        written(store, *several)
        statements = Statements(store)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in several]))
        assert statements.count_of("UPDATE observed") == statements.count_of("FROM node") == 0
        assert statements.count_of("INTO observed") == 1
        assert in_bundles(store) == in_rows(store)
        store.check_invariants()


def test_stamps_beside_the_bundles_go_into_them_together_when_there_are_too_many(
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
        assert in_bundles(store) == in_rows(store)
        store.check_invariants()


def test_a_commit_that_writes_no_input_leaves_the_bundles_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        written(store, 1, 2, 3)
        statements = Statements(store)
        store.write(Batch(nodes=[node(9, flags=0)], state=State(2, 10, 3)))
        assert statements.count_of("observed") == 0


def test_bundles_of_inputs_that_come_with_their_nodes_are_made_without_reading_a_row(tmp_path: Path) -> None:
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
        assert in_bundles(store) == in_rows(store) | {pinned.id: (1, pinned.args, b"")}
        store.check_invariants()


def test_arguments_of_any_kind_come_back(tmp_path: Path) -> None:
    several: tuple[tuple[object, ...], ...] = ((), ("a", 1), (b"x",), ("\udc80",), (("a",),), (1 << 70,))
    with open_store(tmp_path) as store:
        for number, args in enumerate(several):
            id = (number + 1) * RANGE
            store.write(Batch(nodes=[node(id, args), node(id + 2)], inputs=[InputRow(id, b"s")]))
            store.write(Batch(inputs=[InputRow(id + 2, b"s")]))
        assert in_bundles(store) == in_rows(store)
        assert len(in_rows(store)) == 2 * len(several)


def test_the_stamp_of_what_the_host_has_set_is_empty_in_its_bundle(tmp_path: Path) -> None:
    pinned = node(2, flags=OBSERVED | rows.PINNED_FLAG)
    with open_store(tmp_path) as store:
        written(store, 1, 2, 3)
        store.write(Batch(nodes=[pinned]))
        assert [in_bundles(store)[id][2] for id in (1, 2, 3)] == [b"first", b"", b"first"]
        store.check_invariants()
        store.write(Batch(inputs=[InputRow(2, b"second")]))
        assert in_bundles(store)[2][2] == b""
        store.check_invariants()
        store.write(Batch(nodes=[node(2)], inputs=[InputRow(2, b"third")]))
        assert in_bundles(store)[2][2] == b"third"


def test_what_the_host_sets_and_what_is_deleted_leaves_the_stamps_beside_the_bundles(tmp_path: Path) -> None:
    several = range(1, 60)
    with open_store(tmp_path) as store:
        written(store, *several)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in several]))
        pinned = [node(id, flags=OBSERVED | rows.PINNED_FLAG) for id in range(1, 30)]
        store.write(Batch(nodes=pinned, deleted=[40], deleted_inputs=[41]))
        found = in_bundles(store)
        assert {found[id][2] for id in range(1, 30)} == {b""}
        assert {found[id][2] for id in range(30, 60) if id in found} == {b"second"}
        assert found.keys() == in_rows(store).keys() == {*several} - {40, 41}
        store.check_invariants()
        third = [InputRow(id, b"third") for id in several if id not in (40, 41)]
        store.write(Batch(nodes=pinned, inputs=third))
        found = in_bundles(store)
        assert {found[id][2] for id in range(1, 30)} == {b""}
        assert {found[id][2] for id in range(30, 60) if id in found} == {b"third"}
        store.check_invariants()
        store.write(Batch(deleted=list(several)))
        assert count_bundles(store) == 0
        store.check_invariants()


def test_what_is_collected_leaves_the_bundles(tmp_path: Path) -> None:
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
        assert list(in_bundles(store)) == [2]
        store.check_invariants()
