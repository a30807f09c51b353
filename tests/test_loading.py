"""Definitions that are made again while other threads ask: met whole, and nothing of before stays."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import engine.tables.fold
import engine.tables.table
from engine import Engine, Sum, fold, input, query, table
from engine.errors import BadTable
from engine.loading import modules_that_load
from engine.query import REGISTRY
from tests.half_loaded import HAPPENS, load_again
from tests.threads import run_all
from tests.workers import Rules

ROOT = Path(__file__).resolve().parent.parent
TEXT = """
from attrs import frozen
from engine import Merge, fold, input, query, table
from tests.half_loaded import amid

@input
def keys() -> tuple[int, ...]:
    return 1, 2

@frozen
class Box:
    size: int

    @query
    def shown(self) -> str:
        return f"{self.more()} of {VERSION}"

    amid()

    @query
    def more(self) -> int:
        return self.size + VERSION

@query
def box(n: int) -> Box:
    return made(n)

total = fold(each=keys, of=box, into=Merge(lambda one, other: Box(added(one.size, other.size)), Box(0)))

@query
def report() -> tuple[object, ...]:
    return box(1).shown(), total().size, isinstance(box(2), Box), isinstance(total(), Box)

amid()

def made(n: int) -> Box:
    return Box(n * VERSION)

def added(one: int, other: int) -> int:
    return one + other + VERSION

amid()
VERSION = 0
"""


@pytest.fixture(autouse=True)
def _only_what_is_edited_is_other_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)
    yield
    HAPPENS.clear()


@pytest.mark.parametrize("stored", [False, True])
def test_after_a_module_was_loaded_anew_answers_are_of_all_of_it_whoever_asked_meanwhile(
    stored: bool, tmp_path: Path
) -> None:
    rules = Rules(tmp_path, TEXT, head="")

    def ask() -> None:
        for each in (db, idle):
            for key in (rules.report.key(), rules.Box.shown.key(rules.Box(1))):
                try:
                    each.get(key)
                except Exception:  # whatever a module says that is half loaded
                    continue

    with Engine(tmp_path / "store" if stored else None) as db, Engine(None) as idle, db.snapshot() as old:
        assert db.get(rules.report) == ("0 of 0", 0, True, True)
        HAPPENS.append(lambda: run_all(ask))
        for version in (1, 2):
            rules.file.write_text(TEXT.replace("VERSION = 0", f"VERSION = {version}"))
            load_again(rules.module)
            found = f"{2 * version} of {version}", 3 * version + version, True, True
            assert db.get(rules.report) == found
            assert idle.get(rules.report) == found
            assert old.get(rules.report) == found
            before = db.counts().executed
            assert db.get(rules.report) == found
            assert db.counts().executed == before
            assert not db.verify().differences
            db.check_invariants()


PLUGIN = """
import sys
from engine import query
from tests.half_loaded import amid

@query
def rule(n: int) -> int:
    return n + LATER

amid()
LATER = 1
"""


@query
def importer() -> int:
    module: Any = importlib.import_module("asked_early")
    found: int = module.rule(1) + 1
    return found


@pytest.fixture
def early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Engine]]:
    """What it holds is asked by another thread for what a module gives that is not loaded yet."""
    (tmp_path / "asked_early.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    asked: list[Engine] = []

    def ask() -> None:
        with pytest.raises(NameError):
            asked[-1].get(sys.modules["asked_early"].rule, 1)

    HAPPENS.append(lambda: run_all(ask))
    yield asked
    forget_early()


def forget_early() -> None:
    sys.modules.pop("asked_early", None)
    REGISTRY.pop("asked_early:rule", None)


def test_what_others_asked_of_a_module_before_it_was_loaded_is_not_what_its_importer_is_told(
    early: list[Engine],
) -> None:
    with Engine(None) as db:
        early.append(db)
        assert db.get(importer) == 3
        assert "asked_early" in sys.modules
        db.check_invariants()


def test_nor_is_who_imports_it_in_a_snapshot(early: list[Engine], tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        early.append(db)
        importlib.import_module("asked_early")
    forget_early()
    with Engine(tmp_path / "store") as db, db.snapshot() as old:
        early.append(db)
        assert old.get(importer) == 3
        assert db.get(importer) == 3
        db.check_invariants()


@input(name="loading:keys")
def keys() -> tuple[int, ...]:
    return 1, 2


@frozen
class Row:
    a: int
    b: str


def rows_of(said: int) -> Any:
    @table(each=keys, index=("a",), name="loading:rows")
    def rows(key: int) -> Iterator[Row]:
        yield Row(key, str(said))

    return rows


def total_of(said: int) -> Any:
    return fold(each=keys, of=lines, into=Sum(), name="loading:total", version=said)


@input(name="loading:length")
def length() -> int:
    return 1


@query(name="loading:lines")
def lines(key: int) -> int:
    return key * length()


DEFINED = {
    "table": (rows_of, engine.tables.table, "lookup_of"),
    "fold": (total_of, engine.tables.fold, "_ingredients"),
}


@pytest.mark.parametrize("kind", DEFINED)
def test_a_table_or_fold_that_is_being_defined_again_is_met_whole_or_not_at_all(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"table": rows_of(0), "fold": total_of(0)}

    @query
    def report() -> tuple[object, ...]:
        rows, total = made["table"], made["fold"]
        return rows.first(a=1), rows.count(), rows.of(2), len(rows.failures()), total()

    def answer(said: int, longer: int) -> tuple[object, ...]:
        return Row(1, str(said)), 2, (Row(2, str(said)),), 0, 3 * longer

    define, owner, part = DEFINED[kind]
    define_part = getattr(owner, part)
    met: list[object] = []

    def ask_and_define(*args: Any) -> Any:
        db.set(length, 1 + len(met))
        met.extend(run_all(lambda: db.get(report)))
        return define_part(*args)

    with Engine(None) as db:
        assert db.get(report) == answer(0, 1)
        monkeypatch.setattr(owner, part, ask_and_define)
        made[kind] = define(1)
        assert met
        assert met == [answer(0, 1 + number) for number in range(len(met))]
        assert db.get(report) == answer(1 if kind == "table" else 0, len(met))
        db.check_invariants()


def test_what_a_snapshot_looked_at_itself_is_held_over_a_reload(tmp_path: Path) -> None:
    text = """
from engine import query
from engine.rules.files import read_text
@query
def content() -> str:
    return read_text("a.txt")
"""
    rules = Rules(tmp_path, text, head="")
    (tmp_path / "a.txt").write_text("1")
    with Engine(None, root=tmp_path) as db, db.snapshot() as old:
        assert old.get(rules.content) == "1"  # nobody had read it before
        (tmp_path / "a.txt").write_text("22")
        db.sync()
        rules.file.write_text(text.replace('txt")', 'txt") + "!"'))
        load_again(rules.module)
        assert old.get(rules.content) == "1!"
        assert db.get(rules.content) == "22!"


def test_of_a_table_that_is_refused_nothing_is_registered() -> None:
    before = dict(REGISTRY)
    with pytest.raises(BadTable, match="no such column"):

        @table(each=keys, index=("c",), name="loading:refused")
        def refused(key: int) -> Iterator[Row]:
            yield Row(key, "")

    assert before == REGISTRY


GARBAGE = """
import gc, threading
from engine.loading import modules_that_load
for threshold in range(1, 60):  # one of them lets it be collected while the threads are listed
    held = [threading.local()]
    held.append(held)
    del held
    gc.set_threshold(threshold)
    modules_that_load()
    gc.set_threshold(700)
assert gc.isenabled()
gc.disable()
modules_that_load()
assert not gc.isenabled()
"""


def test_garbage_of_threads_holds_nobody_up() -> None:
    """Python 3.11 waited for itself, for ever."""
    subprocess.run([sys.executable, "-c", GARBAGE], check=True, timeout=300, cwd=ROOT)


def test_who_asks_what_loads_is_held_by_nothing_afterwards() -> None:
    def ask() -> weakref.ref[Rules]:
        rules = Rules.__new__(Rules)
        modules_that_load()
        return weakref.ref(rules)

    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()
