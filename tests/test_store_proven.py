"""A store whose file is compared with its seal beside other things: the verdict may come late, not never."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.errors import StoreDamaged, StoreError
from engine.store import Batch, open_store, opening, repair, seal
from engine.store.lock import hold_as_reader
from engine.store.sqlite import Store
from tests.damage import damage_cases
from tests.late_proofs import Beside, always, gate, later
from tests.stores import closed_store, copy, database, dump, graph, node

__all__ = ["always", "gate"]  # fixtures


def told(store: Store, directory: Path) -> tuple[object, ...]:
    """What can be seen of an opening: rows, notes and files, without the moment in their names.

    And without what was found first: reading may find a row before the audit comes to it.
    """

    def timeless(text: str) -> str:
        return re.sub(r"\d{8}T\d{6}Z", "<now>", re.sub(r"damaged \(.*?\);", "damaged;", text))

    names = sorted(timeless(name) for name in os.listdir(directory))
    return dump(store), [timeless(note) for note in store.notes], store.audited, names


def as_proven_at_once(directory: Path) -> tuple[object, ...]:
    try:
        with open_store(directory, synchronous="OFF") as store:
            return told(store, directory)
    except StoreError as error:
        return type(error), error.headline


def as_proven_later(directory: Path) -> tuple[object, ...]:
    try:
        with later(directory) as store:
            try:
                with store.early():
                    store.queries()
                    store.bundles()
                store.prove()
            except StoreDamaged as damage:
                if store.unproven:
                    with pytest.raises(StoreDamaged):
                        store.nodes([1])
                store.start_over(damage)
            assert not store.unproven
            return told(store, directory)
    except StoreError as error:
        return type(error), error.headline


def test_after_any_damage_the_late_verdict_is_that_of_an_opening_that_waits(tmp_path: Path) -> None:
    closed_store(tmp_path / "good")
    clean = database(tmp_path / "good").read_bytes()
    aside = 0
    for name, apply in damage_cases(len(clean))[::2]:
        data = bytearray(clean)
        apply(data)
        found = []
        for see in (as_proven_at_once, as_proven_later):
            directory = copy(tmp_path / "good", tmp_path / "bad")
            database(directory).write_bytes(data)
            found.append(see(directory))
        assert found[0] == found[1], name
        aside += "store.corrupt" in str(found[0])
    assert aside > 50


def test_a_file_that_is_in_order_under_another_seal_is_kept_and_sealed_again(tmp_path: Path) -> None:
    expected = closed_store(tmp_path)
    free = database(tmp_path).read_bytes()
    at = 96  # which library wrote the file last: SQLite itself does not care
    database(tmp_path).write_bytes(free[:at] + b"\0\0\0\1" + free[at + 4 :])
    with later(tmp_path) as store:
        assert (store.notes, store.audited) == ([], False)
        assert store.prove()
        assert (store.notes, store.audited) == ([opening.AUDITED], True)
        assert not store.prove()
        assert dump(store) == expected
    with later(tmp_path) as store:
        assert not store.prove()


def test_while_a_file_cannot_be_sealed_again_no_commit_names_the_seal_that_is_not_its_own(
    tmp_path: Path,
) -> None:
    """Put back, the file of that seal would have had a log of another one."""
    closed_store(tmp_path)
    sealed = seal.read_seal(tmp_path / "store.seal")
    assert sealed is not None
    seal.write_seal(tmp_path / "store.seal", sealed._replace(digest=bytes(range(32))))
    with later(tmp_path) as store:
        reader = hold_as_reader(store.files.readers)
        assert reader is not None
        assert store.prove()
        store.write(Batch())
        assert repair.load_state(store.connection).base == b""
        reader.release()


def test_a_log_is_not_set_aside_for_a_seal_that_is_not_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log does not name that seal. Whether it is that of the file has to be known at once."""
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    with open_store(tmp_path) as store:
        store.write(graph(40))
        store.checkpoint()
        store.write(graph(60, revision=2))
        expected = dump(store)
    found = seal.read_seal(tmp_path / "store.seal")
    assert found is not None
    seal.write_seal(tmp_path / "store.seal", found._replace(digest=bytes(32), state=bytes(16)))
    with later(tmp_path) as store:
        assert (store.notes, dump(store)) == ([opening.AUDITED], expected)


def test_before_the_proof_nothing_is_read_or_written(tmp_path: Path, gate: threading.Event) -> None:
    closed_store(tmp_path)
    calls: list[Callable[[Store], object]] = [
        lambda store: store.nodes([1]),
        lambda store: store.find(1, b""),
        lambda store: store.readers([1]),
        lambda store: store.derived.collections(),
        lambda store: store.write(Batch(nodes=[node(70)], state=store.state._replace(revision=9))),
        lambda store: store.checkpoint(),
        lambda store: store.tidy(),
        lambda store: store.compact(),
        lambda store: store.connection,
        lambda store: store.check_invariants(),
    ]
    for call in calls:
        gate.clear()
        with later(tmp_path) as store:
            before = database(tmp_path).read_bytes(), store.files.wal_size()
            with store.early():
                assert store.queries()
                beside = Beside(partial(call, store))
                assert beside.waits()  # it is not the thread that is in `early`
            assert (database(tmp_path).read_bytes(), store.files.wal_size()) == before
            gate.set()
            assert not isinstance(beside.ended(), Exception)


def test_a_store_that_is_closed_before_its_proof_is_not_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    """Nobody knows yet whether it can be trusted, and it would be sealed."""
    with monkeypatch.context() as patch:
        patch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
        closed_store(tmp_path)
    names = ("store.db", "store.db-wal", "store.seal")
    before = [(tmp_path / name).read_bytes() for name in names]
    later(tmp_path).close()
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_in_early_what_a_start_needs_is_read_and_a_write_waits(tmp_path: Path, gate: threading.Event) -> None:
    closed_store(tmp_path)
    with later(tmp_path) as store, store.early():
        assert [row.id for row in store.queries()] == [1, 2, 3]
        assert len(store.bundles()) == 1
        assert store.unproven
        threading.Timer(0.05, gate.set).start()
        store.write(Batch(nodes=[node(70)], state=store.state._replace(revision=9)))
        assert not store.unproven


def test_an_error_in_early_is_told_when_the_proof_holds(tmp_path: Path) -> None:
    closed_store(tmp_path)
    with later(tmp_path) as store:
        with pytest.raises(KeyError), store.early():
            raise KeyError
        assert not store.unproven
