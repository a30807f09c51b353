"""Damage and kills: the store gives back what was committed, or says that it starts empty."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import (
    StoreDamaged,
    StoreForeign,
    StoreTooNew,
)
from engine.store import Batch, State, open_store
from tests.damage import damage_cases
from tests.stores import closed_store, copy, database, dump, graph, node, run

# -- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [True, False])
def test_damage_to_the_main_file_never_gives_a_wrong_row(tmp_path: Path, sealed: bool) -> None:
    """Without the seal the audit has to find it by reading."""
    expected = closed_store(tmp_path / "good")
    clean = database(tmp_path / "good").read_bytes()
    cases = damage_cases(len(clean))
    set_aside = 0
    for number, (name, apply) in enumerate(cases if sealed else cases[::4]):
        directory = copy(tmp_path / "good", tmp_path / "bad")
        data = bytearray(clean)
        apply(data)
        database(directory).write_bytes(data)
        if not sealed:
            (directory / "store.seal").unlink()
        try:
            store = open_store(directory, synchronous="OFF")  # sparing the disk
        except (StoreForeign, StoreTooNew):
            # without a seal nothing says that the file was ours; it is refused and not touched
            assert not sealed, name
            assert database(directory).read_bytes() == data
            continue
        with store:
            if dump(store) != expected:
                assert dump(store)[0] == State(), name
                assert store.nodes(range(1, 100)) == {}
                if data or sealed:
                    assert "computed again" in store.notes[0], name
                    assert len(list(directory.glob("store.corrupt-*"))) >= 1
                set_aside += 1
            store.write(Batch(nodes=[node(500)], state=store.state._replace(revision=9)))
            assert store.state.revision == 9
            if number % 20 == 0:
                store.check_invariants()
    assert set_aside > len(cases) / 4 * (0.9 if sealed else 0.1)


def test_a_log_that_is_cut_anywhere_gives_an_earlier_whole_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    states: dict[int, object] = {}
    with open_store(tmp_path / "good") as store:
        states[0] = dump(store)
        for revision in range(1, 8):
            store.write(graph(20, revision=revision))
            states[revision] = dump(store)
    log = (tmp_path / "good/store.db-wal").read_bytes()
    assert len(log) > 50_000
    dice = random.Random(3)
    seen = set()
    for number in range(60):
        directory = copy(tmp_path / "good", tmp_path / "bad")
        data = bytearray(log)
        if number % 2:
            del data[dice.randrange(len(data)) :]
        else:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (directory / "store.db-wal").write_bytes(data)
        if number % 3:
            (directory / "store.db-shm").unlink()
        with open_store(directory, synchronous="OFF") as store:
            assert store.notes == []
            assert dump(store) == states[store.state.revision]
            store.check_invariants()
            seen.add(store.state.revision)
    assert len(seen) > 3


def test_a_log_of_an_earlier_day_is_not_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale log is whole by itself: only `state.base` tells that it rests on another file."""
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    directory = tmp_path / "s"
    with open_store(directory) as store:
        for revision in range(1, 4):
            store.write(graph(60, revision=revision))
    old = {name: (directory / name).read_bytes() for name in ("store.db", "store.db-wal", "store.db-shm")}
    with open_store(directory) as store:
        for revision in range(4, 8):
            store.write(graph(60, revision=revision))
        store.checkpoint()
        expected = dump(store)
    merged = copy(directory, tmp_path / "merged")
    with open_store(directory) as store:
        store.write(graph(60, revision=8))
    new_log = (directory / "store.db-wal").read_bytes()

    stale = copy(merged, tmp_path / "stale")  # yesterday's log beside today's file
    for name in ("store.db-wal", "store.db-shm"):
        (stale / name).write_bytes(old[name])
    with open_store(stale) as store:
        assert dump(store) == expected
        assert "did not belong" in store.notes[0]
        store.check_invariants()

    restored = copy(merged, tmp_path / "restored")  # yesterday's file beside today's log
    (restored / "store.db").write_bytes(old["store.db"])
    (restored / "store.db-wal").write_bytes(new_log)
    (restored / "store.db-shm").unlink(missing_ok=True)
    with open_store(restored) as store:
        assert store.state == State()
        assert "computed again" in store.notes[0]


@pytest.mark.parametrize("removed", [("store.db-wal",), ("store.db-shm",), ("store.db-wal", "store.db-shm")])
def test_removing_log_files_costs_only_what_was_in_them(
    tmp_path: Path, removed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    with open_store(tmp_path) as store:
        store.write(graph(20))
        store.checkpoint()
        store.write(graph(20, revision=2))
    for name in removed:
        (tmp_path / name).unlink()
    with open_store(tmp_path) as store:
        assert store.notes == []
        assert store.state.revision == (1 if "store.db-wal" in removed else 2)
        store.check_invariants()


def test_a_main_file_that_vanished_takes_its_log_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    closed_store(tmp_path)
    database(tmp_path).unlink()
    with open_store(tmp_path) as store:
        assert store.state == State()
        assert "did not belong" in store.notes[0]
    assert list(tmp_path.glob("store.stray-*-wal"))


def test_a_planted_rollback_journal_is_not_replayed(tmp_path: Path) -> None:
    expected = closed_store(tmp_path / "s")
    other = tmp_path / "other.db"
    shutil.copy(database(tmp_path / "s"), other)
    with sqlite3.connect(other, isolation_level=None) as connection:  # a hot journal, made the honest way
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("DELETE FROM node")
        journal = Path(f"{other}-journal").read_bytes()
        connection.execute("ROLLBACK")
    connection.close()
    (tmp_path / "s/store.db-journal").write_bytes(journal)
    with open_store(tmp_path / "s") as store:
        assert dump(store) == expected
        assert "did not belong" in store.notes[0]


@pytest.mark.parametrize("worth", [0, 1 << 40])
def test_a_live_copy_is_right_or_rebuilt(tmp_path: Path, worth: int) -> None:
    """With `cp -r` at any moment, also in the middle of a merge, whoever does it."""
    writer = run(
        """
from engine.store import ongoing, tidying
ongoing.WORTH_BYTES, tidying.WAL_LIMIT_BYTES, tidying.SLICE_BYTES = int(sys.argv[2]), 200_000, 60_000
store = open_store(Path(sys.argv[1]))
for revision in range(1, 10**6):
    store.write(graph(200, revision=revision))
    if revision == 3: print("go", flush=True)
""",
        tmp_path / "live",
        worth,
    )
    rebuilt = 0
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        for _ in range(25):
            target = tmp_path / "copy"
            shutil.rmtree(target, ignore_errors=True)
            subprocess.run(["cp", "-r", tmp_path / "live", target], check=False, stderr=subprocess.DEVNULL)
            target.chmod(0o700)
            with open_store(target) as store:
                revisions = {row.changed_at for row in store.nodes(range(1, 201)).values()}
                if store.state.revision == 0:
                    rebuilt += 1
                    assert revisions == set()
                else:
                    assert revisions == {store.state.revision}
                store.check_invariants()
    finally:
        writer.kill()
        writer.communicate()
    assert rebuilt < 25


# -- kill -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("worth", [0, 1 << 40])
def test_killed_at_any_moment_nothing_is_torn_and_nothing_acknowledged_is_lost(
    tmp_path: Path, worth: int
) -> None:
    """Small limits, so that kills hit merges and seals as well, in a thread or by a commit."""
    code = """
from engine.store import ongoing, tidying
ongoing.WORTH_BYTES, tidying.WAL_LIMIT_BYTES, tidying.SLICE_BYTES = int(sys.argv[2]), 150_000, 40_000
store = open_store(Path(sys.argv[1]))
revision = store.state.revision
for revision in range(revision + 1, 10**6):
    store.write(graph(40, revision=revision))
    print(revision, flush=True)
"""
    dice = random.Random(11)
    # A child that forks: starting Python 30 times would take longer than the test.
    directory = tmp_path / "s"
    acknowledged = 0
    audits = 0
    for _ in range(30):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.dup2(writer, 1)
                sys.argv = ["", str(directory), str(worth)]
                sys.stdout = os.fdopen(1, "w", closefd=False)
                exec("from tests.stores import *\n" + code, {})
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            first = lines.readline()
            assert first  # it runs
            time.sleep(dice.random() * 0.08)
            os.kill(child, 9)
            os.waitpid(child, 0)
            told = (first + lines.read()).split(b"\n")
        acknowledged = max([acknowledged, *(int(line) for line in told[:-1])])
        with open_store(directory) as store:
            audits += store.audited
            assert "computed again" not in "".join(store.notes)
            assert store.state.revision >= acknowledged
            assert {row.changed_at for row in store.nodes(range(1, 41)).values()} == {store.state.revision}
            store.check_invariants()
    assert acknowledged > 30


@pytest.mark.parametrize("step", ["replace", "write_seal", "load_state"])
def test_interrupted_while_it_is_made_the_store_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    target = {"replace": "engine.store.merging.os.replace", "write_seal": "engine.store.seal.write_seal"}
    with monkeypatch.context() as patch:
        patch.setattr(target.get(step, "engine.store.repair.load_state"), stop)
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path)
    with open_store(tmp_path) as store:
        assert "computed again" not in "".join(store.notes)
        assert store.state == State()
        store.check_invariants()
    assert not list(tmp_path.glob("store.new*"))


def test_the_note_of_a_store_that_is_set_aside_is_on_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut it was empty, and a store had gone without a word."""
    done: list[str] = []

    def noting(name: str) -> None:
        real = getattr(os, name)

        def note(*given: Any, **named: Any) -> Any:
            done.append(f"{name} {Path(given[0]).name}" if name == "rename" else name)
            return real(*given, **named)

        monkeypatch.setattr(os, name, note)

    closed_store(tmp_path)
    database(tmp_path).write_bytes(b"no database" * 1000)
    for name in ("fsync", "replace", "rename"):
        noting(name)
    with open_store(tmp_path) as store:
        assert "computed again" in store.notes[0]
    assert done[:3] == ["fsync", "replace", "rename store.db"]


def test_starting_over_goes_on_with_an_empty_store(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(20))
        store.start_over(StoreDamaged(reason="node 3 is missing"))
        assert store.state == State()
        assert store.nodes([1]) == {}
        assert "node 3 is missing" in store.notes[-1]
        assert "computed again" in store.notes[-1]
        store.write(graph(5))
        store.check_invariants()
    assert len(list(tmp_path.glob("store.corrupt-*Z"))) == 1
