"""Values in memory are bounded: what goes is read from the store again, and nothing runs for it."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine.attempt
import engine.history
import engine.store.history
from engine import Engine, Key, each, input, query
from engine.core import Core
from engine.errors import BadSettings
from engine.history import History
from engine.locate import find
from engine.memory import LIMIT, OVERHEAD, PER_BYTE, Memory
from engine.persist import load, load_readers

SIZE = 1_000  # bytes of a value
COUNTED = OVERHEAD + PER_BYTE * (SIZE + 3)  # its encoding has a head of three bytes
ROOM = 10  # values


@input(name="memory:length")
def length() -> int:
    return SIZE


@query(name="memory:text")
def text(number: int) -> str:
    return f"{number:>{length()}}"


@query(name="memory:words")
def words(number: int) -> list[str]:
    return text(number).split()


@input(name="memory:size")
def size() -> int:
    return 1


@query(name="memory:listed")
def listed(number: int) -> list[int]:
    return [number] * size() * 10


@query(name="memory:all")
def all_of(count: int) -> int:
    return sum(len(one) for one in each(text, range(count)))


@query(name="memory:double")
def double(number: int) -> int:
    return 2 * number


@query(name="memory:all-doubled")
def all_doubled(count: int) -> int:
    return sum(double(number) for number in range(count))


def history_of(db: Engine) -> History:
    found = db._core.history
    assert found is not None
    return found


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store", max_memory=ROOM * COUNTED) as opened:
        yield opened
        opened.check_invariants()


def memory_of(db: Engine) -> Memory:
    memory = db._core.memory
    assert memory is not None
    return memory


def node_of(db: Engine, key: Key[object]) -> int:
    node = find(db._core, key.query, key.args)
    assert node
    return node


def held(db: Engine) -> int:
    """How many texts are in memory."""
    return sum(isinstance(value, str) for value in db._core.graph.values)


def test_values_beyond_the_limit_go_and_come_from_the_store(db: Engine) -> None:
    for number in range(30):
        db.get(text, number)
        assert memory_of(db).total <= ROOM * COUNTED
    assert held(db) == ROOM
    before = db.counts()
    for number in range(30):
        assert db.get(text, number) == f"{number:>1000}"
    more = db.counts() - before
    assert (more.executed, more.loaded) == (0, 30)
    assert memory_of(db).total <= ROOM * COUNTED * 5 // 4


class Passed(dict[int, int]):
    """Counts how often somebody begins to go through it."""

    times = 0

    def __iter__(self) -> Iterator[int]:
        self.times += 1
        return super().__iter__()

    def items(self) -> Any:
        self.times += 1
        return super().items()


def test_many_values_that_go_at_once_are_gone_through_once(db: Engine) -> None:
    memory = db._core.memory
    assert memory is not None
    db.get(all_of, ROOM)
    memory._saved = passed = Passed(memory._saved)

    db.get(all_of, 5 * ROOM)

    assert db.counts().evicted == 4 * ROOM
    assert passed.times <= db.counts().commits


def test_a_value_that_stays_is_not_loaded(db: Engine) -> None:
    for number in range(5):
        db.get(text, number)
    before = db.counts()
    for _ in range(3):
        for number in range(5):
            db.get(text, number)
    more = db.counts() - before
    assert (more.loaded, more.evicted, more.executed) == (0, 0, 0)


def test_the_value_that_came_last_stays_longest(db: Engine) -> None:
    for number in range(30):
        db.get(text, number)
    db.get(text, 0)
    before = db.counts()
    for number in (0, 29, 28):
        db.get(text, number)
    assert (db.counts() - before).loaded == 0


def test_within_one_request_loaded_values_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = ROOM * COUNTED
    most: list[int] = []
    loaded = Memory.loaded

    def watched(memory: Memory, core: Core, node: int, data: bytes) -> None:
        loaded(memory, core, node, data)
        most.append(memory.total)

    with Engine(tmp_path / "store") as db:
        assert db.get(all_of, 300) == 300 * SIZE
    monkeypatch.setattr(Memory, "loaded", watched)
    with Engine(tmp_path / "store", max_memory=limit) as db:
        db.get(all_of, 300)
        db.forget("memory:all*")
        assert db.get(all_of, 300) == 300 * SIZE
        assert (db.counts().executed, db.counts().loaded) == (1, 301)
    assert 0 < max(most) <= limit * 5 // 4 + COUNTED


def test_a_long_build_commits_so_that_its_values_can_go(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", max_memory=1 << 20) as db:
        db.get(all_of, 2_000)  # 6 MB as they are counted
        assert db.counts().commits >= 4
        assert memory_of(db).total <= 1 << 20


def test_mutable_values_and_those_of_a_restart_go_as_well(tmp_path: Path) -> None:
    for _ in range(2):
        with Engine(tmp_path / "store", max_memory=1) as db:
            for number in range(20):
                assert db.get(words, number) == [str(number)]
            assert sum(value is not None for value in memory_of(db)._saved.values()) <= 1
            assert db._core.graph.values.count(b"") == 0


def test_values_that_were_put_back_count_as_well(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4, max_memory=1) as db:
        for value in (1, 2, 1):
            db.set(size.key(), value)
            for number in range(20):
                assert db.get(listed, number) == [number] * value * 10
        assert db.counts().restored == 20
        held = [value for value in db._core.graph.values if isinstance(value, bytes)]
        assert len(held) <= 1


@query(name="memory:half")
def half(number: int) -> str:
    return "x" * (200 + size())


@query(name="memory:halves")
def halves(count: int) -> int:
    return sum(len(one) for one in each(half, range(count)))


@pytest.mark.parametrize("most", [1_000, 8 << 20])
def test_what_is_read_of_histories_is_bounded_and_nothing_runs_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Up to 256 keys are read at once, with four memos each, and what 20,000 keys were had stayed."""
    held: list[int] = []
    loaded: list[int] = []
    real = History._load_memos

    def load(history: History, core: Core, node: int) -> None:
        real(history, core, node)
        held.append(sum(len(one.held) for one in history._read if isinstance(one.held, bytes)))
        loaded.append(history._loaded)

    monkeypatch.setattr(History, "_load_memos", load)
    monkeypatch.setattr(engine.store.history, "MOST_AT_ONCE", most)
    monkeypatch.setattr(engine.history, "MOST_LOADED", 40 * most)
    with Engine(tmp_path / "store") as db:
        for value in (1, 2, 3, 4):
            db.set(size.key(), value)
            db.get(halves, 600)
    with Engine(tmp_path / "store") as db:
        for value in (1, 3, 2, 4):
            before = db.counts()
            db.set(size.key(), value)
            assert db.get(halves, 600) == 600 * (200 + value)
            assert (db.counts() - before).executed == 0
            loaded.append(history_of(db)._loaded)
        db.check_invariants()
    assert 150 < max(held) <= most
    assert 0 < max(loaded) < 40 * most + 256 * 5 * 600  # and what is read at once


def test_what_the_host_set_stays(db: Engine) -> None:
    db.set(length.key(), 2_000)
    for number in range(30):
        db.get(text, number)
    node = next(one for one in range(len(db._core.graph.values)) if db._core.graph.values[one] == 2_000)
    assert db._core.graph.values[node] == 2_000


def test_an_engine_without_a_store_has_nowhere_to_put_them() -> None:
    with pytest.raises(BadSettings, match="name one"):
        Engine(None, max_memory=1_000)


def test_numbers_and_other_small_values_are_not_counted(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", max_memory=1) as db:
        for number in range(20):
            db.get(double, number)
        assert memory_of(db).total == 0
        before = db.counts()
        assert [db.get(double, number) for number in range(20)] == list(range(0, 40, 2))
        assert (db.counts() - before).loaded == 0


def test_with_a_store_there_is_a_limit_where_nobody_names_one(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        assert memory_of(db).limit == LIMIT
    with Engine(tmp_path / "store", read_only=True) as db:
        assert db._core.memory is None
    with Engine(None) as db:
        assert db._core.memory is None


def test_after_a_large_build_the_page_cache_is_let_go_and_after_a_small_one_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.attempt, "MANY", 100)
    said: list[str] = []
    with Engine(tmp_path / "store") as db:
        assert db.store is not None
        db.store.connection.set_trace_callback(said.append)
        db.get(all_of, 50)
        assert "PRAGMA shrink_memory" not in said
        db.get(all_of, 200)  # 150 texts more: together they are many
        assert said.count("PRAGMA shrink_memory") == 1
        db.get(all_of, 250)
        assert said.count("PRAGMA shrink_memory") == 1


def test_a_python_without_ctypes_gives_back_what_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.attempt, "MANY", 100)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    with Engine(tmp_path / "store") as db:
        db.get(all_of, 200)
        assert db._core.written == 0


def test_a_node_takes_less_than_400_bytes() -> None:
    count = 20_000
    with Engine(None) as db:
        db.get(all_doubled, 100)  # codecs and what else is made once
        tracemalloc.start()
        try:
            db.get(all_doubled, count)
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert taken / count < 400


def test_an_argument_that_was_found_in_the_store_is_kept_once(tmp_path: Path) -> None:
    for _ in range(2):  # made, and read from the store
        with Engine(tmp_path / "store") as db:
            db.get(text, 1_000)
            assert db._core.graph.args[node_of(db, text.key(1_000))] == 1_000


def test_one_reader_and_one_dependency_stand_in_the_lists_as_they_are(tmp_path: Path) -> None:
    for _ in range(2):  # made, and read from the store
        with Engine(tmp_path / "store") as db:
            for number in (1, 2):
                db.get(text, number)
                db.get(words, number)
            graph = db._core.graph
            one = node_of(db, text.key(1))
            above = node_of(db, words.key(1))
            below = node_of(db, length.key())
            load(db._core, [one, above, below])
            load_readers(db._core, [one, above, below])
            assert (graph.readers[one], graph.readers[above]) == (above, 0)
            assert (graph.dependencies[above], graph.dependencies[below]) == (one, 0)
            assert sorted(graph.above(below)) == sorted((one, node_of(db, text.key(2))))
            db.check_invariants()
