"""Lookups follow the code and the columns of their table: one claim a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Query, Table, query, table
from tests.watching import Watch
from tests.words import Group, Word, content, paths, ran, write


def defined(addition: int, index: tuple[str, ...] = ("text",), row: type = Word) -> Table[str, Any]:
    def rows(path: str) -> Iterable[Any]:
        for word in content(path).split():
            yield Word(word, len(word) + addition) if row is Word else Group(word, addition)

    rows.__annotations__ = {"path": str, "return": Iterable[row]}  # type: ignore[valid-type]  # known when it runs
    return table(each=paths, index=index, name="test_tables:defined")(rows)


def reader_of(made: Table[str, Any]) -> Query[[str], str]:
    @query(name="test_tables:reader", code="version", version=1)
    def reader(word: str) -> str:
        return f"{made.where(text=word)}"

    return reader


@pytest.mark.parametrize("restarts", [False, True])
def test_changed_code_or_columns_of_a_table_reach_its_lookups(store: Path, restarts: bool) -> None:
    db = Engine(store)
    write(db, a="cat dog", b="cow")
    steps: list[tuple[int, tuple[str, ...], type]] = [
        (0, ("text",), Word),
        (1, ("text",), Word),
        (1, ("text", "length"), Word),
        (0, ("length", "text"), Word),
        (0, ("text", "size"), Group),
        (5, ("text", "size"), Group),
        (0, ("text",), Word),
    ]
    for addition, index, row in steps:
        made = defined(addition, index, row)
        reader = reader_of(made)
        if restarts:
            db.close()
            db = Engine(store)
        wanted: Any = Word("cat", 3 + addition) if row is Word else Group("cat", addition)
        if addition == 5:
            db.get(made.key("a"))  # a member runs before the table is settled
        assert db.get(reader, "cat") == f"{(wanted,)}"
        assert db.get(made.where, text="cat") == (wanted,)
        if len(index) > 1:
            other = "length" if row is Word else "size"
            assert wanted in db.get(made.where, **{other: getattr(wanted, other)})
        assert db.get(made.count) == 3
        db.check_invariants()
    db.close()


def test_changed_code_of_the_members_runs_them_and_the_lookups_that_differ(db: Engine, watch: Watch) -> None:
    made = defined(0)
    write(db, a="cat dog", b="cow")
    db.get(made.where, text="cat")
    db.get(made.count)
    made = defined(1)
    assert ran(watch, made.count.key()) == ["defined('a')", "defined('b')", "defined.count()"]
    made = defined(1)
    assert ran(watch, made.count.key()) == []
