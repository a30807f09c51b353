"""A lookup in a stored table finds what Python finds, and by an index where there is one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from engine.store import Batch, open_store
from engine.store.collections import beyond
from tests.stored_collections import COLUMNS, TABLE, VALUES, collection, filled, rows_of, statements

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
            alike = matching(rows, equal, None)
            assert store.derived.count(TABLE, equal) == len(alike)
            owners = {member for member, _ in alike}
            assert sorted(store.derived.owners(TABLE, equal, 100)) == sorted(owners)
            assert len(store.derived.owners(TABLE, equal, 2)) == min(2, len(owners))


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


def test_lookups_use_the_index_where_there_is_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        found = statements(store)
        store.derived.select(TABLE, [("name", "a")])
        store.derived.select(TABLE, [("name", None)])
        store.derived.select(TABLE, [], ("name", "a"))
        store.derived.count(TABLE, [("name", "a")])
        store.derived.owners(TABLE, [("name", "a")], 1)
        store.derived.rows_of(TABLE, [1])
        store.connection.set_trace_callback(None)
        looked = [text for text in found if "FROM rows_" in text]
        assert len(looked) == 6
        for text in looked:
            plan = [line for *_, line in store.connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]
            assert not [line for line in plan if line.startswith("SCAN")], (text, plan)
