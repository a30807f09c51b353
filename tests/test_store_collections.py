"""Tables and folds in the store: what was written is read back, by deltas, and nothing else is believed."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreDamaged
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
    schema,
)
from engine.store.collections import beyond
from engine.store.gc import collect
from engine.store.inspect import tables
from engine.store.sqlite import Store
from tests.test_store import database, graph, node, packed

TABLE, FOLD = 17, 18
COLUMNS = ("name", "kind", "line")


def collection(
    id: int = TABLE,
    name: str = "shop.rules:definitions",
    columns: tuple[str, ...] = COLUMNS,
    index: tuple[str, ...] = ("name",),
    patterns: bytes = b"",
) -> CollectionRow:
    shape = json.dumps({"columns": list(columns), "index": list(index)})
    return CollectionRow(id, name, "table", shape, patterns)


def fold(id: int = FOLD) -> CollectionRow:
    shape = json.dumps({"columns": [], "index": [], "into": "Sum"})
    return CollectionRow(id, "shop.rules:line_total", "fold", shape, b"p")


def rows_of(member: int, *rows: tuple[Any, ...], fresh: bool = False, table: int = TABLE) -> MemberRows:
    return MemberRows(table, member, f"path/{member}.py", rows, fresh)


def filled() -> Batch:
    """A table with members 1..6, each with 3 rows, and a fold of them, next to a graph of 20 nodes."""
    batch = graph(20)
    batch.collections = [collection(patterns=b"pattern"), fold()]
    batch.members = [
        MemberRow(id, member, b"data %d" % member) for id in (TABLE, FOLD) for member in range(1, 7)
    ]
    batch.rows = [
        rows_of(m, *((f"name_{m}_{i}", ("function", None)[i % 2], m * i) for i in range(3)), fresh=True)
        for m in range(1, 7)
    ]
    batch.blocks = [BlockRow(FOLD, level, b"key %d" % key, b"block") for level in (0, 1) for key in range(4)]
    batch.changes = [ChangeRow(i, TABLE, 1, 1 if i % 3 else -1, b"change %d" % i) for i in range(1, 9)]
    batch.cursors = [CursorRow(TABLE, "index", 4, 1, b"cursor"), CursorRow(5, "feed", 1, 1, b"")]
    return batch


def collected(store: Store) -> tuple[object, ...]:
    """All that a store can be asked of its collections."""
    derived = store.derived
    ids = [row.id for row in derived.collections()]
    return (
        derived.collections(), [derived.members(id) for id in ids],
        [sorted(derived.select(id, []), key=repr) for id in ids],
        derived.blocks(FOLD, [(level, b"key %d" % key) for level in range(3) for key in range(9)]),
        [derived.changes(id, 0, 1000) for id in (*ids, 5)], derived.last_change(),
        [derived.cursors(id) for id in (*ids, 5)],
    )  # fmt: skip


def statements(store: Store) -> list[str]:
    """Every statement that the store executes from now on."""
    found: list[str] = []
    store.connection.set_trace_callback(found.append)
    return found


# -- round trip ----------------------------------------------------------------------------------------


def test_what_is_written_of_collections_is_read_back_also_after_reopening(tmp_path: Path) -> None:
    batch = filled()
    for reopened in (False, True):
        with open_store(tmp_path / "s") as store:
            if not reopened:
                assert collected(store)[0] == []
                store.write(batch)
            assert store.notes == []
            derived = store.derived
            assert derived.collections() == batch.collections
            assert derived.members(TABLE) + derived.members(FOLD) == batch.members
            assert derived.members_among(FOLD, [3, 2, 99]) == {2: b"data 2", 3: b"data 3"}
            expected = {given.member: sorted(given.rows, key=repr) for given in batch.rows}
            found = derived.rows_of(TABLE, range(10))
            assert {member: sorted(rows, key=repr) for member, rows in found.items()} == expected
            assert derived.rows_of(TABLE, [7]) == {}
            assert derived.select(TABLE, [("name", "name_3_1")]) == [(3, "path/3.py", ("name_3_1", None, 3))]
            assert derived.count(TABLE, [("kind", None)]) == 6
            assert derived.blocks(FOLD, [(0, b"key 1"), (1, b"key 3"), (2, b"key 1")]) == {
                (0, b"key 1"): b"block",
                (1, b"key 3"): b"block",
            }
            assert derived.changes(TABLE, 3, 2) == batch.changes[3:5]
            assert derived.last_change() == 8
            assert derived.cursors(TABLE) == batch.cursors[:1]
            assert derived.cursors(5) == batch.cursors[1:]
            store.check_invariants()


VALUES = (
    *(None, 0, 1, -1, 1 << 62, -(1 << 63), (1 << 63) - 1, 0.0, -0.0, 1.0, 1e300, float("inf"), -5e-324),
    *("", "0", "a\0b", "\0", "é", "\ud7ff", "\ue000", "\U0010ffff", "x" * 5000, "'\"--\n"),
    *(b"", b"\0", b"a", bytes(range(256)), b"1"),
)


def test_every_value_comes_back_as_what_it_was(tmp_path: Path) -> None:
    rows = [(value, place, VALUES[-1 - place]) for place, value in enumerate(VALUES)]
    for reopened in (False, True):
        with open_store(tmp_path) as store:
            if not reopened:
                store.write(Batch(collections=[collection(index=COLUMNS)], rows=[rows_of(1, *rows)]))
                store.write(Batch(rows=[MemberRows(TABLE, m, VALUES[m], ((m,) * 3,)) for m in range(2, 28)]))
            (found,) = store.derived.rows_of(TABLE, [1]).values()
            assert sorted(map(repr, found)) == sorted(map(repr, rows))  # which tells 1, 1.0, 0.0 and -0.0
            sources = {
                member: source
                for member, source, _ in store.derived.select(TABLE, [])
                if member in range(2, 28)
            }
            assert {m: repr(value) for m, value in sources.items()} == {
                m: repr(VALUES[m]) for m in range(2, 28)
            }
            store.check_invariants()


def test_an_unknown_collection_is_like_an_empty_one_and_an_unknown_column_is_an_error(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        for id in (99, FOLD):
            assert store.derived.rows_of(id, [1]) == {}
            assert store.derived.select(id, [("name", "x")]) == []
            assert store.derived.count(id, []) == 0
        with pytest.raises(KeyError):
            store.derived.select(TABLE, [("colour", 1)])
        with pytest.raises(KeyError):
            store.derived.count(TABLE, [("colour", 1)])
        with pytest.raises(ValueError, match="no table"):
            store.write(Batch(rows=[rows_of(1, (1, 2, 3), table=FOLD)]))


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    names = (
        "_id",
        "_member",
        "_SUM",
        "Name",
        "name",
        "name_2",
        "rowid",
        "select",
        'a"b',
        "größe",
        "a b",
        "--",
    )
    with open_store(tmp_path) as store:
        store.write(
            Batch(
                collections=[collection(columns=names, index=names, name="m:Ünder_The.<locals>.q'\"")],
                rows=[rows_of(1, tuple(range(12)), tuple(range(12, 24)))],
            )
        )
        for place, name in enumerate(names):
            assert store.derived.select(TABLE, [(name, place)]) == [(1, "path/1.py", tuple(range(12)))]
            assert store.derived.count(TABLE, [(name, place + 12)]) == 1
        store.check_invariants()
    with open_store(tmp_path) as store:
        assert store.notes == []
        assert list(store.statistics().rows.items())[-1] == ("rows__nder_the_locals_q__17", 2)


def test_a_shape_that_says_nothing_sensible_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    shapes = ("", "[]", '{"columns": 5}', '{"columns": ["a", "a"]}', '{"columns": ["a"], "index": ["b"]}')
    with open_store(tmp_path) as store:
        for shape in shapes:
            with pytest.raises(ValueError, match=r"shape|JSON|Expecting|column"):
                store.write(Batch(collections=[collection()._replace(shape=shape)], state=State(5)))
        with pytest.raises(ValueError, match="table or a fold"):
            store.write(Batch(collections=[collection()._replace(kind="heap")], state=State(5)))
        assert (store.state, store.derived.collections()) == (State(), [])


# -- deltas --------------------------------------------------------------------------------------------


def test_new_rows_of_a_member_touch_only_those_that_differ(tmp_path: Path) -> None:
    many = [(f"name_{i}", "function", i) for i in range(500)]
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(m, *many, fresh=True) for m in (1, 2)]))
        before = dict(store.connection.execute("SELECT _id, _sum FROM rows_definitions_17").fetchall())
        many[250] = ("name_250", "function", 251)
        changes = store.connection.total_changes
        store.write(Batch(rows=[rows_of(2, *reversed(many))]))
        assert store.connection.total_changes - changes == 3  # a row out, a row in, and the state
        after = dict(store.connection.execute("SELECT _id, _sum FROM rows_definitions_17").fetchall())
        assert len(before.items() - after.items()) == len(after.items() - before.items()) == 1
        changes = store.connection.total_changes
        store.write(Batch(rows=[rows_of(2, *many), rows_of(1, *many[:250], *many[251:])]))
        assert store.connection.total_changes - changes == 2  # the state, and one row less
        store.check_invariants()


def test_rows_that_are_equal_but_of_other_types_are_different_rows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(1, (1, 0.0, "a"), (2, "", b""))]))
        store.write(Batch(rows=[rows_of(1, (1.0, -0.0, "a"), (2, b"", ""))]))
        found = store.derived.rows_of(TABLE, [1])[1]
        assert sorted(map(repr, found)) == ["(1.0, -0.0, 'a')", "(2, b'', '')"]


def test_fresh_members_are_written_without_looking_for_their_rows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(1, ("a", "b", 1))]))
        found = statements(store)
        store.write(Batch(rows=[rows_of(2, ("a", "b", 1), fresh=True)]))
        assert not [text for text in found if "FROM rows_" in text and "_member IN" in text]
        store.connection.set_trace_callback(None)
        assert store.derived.count(TABLE, [("name", "a")]) == 2


def test_rows_of_a_member_that_is_gone_go_with_it(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(Batch(members_gone=[(TABLE, 2), (TABLE, 3), (FOLD, 4), (TABLE, 99), (98, 1)]))
        assert [row.node for row in store.derived.members(TABLE)] == [1, 4, 5, 6]
        assert [row.node for row in store.derived.members(FOLD)] == [1, 2, 3, 5, 6]
        assert set(store.derived.rows_of(TABLE, range(10))) == {1, 4, 5, 6}
        store.check_invariants()
        store.write(Batch(rows=[rows_of(m) for m in (1, 4, 5)]))  # members without rows
        assert set(store.derived.rows_of(TABLE, range(10))) == {6}
        store.check_invariants()


def test_a_member_that_goes_and_comes_in_one_batch_is_there(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(
            Batch(
                members_gone=[(TABLE, 2)],
                members=[MemberRow(TABLE, 2, b"again")],
                rows=[rows_of(2, ("new", None, 1))],
                changes_gone=[8],
                changes=[ChangeRow(8, TABLE, 2, 1, b"again")],
                cursors_gone=[(TABLE, "index")],
                cursors=[CursorRow(TABLE, "index", 9, 2, b"again")],
            )
        )
        assert store.derived.members_among(TABLE, [2]) == {2: b"again"}
        assert store.derived.rows_of(TABLE, [2]) == {2: [("new", None, 1)]}
        assert store.derived.changes(TABLE, 7, 9) == [ChangeRow(8, TABLE, 2, 1, b"again")]
        assert store.derived.cursors(TABLE) == [CursorRow(TABLE, "index", 9, 2, b"again")]
        store.check_invariants()


def test_of_several_entries_for_one_key_the_last_one_counts(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(
            Batch(
                collections=[collection(index=()), collection()],
                members=[MemberRow(TABLE, 1, b"a"), MemberRow(TABLE, 1, b"b")],
                rows=[rows_of(1, ("a", "a", 1)), rows_of(1, ("b", "b", 2))],
                blocks=[BlockRow(FOLD, 0, b"k", b"a"), BlockRow(FOLD, 0, b"k", b"b"),
                        BlockRow(FOLD, 0, b"l", b"a"), BlockRow(FOLD, 0, b"l", b"")],
                changes=[ChangeRow(3, TABLE, 1, 1, b"a"), ChangeRow(3, TABLE, 1, 1, b"b")],
                cursors=[CursorRow(TABLE, "c", 1, 1, b"a"), CursorRow(TABLE, "c", 2, 1, b"b")],
            )
        )  # fmt: skip
        derived = store.derived
        assert derived.collections() == [collection()]
        assert derived.members(TABLE) == [MemberRow(TABLE, 1, b"b")]
        assert derived.select(TABLE, []) == [(1, "path/1.py", ("b", "b", 2))]
        assert derived.blocks(FOLD, [(0, b"k"), (0, b"l")]) == {(0, b"k"): b"b"}
        assert derived.changes(TABLE, 0, 9) == [ChangeRow(3, TABLE, 1, 1, b"b")]
        assert derived.cursors(TABLE) == [CursorRow(TABLE, "c", 2, 1, b"b")]
        store.check_invariants()


@pytest.mark.parametrize(
    "other",
    [
        collection(columns=("name", "line")),
        collection(index=("line",)),
        collection(name="shop.rules:symbols"),
        collection()._replace(kind="fold"),
    ],
)
def test_another_shape_name_or_kind_makes_an_empty_table_anew(tmp_path: Path, other: CollectionRow) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(Batch(collections=[other]))
        assert store.derived.select(TABLE, []) == []
        assert store.derived.collections() == [other, fold()]
        assert len(store.derived.members(TABLE)) == 6
        store.check_invariants()
        if other.kind == "table":
            width = len(json.loads(other.shape)["columns"])
            store.write(Batch(rows=[rows_of(1, tuple(range(width)))]))
            assert store.derived.select(TABLE, [("line", width - 1)]) == [
                (1, "path/1.py", tuple(range(width)))
            ]
    with open_store(tmp_path) as store:
        assert store.notes == []
        names = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_master")}
        assert len({name for name in names if name.startswith("rows_") and " by " not in name}) == (
            other.kind == "table"
        )


def test_other_patterns_leave_the_rows_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        rows = collected(store)[2]
        store.write(Batch(collections=[collection(patterns=b"other")]))
        assert collected(store)[2] == rows
        assert store.derived.collections()[0].patterns == b"other"
        store.check_invariants()


def test_of_a_dropped_collection_nothing_is_left(tmp_path: Path) -> None:
    for number, batch in enumerate([Batch(dropped=[TABLE, FOLD, 99]), Batch(deleted=[TABLE, FOLD, 5])]):
        with open_store(tmp_path / str(number)) as store:
            store.write(Batch(collections=filled().collections, cursors=filled().cursors))
            store.write(Batch(members=filled().members, rows=filled().rows, blocks=filled().blocks))
            store.write(Batch(changes=filled().changes))
            store.write(batch)
            left = {table: count for table, count in store.statistics().rows.items() if count}
            assert left == {"cursor": 2 - number}  # the one of the log, and that of the query's feed
            assert store.derived.last_change() == 8
            store.check_invariants()
            assert schema.same_schema(store.connection, schema.TABLES)


def test_ids_of_changes_are_not_given_twice_after_the_log_was_trimmed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.derived.last_change() == 0
        store.write(filled())
        store.write(Batch(changes_gone=list(range(1, 9))))
        assert store.derived.changes(TABLE, 0, 99) == []
        assert store.derived.last_change() == 8
    with open_store(tmp_path) as store:
        assert store.derived.last_change() == 8
        store.write(Batch(changes=[ChangeRow(9, FOLD, 2, 1, b""), ChangeRow(12, FOLD, 2, 1, b"")]))
        assert store.derived.last_change() == 12
        with pytest.raises(sqlite3.IntegrityError):
            store.write(Batch(changes=[ChangeRow(12, FOLD, 2, -1, b"")]))
        store.check_invariants()


# -- looking up ----------------------------------------------------------------------------------------


ALPHABET = "ab\0\x7f\x80é\ud7ff\ue000\uffff\U00010000\U0010fffe\U0010ffff"


def matching(
    rows: list[tuple[int, tuple[Any, ...]]], equal: list[tuple[str, Any]], prefix: tuple[str, str] | None
) -> list[tuple[int, tuple[Any, ...]]]:
    """What `select` has to find, by Python alone."""
    found = []
    for member, values in rows:
        by_name: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
        text = by_name[prefix[0]] if prefix else ""
        begins = prefix is None or (isinstance(text, str) and text.startswith(prefix[1]))
        if begins and all(by_name[name] == value for name, value in equal):
            found.append((member, values))
    return found


def test_lookups_find_what_python_finds(tmp_path: Path) -> None:
    dice = random.Random(5)

    def word() -> str:
        return "".join(dice.choices(ALPHABET, k=dice.randrange(4)))

    def value() -> Any:
        kind = dice.randrange(4)
        return dice.randrange(3) if kind == 0 else dice.choice(VALUES) if kind == 1 else word()

    rows = [(m, (value(), value(), value())) for m in range(1, 40) for _ in range(30)]
    rows = list({repr(row): row for row in rows}.values())
    given = [rows_of(m, *(values for member, values in rows if member == m)) for m in range(1, 40)]
    index = ("name", "kind")
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection(index=index)], rows=given))
        for turn in range(600):
            like = dice.choice(rows)[1]
            picked = dice.sample(range(3), dice.randrange(3))
            equal = [(COLUMNS[i], like[i] if dice.random() < 0.8 else value()) for i in picked]
            prefix = (dice.choice(COLUMNS), word()) if dice.random() < 0.6 else None
            expected = matching(rows, equal, prefix)
            found = [(member, values) for member, _, values in store.derived.select(TABLE, equal, prefix)]
            assert sorted(map(repr, found)) == sorted(map(repr, expected)), (turn, equal, prefix)
            assert store.derived.count(TABLE, equal, prefix) == len(expected)


def test_the_bound_of_a_prefix_is_the_next_text_that_there_is() -> None:
    last = "\U0010ffff"
    assert [beyond(text) for text in ("", "a", "a" + last, last * 2)] == [b"", "b", "b", b""]
    assert [beyond(text) for text in ("x\ud7ff", last + "a", "\ud7ff" + last)] == [
        "x\ue000",
        last + "b",
        "\ue000",
    ]


def test_what_sqlite_cannot_hold_is_equal_to_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        for value in (1 << 63, -(1 << 70), "\ud800", float("nan")):
            assert store.derived.select(TABLE, [("name", value)]) == []
            assert store.derived.count(TABLE, [("name", value)]) == 0
        assert store.derived.select(TABLE, [], ("name", "\udfff")) == []
        assert store.derived.count(TABLE, [], ("name", "na")) == 18


def test_lookups_use_the_index_where_there_is_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        found = statements(store)
        store.derived.select(TABLE, [("name", "a")])
        store.derived.select(TABLE, [("name", None)])
        store.derived.select(TABLE, [], ("name", "a"))
        store.derived.count(TABLE, [("name", "a")], ("kind", "f"))
        store.derived.rows_of(TABLE, [1])
        store.connection.set_trace_callback(None)
        looked = [text for text in found if "FROM rows_" in text]
        assert len(looked) == 5
        for text in looked:
            plan = [line for *_, line in store.connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]
            assert not [line for line in plan if line.startswith("SCAN")], (text, plan)


# -- random --------------------------------------------------------------------------------------------


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


# -- gc, audit, inspection -----------------------------------------------------------------------------


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


def test_the_tables_are_there_for_other_programs(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        found = store.statistics()
        assert found.rows["rows_definitions_17"] == 18
        assert {name: found.rows[name] for name in ("collection", "member", "block", "change", "cursor")} == {
            "collection": 2, "member": 12, "block": 8, "change": 8, "cursor": 3,
        }  # fmt: skip
        json.dumps(found.as_dict())
    with open_store(tmp_path, read_only=True) as store:
        rows = list(tables(store)["rows_definitions_17"].rows_where("name = ?", ["name_2_0"]))
        assert [(row["_member"], row["_source"], row["line"]) for row in rows] == [(2, "path/2.py", 0)]
    shell = shutil.which("sqlite3")
    look = "SELECT name, line FROM rows_definitions_17 WHERE _source = 'path/3.py' ORDER BY line"
    if shell is None:
        with sqlite3.connect(database(tmp_path)) as connection:
            assert connection.execute(look).fetchall() == [("name_3_0", 0), ("name_3_1", 3), ("name_3_2", 6)]
        connection.close()
    with open_store(tmp_path) as store:
        assert "computed again" not in "".join(store.notes)


def test_opening_a_store_with_many_rows_reads_only_what_collections_there_are(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        batch = filled()
        batch.rows += [rows_of(9, *((str(i), None, i) for i in range(20_000)), fresh=True)]
        store.write(batch)
    with open_store(tmp_path) as store:
        assert not store.audited
        found = statements(store)
        assert store.derived.count(TABLE, [("name", "77")]) == 1
        assert len(found) == 2  # the collection, and the count
