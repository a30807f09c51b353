"""Each change is told once, whoever is killed in between."""

from __future__ import annotations

import random
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import engine.tables.log
from engine import Engine
from tests.following import Mirror, Note, cell, keys, log_size, notes, rows_of
from tests.killing import directory, run

__all__ = ["directory"]  # a fixture

KILLS = 200
WITHIN_MS = 12  # after the child began


class SqlMirror:
    """A consumer's own database: rows and position in one transaction, and a row twice is an error."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS row (key TEXT, number INT, UNIQUE (key, number))")
        self.connection.execute("CREATE TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY, position TEXT)")

    def follow(self, db: Engine) -> None:
        found = self.connection.execute("SELECT position FROM place").fetchone()
        for delta in db.changes(notes, since="mirror", after=found and found[0]):
            self.connection.execute("BEGIN IMMEDIATE")
            if delta.reset:
                self.connection.execute("DELETE FROM row")
            for row in delta.removed:
                cursor = self.connection.execute(
                    "DELETE FROM row WHERE (key, number) = (?, ?)", (row.key, row.number)
                )
                assert cursor.rowcount == 1, f"{row} goes twice"
            self.connection.executemany(
                "INSERT INTO row VALUES (?, ?)", [(row.key, row.number) for row in delta.added]
            )
            self.connection.execute("REPLACE INTO place VALUES (1, ?)", (delta.position,))
            self.connection.execute("COMMIT")

    def rows(self) -> set[Note]:
        return {Note(*row) for row in self.connection.execute("SELECT key, number FROM row")}


def life(directory: Path, seed: int, tell: Connection) -> None:
    """Edit at random and follow, in one process: the engine and the consumer are killed together."""
    chance = random.Random(seed)
    with Engine(directory / "store") as db:
        mirror = SqlMirror(directory / "mirror.db")
        tell.send(("begun",))
        while True:
            edit(db, chance)
            if chance.random() < 0.7:
                mirror.follow(db)


def edit(db: Engine, chance: random.Random) -> None:
    names = [f"k{n}" for n in range(8)]
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.2:
            db.set(keys.key(), tuple(chance.sample(names, chance.randint(4, 8))))
        else:
            with db.batch():
                for name in chance.sample(names, chance.randint(1, 4)):
                    db.set(cell.key(name), chance.randint(-1, 5))
        if chance.random() < 0.5:
            db.get(notes.count)


def test_engine_and_consumer_killed_two_hundred_times_leave_a_mirror_that_equals_its_source(
    directory: Path,
) -> None:
    chance = random.Random(11)
    for number in range(KILLS):
        _, messages = run(life, directory, number, after=chance.uniform(0, WITHIN_MS / 1000))
        assert messages == [("begun",)]
        if number % 10 == 9:
            with Engine(directory / "store") as db:
                assert not db.notes(), "a killed process damaged nothing"
                mirror = SqlMirror(directory / "mirror.db")
                mirror.follow(db)
                assert mirror.rows() == rows_of(db), f"after {number} kills"
                assert db.store is not None
                db.store.check_invariants()
                mirror.connection.close()


def test_a_consumer_killed_at_each_step_between_telling_and_acknowledging_loses_and_repeats_nothing(
    directory: Path,
) -> None:
    chance = random.Random(3)
    mirror = Mirror()
    steps = 0
    with Engine(directory / "store") as db, mock.patch.object(engine.tables.log, "NET_ABOVE", 10):
        for _ in range(200):
            edit(db, chance)
            db.get(notes.where)
            steps = chance.randint(0, 3)
            for delta in db.changes(notes, since="mirror", after=mirror.position):
                if steps == 0:
                    break  # told, not kept
                mirror.apply(delta)
                if steps == 1:
                    break  # kept, not acknowledged
                steps -= 1
        for delta in db.changes(notes, since="mirror", after=mirror.position):
            mirror.apply(delta)
        assert mirror.rows == rows_of(db)
        assert log_size(db) == 0
