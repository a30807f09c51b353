"""After any batches tables and folds hold what dictionaries hold."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from engine.store import (
    Batch,
    BlockRow,
    ChangeRow,
    CollectionRow,
    CursorRow,
    MemberRow,
    MemberRows,
    State,
    open_store,
)
from tests.stored_collections import COLUMNS, VALUES, collection, fold


def forget(id: int, *held: dict[Any, Any]) -> None:
    for one in held:
        for key in [key for key in one if key[0] == id]:
            del one[key]


def test_after_any_batches_everything_is_there_and_the_total_is_right(tmp_path: Path) -> None:
    """2 tables and 2 folds, 12 members, random batches, against dictionaries."""
    dice = random.Random(8)
    shapes = [(COLUMNS, ("name",)), (("kind", "name"), ()), (("a",), ("a",))]
    kept: dict[int, CollectionRow] = {}
    members: dict[tuple[int, int], bytes] = {}
    rows: dict[tuple[int, int], tuple[tuple[Any, ...], ...]] = {}
    blocks: dict[tuple[int, int, bytes], bytes] = {}
    changes: dict[int, ChangeRow] = {}
    cursors: dict[tuple[int, str], CursorRow] = {}
    last = 0
    store = open_store(tmp_path, synchronous="OFF")
    for turn in range(250):
        batch = Batch(state=State(turn + 1))
        for id in dice.sample(range(1, 5), dice.choice([0, 0, 0, 1])):
            batch.dropped.append(id)
            kept.pop(id, None)
            forget(id, members, rows, blocks, cursors)
            changes = {key: row for key, row in changes.items() if row.collection != id}
        for id in dice.sample(range(1, 5), dice.choice([0, 0, 1])):
            columns, index = shapes[dice.randrange(3)] if dice.random() < 0.3 else shapes[id % 3]
            made = collection(id, f"m:t{id}", columns, index, dice.randbytes(3)) if id < 3 else fold(id)
            if id in kept and kept[id][:4] != made[:4]:
                rows = {key: found for key, found in rows.items() if key[0] != id}
            kept[id] = made
            batch.collections.append(made)
        for key in dice.sample(sorted(members), min(len(members), dice.choice([0, 0, 2]))):
            batch.members_gone.append(key)
            del members[key]
            rows.pop(key, None)
        for id in kept:
            for member in dice.sample(range(100, 112), dice.randrange(4)):
                members[id, member] = dice.randbytes(4)
                batch.members.append(MemberRow(id, member, members[id, member]))
                if id < 3:
                    width = len(json.loads(kept[id].shape)["columns"])
                    new = [tuple(dice.choice(VALUES) for _ in range(width)) for _ in range(dice.randrange(5))]
                    new += [row for row in rows.get((id, member), ()) if dice.random() < 0.7]
                    distinct = tuple({repr(row): row for row in new}.values())
                    fresh = (id, member) not in rows
                    batch.rows.append(MemberRows(id, member, member % 5, distinct, fresh))
                    rows[id, member] = distinct
                else:
                    key3 = (id, dice.randrange(2), b"%d" % dice.randrange(5))
                    blocks[key3] = dice.choice([b"", b"x", b"y"])
                    batch.blocks.append(BlockRow(*key3, blocks[key3]))
            last += 1
            changes[last] = ChangeRow(last, id, turn, dice.choice([1, -1]), dice.randbytes(5))
            batch.changes.append(changes[last])
            cursors[id, dice.choice("ab")] = CursorRow(id, "?", last, turn, b"")
        cursors = {key: row._replace(name=key[1]) for key, row in cursors.items()}
        batch.cursors = list(cursors.values())
        for gone in dice.sample(sorted(changes), min(len(changes), dice.choice([0, 3]))):
            if gone not in {row.id for row in batch.changes}:
                batch.changes_gone.append(gone)
                del changes[gone]
        store.write(batch)
        if turn % 10:
            continue
        if turn % 50 == 0:
            store.close()
            store = open_store(tmp_path, synchronous="OFF")
            assert store.notes == []
        store.check_invariants()
        derived = store.derived
        assert derived.collections() == [kept[id] for id in sorted(kept)]
        found = {(id, m.node): m.data for id in range(1, 5) for m in derived.members(id)}
        assert found == members
        stored = {(id, m): r for id in (1, 2) for m, r in derived.rows_of(id, range(100, 112)).items()}
        assert {key: sorted(map(repr, value)) for key, value in stored.items()} == {
            key: sorted(map(repr, value)) for key, value in rows.items() if value
        }
        for id in range(1, 5):
            asked = [(level, b"%d" % key) for level in range(2) for key in range(5)]
            assert derived.blocks(id, asked) == {
                key[1:]: data for key, data in blocks.items() if key[0] == id and data
            }
            assert derived.changes(id, 0, 9999) == [row for row in changes.values() if row.collection == id]
            assert derived.cursors(id) == [row for key, row in sorted(cursors.items()) if key[0] == id]
        assert derived.last_change() == last
    store.close()
