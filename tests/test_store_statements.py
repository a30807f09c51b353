"""Rows in and out of tables: what is not there costs no statement."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.store.statements import delete, existing


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as made:
        made.execute("CREATE TABLE one (id INTEGER PRIMARY KEY, sum BLOB NOT NULL)")
        made.executemany("INSERT INTO one VALUES (?, ?)", [(id, bytes([id])) for id in range(1, 11)])
        yield made


@pytest.mark.parametrize(
    ("asked", "looked_for"),
    [
        ([3, 10, 11, 12], "IN (3,10)"),
        ([2, 20, 30, 40, 50], "IN (2)"),
        ([10], "IN (10)"),
        ([11, 12, 13], None),
        ([], None),
    ],
)
def test_ids_above_the_highest_one_are_not_looked_for(
    connection: sqlite3.Connection, asked: list[int], looked_for: str | None
) -> None:
    said: list[str] = []
    connection.set_trace_callback(said.append)
    assert dict(existing(connection, "one", "id", asked)) == {id: bytes([id]) for id in asked if id <= 10}
    asking = [statement for statement in said if " IN " in statement]
    assert [statement.partition(" WHERE id ")[2] for statement in asking] == (
        [looked_for] if looked_for else []
    )


def test_what_is_deleted_is_what_was_there(connection: sqlite3.Connection) -> None:
    assert delete(connection, "one", "id", {1, 4, 99}) == 5
    assert connection.execute("SELECT count(*) FROM one").fetchone() == (8,)
    connection.execute("DELETE FROM one")
    assert delete(connection, "one", "id", {1, 4, 99}) == 0


def test_no_statement_has_a_parameter_with_a_number_of_which_python_3_12_warns() -> None:
    texts = {path.name: path.read_text() for path in (Path(__file__).parent.parent / "store").glob("*.py")}
    assert [name for name, text in texts.items() if re.search(r"\?\d", text)] == []
