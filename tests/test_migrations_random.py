"""Stores of random worlds, taken back to an earlier version at each start: nothing runs that need not.

The worlds compare every answer with the oracle, and what ran with the model, key by key.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from engine.store import Batch, open_store, opening, schema
from engine.store.statements import take
from tests import table_world, timelines, worlds
from tests.stores import sql
from tests.table_programs import random_program as random_tables
from tests.trial import Trial

STEPS = 30
CREATED = re.compile(r"CREATE TABLE (\w+)")


def take_back(directory: Path, number: int) -> None:
    """Make a closed store what it would be if a version before had written it, without a history."""
    migration = schema.MIGRATIONS[number]
    new = [text for text in schema.TABLES if text not in migration.tables]
    later = [found[1] for text in new if (found := CREATED.match(text))]
    before = [text for text in migration.tables if text not in schema.TABLES]

    def take_all(connection: sqlite3.Connection, *_: Any) -> int:
        return -sum(take(connection, name, "1 = 1") for name in later)

    with mock.patch("engine.store.writing.write_observed", take_all), open_store(directory) as store:
        assert not store.notes
        if number == 1:
            assert not store.derived.collections()
        store.write(Batch(state=store.state))
    statements = [*(f"DROP TABLE {name}" for name in later), *before, f"PRAGMA user_version = {number}"]
    sql(directory, ";".join(statements), renew_seal=True)


@contextmanager
def each_start_from(number: int) -> Iterator[list[None]]:
    """Inside, whatever opens the store of a trial finds one of an earlier version; yields how often."""
    plain, migrated = Trial.open, list[None]()

    def open_older(trial: Trial) -> None:
        store = None if trial.directory is None else trial.directory / "store"
        older = store is not None and store.exists()
        if store is not None and older:
            take_back(store, number)
        plain(trial)
        if older:
            migrated.append(None)
            assert list(trial.engine.notes()) == [opening.MIGRATED.format(number, schema.VERSION)]
            trial.engine._core.telling.notes.clear()

    with mock.patch.object(Trial, "open", open_older):
        yield migrated


def play(world: Any, random_step: Any, chance: random.Random) -> None:
    """Random steps, but no other code: the model runs a key also where the code before came back unseen."""
    try:
        for _ in range(STEPS):
            if chance.random() < 0.15:
                world.apply([chance.choice(["restart", "crash"]), []])
            step = random_step(chance.randint, world)
            if step[0] not in ("code", "restart", "crash"):
                world.apply(step)
    finally:
        world.close()


@pytest.mark.parametrize("number", list(schema.MIGRATIONS))
@pytest.mark.parametrize("exotic", [False, True])
def test_a_random_store_of_an_earlier_version_runs_what_one_of_this_version_would(
    number: int, exotic: bool
) -> None:
    with each_start_from(number) as migrated:
        for seed in range(12):
            chance = random.Random(f"{number} {seed}")
            settings = worlds.Settings(stored=True, exotic=exotic)
            program = timelines.random_program(chance.randint, settings)
            play(worlds.World(settings, program), timelines.random_step, chance)
    assert len(migrated) > 30


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_random_store_of_an_earlier_version_keeps_its_tables_and_folds(number: int) -> None:
    with each_start_from(number) as migrated:
        for seed in range(12):
            chance = random.Random(f"{number} {seed}")
            world = table_world.World(table_world.Settings(stored=True), random_tables(chance.randint))
            play(world, table_world.random_step, chance)
    assert len(migrated) > 30
