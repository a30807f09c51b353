"""Of a fold over 100,000 members an edit touches a handful of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import frozen

import engine.tables.kept_fold
from engine import Engine, fold, input, query, table
from engine.store import Batch
from engine.store.canonical import pack
from engine.tables.accumulate import Max, Sum
from tests.folding import ran
from tests.watching import Watch

MANY = 100_000


@frozen
class File:
    path: str


@input
def changed() -> tuple[int, ...]:
    """A handful of files that are another version."""
    return ()


@input
def folders() -> tuple[str, ...]:
    return tuple(f"d{n}" for n in range(MANY // 1000))


@input
def more(folder: str) -> tuple[str, ...]:
    """Files beside the thousand."""
    return ()


@table(each=folders, index=("path",))
def files(folder: str) -> Iterable[File]:
    return [*(File(f"{folder}/{n}") for n in range(1000)), *map(File, more(folder))]


@input
def version(path: str) -> int:
    return 0


@query
def lines(path: str) -> int:
    return len(path) + version(path)


large_sum = fold(each=files.column("path"), of=lines, into=Sum())
large_max = fold(each=files.column("path"), of=lines, into=Max())


class Counted:
    """What is written to the store, by kind of row, and how many rows of folds are read from it."""

    def __init__(self, db: Engine) -> None:
        assert db.store is not None
        self.written: dict[str, int] = {}
        self.read = 0
        self.bytes = 0
        self.close = ExitStack()
        write, blocks, among = db.store.write, db.store.derived.blocks, db.store.derived.members_among

        def count_written(batch: Batch) -> None:
            for name in ("nodes", "readers", "members", "members_gone", "rows", "blocks", "changes"):
                some = len(getattr(batch, name))
                self.written[name] = self.written.get(name, 0) + some
            self.bytes += sum(len(row.data) for row in batch.blocks)
            self.bytes += sum(len(row.value or b"") for row in batch.nodes)
            self.bytes += sum(len(packed) for _, packed in batch.readers)
            write(batch)

        def count_blocks(node: int, several: Any) -> Any:
            found = blocks(node, several)
            self.read += len(found)
            return found

        def count_among(node: int, several: Any) -> Any:
            found = among(node, several)
            self.read += len(found)
            return found

        self.close.enter_context(
            mock.patch.object(type(db.store), "write", lambda _, batch: count_written(batch))
        )
        derived = type(db.store.derived)
        self.close.enter_context(mock.patch.object(derived, "blocks", lambda _, *args: count_blocks(*args)))
        self.close.enter_context(
            mock.patch.object(derived, "members_among", lambda _, *args: count_among(*args))
        )

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close.close()

    @property
    def touched(self) -> int:
        """Rows of the fold: of the changed member, its own, blocks read and written."""
        fold_rows = ("members", "members_gone", "blocks")
        return self.read + sum(self.written.get(name, 0) for name in fold_rows)


def test_one_change_among_100_000_members_touches_a_handful_of_rows(tmp_path: Path) -> None:
    """At most 10 for an inverse, 40 for a tree; the same after a restart; no list of keys is written."""
    total = sum(len(f"d{d}/{n}") for d in range(MANY // 1000) for n in range(1000))
    store = tmp_path / "store"
    with Engine(store, synchronous="NORMAL") as db:
        assert (db.get(large_sum), db.get(large_max)) == (total, len("d99/999"))
        edit_large(db, total, "in the process that built it")
    with Engine(store) as db:
        assert (db.get(large_sum), db.get(large_max)) == (total, len("d99/999"))
        edit_large(db, total, "after a restart")


def edit_large(db: Engine, total: int, when: str) -> None:
    edits: dict[str, tuple[Callable[[], object], int, int, list[str]]] = {
        "changed": (lambda: db.set(version.key("d50/500"), 2), total + 2, 9, ["lines(d50/500)"]),
        "back": (lambda: db.set(version.key("d50/500"), 0), total, 7, ["lines(d50/500)"]),
        "came": (
            lambda: db.set(more.key("d7"), ("d7/new.py",)),
            total + 9,
            9,
            ["files(d7)", "lines(d7/new.py)"],
        ),
        "went": (lambda: db.set(more.key("d7"), ()), total, 7, ["files(d7)"]),
    }
    for name, (edit, wanted_sum, wanted_max, members) in edits.items():
        edit()
        for large, wanted_value, most in ((large_sum, wanted_sum, 10), (large_max, wanted_max, 40)):
            watch = Watch(db)
            with Counted(db) as counted:
                assert db.get(large) == wanted_value
            own = [f"{type(large.__collection__.into).__name__}()"]
            expected = [*members, *own] if large is large_sum else own
            assert set(ran(watch)) <= {*expected, "lines(d7/new.py)"}, (name, when)
            assert len(ran(watch)) <= len(members) + 1
            assert counted.touched <= most, (name, when, large, counted.written, counted.read)
            assert counted.bytes < 60_000, "no list of all members was written"
            assert counted.written.get("nodes", 0) <= 12


def test_a_fold_of_which_many_members_fail_packs_their_list_once_a_commit(store: Path) -> None:
    @query
    def several() -> tuple[int, ...]:
        return tuple(range(500))

    @query
    def at_best(number: int) -> int:
        if version("all") < 0:
            raise ValueError(number)
        return number

    packed = 0

    def counted(value: Any) -> bytes:
        nonlocal packed
        packed += len(value) if isinstance(value, tuple) else 0
        return pack(value)

    best = fold(each=several, of=at_best, into=Max())
    with mock.patch.object(engine.tables.kept_fold, "pack", counted), Engine(store) as db:
        for failing in (False, True, False):
            db.set(version.key("all"), -failing)
            with nullcontext() if not failing else pytest.raises(ValueError, match="0"):
                assert db.get(best) == 499
    assert packed <= 5 * 500
    with Engine(store) as db:
        assert db.get(best) == 499
        db.set(version.key("all"), -1)
        with pytest.raises(ValueError, match="0"):
            db.get(best)
    with Engine(store) as db, pytest.raises(ValueError, match="0"):
        db.get(best)
