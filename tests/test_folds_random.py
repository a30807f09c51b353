"""Random edits, restarts, crashes and consumers: every fold and every mirror is what the members give."""

from __future__ import annotations

import operator
import os
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import define, frozen

import engine.persist
import engine.tables.changes
import engine.tables.kept_fold
import engine.tables.log
from engine import Engine, fold, query, table
from engine.tables.accumulate import Merge, Sum
from engine.tables.kept_table import KeptTable
from tests.folding import FOLDS, cell, keys, spread, text, whole
from tests.following import Mirror, Note
from tests.trial import FAST

NAMES = [f"k{n}" for n in range(9)]
SEEDS = int(os.environ.get("ENGINE_FOLD_SEEDS", "16"))
STEPS = 60
SMALL = 6  # entries of a log before it is netted


@frozen
class Group:
    number: int
    members: int


@table(each=keys, index=("number", "key"))
def notes(key: str) -> Iterable[Note]:
    return [Note(key, whole(key))] if whole(key) else []


@table(each=keys, index=("key",), identity=("key",))
def named(key: str) -> Iterable[Note]:
    return [Note(key, cell(key)), Note(f"{key}+", cell(key) // 3)]


@table(each=notes.column("number"))
def groups(number: int) -> Iterable[Group]:
    return [Group(number, notes.count(number=number))]


@query
def size(number: int) -> int:
    return number * len(notes.where(number=number))


@query
def share(key: str) -> str:
    return f"{whole(key)}/{TOTAL()};"


TOTAL = FOLDS["sum"][0]
ASKED: dict[str, Any] = {
    **{name: found for name, (found, _) in FOLDS.items()},
    "shares": fold(each=keys, of=share, into=Merge(operator.add, "")),
}
Numbers = dict[str, int]
SIZES = fold(each=notes.column("number"), of=size, into=Sum())
TABLES: dict[str, Any] = {"notes": notes, "named": named, "groups": groups}


@define
class Consumer:
    """`position`: gives back its own; else it is acknowledged in time, or was not dealt with."""

    table: str
    position: bool
    mirror: Mirror
    revision: int = 0


class World:
    """One engine, what its inputs are, and its consumers."""

    def __init__(self, seed: int, stored: bool, workers: int) -> None:
        self.chance = random.Random(seed)
        self.workers = workers
        self.cleanup = ExitStack()
        self.cleanup.enter_context(mock.patch.object(engine.tables.log, "NET_ABOVE", SMALL))
        self.cleanup.enter_context(mock.patch.object(engine.tables.changes, "LATE", 4))
        self.cleanup.enter_context(mock.patch.object(engine.persist, "CHUNK_NODES", 5))
        self.cleanup.enter_context(mock.patch.object(engine.tables.kept_fold, "WAITING_AT_MOST", 2))
        self.directory = Path(tempfile.mkdtemp(prefix="engine-folds-", dir=FAST)) if stored else None
        self.keys: tuple[str, ...] = ()
        self.cells: Numbers = {}
        self.consumers: dict[str, Consumer] = {}
        self.seen: Any = None  # by the consumer of a fold's value
        self.story: list[str] = []
        self._open()

    def _open(self) -> None:
        self.db = Engine(self.directory and self.directory / "store", workers=self.workers)
        assert not self.db.notes()

    def close(self) -> None:
        with self.cleanup:
            self.db.close()
            if self.directory is not None:
                shutil.rmtree(self.directory)

    # -- what is right ---------------------------------------------------------------------------

    def numbers(self) -> Numbers:
        return {key: self.cells.get(key, 0) for key in sorted(self.keys)}

    def rows(self, name: str) -> set[Any]:
        numbers = self.numbers()
        several = [number for number in numbers.values() if number > 0]
        if name == "notes":
            return {Note(key, number) for key, number in numbers.items() if number > 0}
        if name == "groups":
            return {Group(number, several.count(number)) for number in several}
        found = {Note(key, number) for key, number in numbers.items()}
        return found | {Note(f"{key}+", number // 3) for key, number in numbers.items()}

    def wanted(self, name: str) -> Any:
        numbers = self.numbers()
        failing = [key for key, number in numbers.items() if number < 0]
        if failing:
            return "ValueError", failing[0]
        if name == "shares":
            return "".join(f"{number}/{sum(numbers.values())};" for number in numbers.values())
        if name == "floats":
            return FOLDS[name][1]([spread(number) for number in numbers.values()])
        texts = [f"{key}{number}" for key, number in numbers.items()]
        return FOLDS[name][1](texts if name in ("max", "merge") else list(numbers.values()))

    def got(self, what: Any) -> Any:
        try:
            return self.db.get(what)
        except ValueError as error:
            return "ValueError", str(error)

    # -- steps -----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = {
            self.edit: 40, self.move: 6, self.ask_fold: 12, self.ask_member: 10, self.ask_rows: 6,
            self.poll: 24, self.come: 6, self.leave: 2, self.value: 5, self.forget: 2, self.reopen: 8,
            self.collect: 2,
        }  # fmt: skip
        (made,) = self.chance.choices(list(steps), list(steps.values()))
        self.story.append(made.__name__)
        made()
        self.db.check_invariants()
        self.check_logs()

    def edit(self) -> None:
        cells = {
            key: self.chance.choice([-1, 0, 1, 2, 3, 3, 4, 50])
            for key in self.chance.sample(NAMES, self.chance.randint(1, 3))
        }
        keys_now = self.keys
        if self.chance.random() < 0.5:
            keys_now = tuple(self.chance.sample(NAMES, self.chance.choice([0, 5, 7, 8, 9, 9])))
        with self.db.batch():
            for key, number in cells.items():
                self.db.set(cell.key(key), number)
            self.db.set(keys.key(), keys_now)
        self.cells.update(cells)
        self.keys = keys_now

    def move(self) -> None:
        """One key takes the place of another, with its number."""
        old, new = self.chance.sample(NAMES, 2)
        keys_now = tuple(dict.fromkeys(new if key == old else key for key in self.keys))
        with self.db.batch():
            self.db.set(keys.key(), keys_now)
            self.db.set(cell.key(new), self.cells.get(old, 0))
        self.keys, self.cells[new] = keys_now, self.cells.get(old, 0)

    def ask_fold(self) -> None:
        for name in self.chance.sample(list(ASKED), self.chance.choice([1, 1, 2, len(ASKED)])):
            assert (name, self.got(ASKED[name])) == (name, self.wanted(name))
        if self.chance.random() < 0.5:
            wanted = sum(row.number * row.members for row in self.rows("groups"))
            assert self.got(SIZES) == wanted

    def ask_member(self) -> None:
        """A member alone: its fold takes that over, and is not settled."""
        member: Any = self.chance.choice([whole, text, share, notes, named])
        self.got(member.key(self.chance.choice(NAMES)))

    def ask_rows(self) -> None:
        name = self.chance.choice(list(TABLES))
        assert set(self.db.get(TABLES[name].where)) == self.rows(name)

    def forget(self) -> None:
        self.db.forget(self.chance.choice(["*Sum()", "*whole(*", "*.members", "*"]))

    def collect(self) -> None:
        if self.directory is not None:
            self.db.gc()

    def reopen(self) -> None:
        if self.directory is None:
            return
        if self.chance.random() < 0.5:
            abandoned, self.directory = (
                self.directory,
                Path(tempfile.mkdtemp(prefix="engine-folds-", dir=FAST)),
            )
            shutil.copytree(
                abandoned / "store", self.directory / "store", ignore=shutil.ignore_patterns("*-shm")
            )
            self.db.close()
            shutil.rmtree(abandoned)
        else:
            self.db.close()
        self._open()

    # -- consumers -------------------------------------------------------------------------------

    def come(self) -> None:
        if len(self.consumers) < 4:
            name = f"c{len(self.story)}"
            self.consumers[name] = Consumer(
                self.chance.choice(list(TABLES)), self.chance.random() < 0.6, Mirror()
            )
            self.follow(name, self.chance.randint(0, 3))

    def leave(self) -> None:
        if self.consumers:
            name = self.chance.choice(list(self.consumers))
            consumer = self.consumers.pop(name)
            self.db.changes(TABLES[consumer.table], since=name).close()

    def poll(self) -> None:
        if self.consumers:
            self.follow(self.chance.choice(list(self.consumers)), self.chance.choice([0, 1, 2, 99]))

    def follow(self, name: str, most: int) -> None:
        """Take so many deltas, then be killed: before a delta was kept, or after that."""
        consumer = self.consumers[name]
        after = consumer.mirror.position if consumer.position else None
        for number, delta in enumerate(self.db.changes(TABLES[consumer.table], since=name, after=after)):
            assert delta.revision >= consumer.revision, "revisions ascend"
            if number == most and (not consumer.position or self.chance.random() < 0.5):
                return
            consumer.mirror.apply(delta)
            consumer.revision = delta.revision
            assert delta.reset or delta.added or delta.removed or delta.changed
            if number == most:
                return
        assert consumer.mirror.rows == self.rows(consumer.table), f"{name} of {consumer.table}"

    def value(self) -> None:
        for new in self.db.changes(TOTAL, since="value"):
            found = ("ValueError", str(new.error)) if new.error is not None else new.value
            assert found != self.seen, "a value is told twice"
            self.seen = found
        assert self.seen == self.wanted("sum")

    def check_logs(self) -> None:
        """At most what is not netted yet, and what rows differ by, in each part of a log."""
        with self.db._core.lock:
            kept = [one for one in self.db._core.collections.values() if isinstance(one, KeptTable)]
            for one in kept:
                parts = 1 + sum(len(cursor.places) for cursor in one.log.cursors.values())
                size = len(list(one.log.entries(0)))
                assert size <= max(SMALL, 2 * parts * 4 * len(NAMES)) + 4 * len(NAMES)
                assert one.log.cursors or not size

    def finish(self) -> None:
        for name in ASKED:
            assert (name, self.got(ASKED[name])) == (name, self.wanted(name))
        for name in TABLES:
            assert set(self.db.get(TABLES[name].where)) == self.rows(name)
        for name in self.consumers:
            self.follow(name, 99)
        for what in [*TABLES.values(), SIZES, *ASKED.values()]:
            assert self.db.audit(what).differences == ()
        if self.db.store is not None:
            self.db.store.check_invariants()


def play(seed: int, *, stored: bool, workers: int = 1, steps: int = STEPS) -> None:
    world = World(seed, stored, workers)
    try:
        for _ in range(steps):
            world.step()
        world.finish()
        if stored:
            world.reopen()
            world.finish()
    except BaseException as failure:
        failure.add_note(f"seed {seed}, after {world.story}")
        raise
    finally:
        world.close()


@pytest.mark.parametrize("part", range(4))
def test_random_histories_in_a_store(part: int) -> None:
    for seed in range(part, SEEDS, 4):
        play(seed, stored=True)


def test_random_histories_in_memory() -> None:
    for seed in range(1000, 1000 + SEEDS):
        play(seed, stored=False)


def test_random_histories_with_workers() -> None:
    for seed in range(2000, 2000 + SEEDS // 4):
        play(seed, stored=True, workers=3)


def consumers_that_never_come(db: Engine) -> Iterator[int]:
    """The size of a log over thousands of edits."""
    chance = random.Random(1)
    with db.batch():
        db.set(keys.key(), tuple(NAMES))
    list(db.changes(notes, since="never"))
    for _ in range(3_000 if db.store is None else 1_000):
        db.set(cell.key(chance.choice(NAMES)), chance.randint(1, 5))
        db.get(notes.count)
        (kept,) = (one for one in db._core.collections.values() if isinstance(one, KeptTable))
        yield len(list(kept.log.entries(0)))


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "stored"])
def test_thousands_of_edits_with_a_consumer_that_never_comes_leave_a_small_log(
    tmp_path: Path, stored: bool
) -> None:
    with (
        mock.patch.object(engine.tables.log, "NET_ABOVE", 100),
        Engine(tmp_path / "store" if stored else None) as db,
    ):
        assert max(consumers_that_never_come(db)) <= 100 + 2
        mirror = Mirror()
        for delta in db.changes(notes, since="never"):
            mirror.apply(delta)
        assert mirror.rows == set(db.get(notes.where))
