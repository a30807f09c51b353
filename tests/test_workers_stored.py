"""What is stored with processes is what one process stores: values, graphs and rows, whatever hash seeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules, children, graph_of, make, others

__all__ = ["make", "others"]  # fixtures

Make = Callable[[str], Rules]
HERE = os.getpid()
ROOT = Path(__file__).resolve().parent.parent


def test_what_is_stored_is_what_one_process_stores(make: Make, tmp_path: Path) -> None:
    rules = make("""
@input
def factor() -> int:
    return 2

@query
def words(path: str) -> list[str]:
    return read_text(path).split()

@query(workers="process")
def count(path: str) -> int:
    if path == "3":
        raise ValueError("three", path)
    return len(words(path)) * factor() + sum(each(letters, words(path)))

@query
def letters(word: str) -> int:
    return len(word)

@query
def counts() -> tuple[int, ...]:
    try:
        return each(count, [str(n) for n in range(12)])
    except ValueError:
        return ()
""")
    for n in range(12):
        (tmp_path / str(n)).write_text("word " * n)
    found = []
    for processes in (0, 2):
        with Engine(tmp_path / f"store{processes}", root=tmp_path, processes=processes) as db:
            seen = [db.get(rules.counts)]
            db.set(rules.factor.key(), 3)
            seen.append(db.get(rules.counts))
            for n in (1, 5, 7):
                (tmp_path / str(n)).write_text(f"other words {processes}")
            db.sync()
            seen += [db.get(rules.counts), [db.get(rules.count, str(n)) for n in range(12) if n != 3]]
            db.check_invariants()
            assert db.store is not None
            db.store.check_invariants()
            found.append((seen, db.counts().executed, db.revision))
        for n in range(12):
            (tmp_path / str(n)).write_text("word " * n)
        assert found[0] == found[-1]
    graphs = []
    for processes in (0, 2):
        with Engine(tmp_path / f"again{processes}", root=tmp_path, processes=processes) as db:
            db.get(rules.counts)
        with Engine(tmp_path / f"again{processes}", root=tmp_path) as db:
            db.get(rules.counts)
            assert db.counts().executed == 0
            graphs.append(graph_of(db))
    assert graphs[0] == graphs[1]


TABLES = """
class Row(NamedTuple):
    name: str
    n: int

@query
def numbers() -> tuple[int, ...]:
    return tuple(range(30))

@input
def offset() -> int:
    return 0

@table(each=numbers, index=("name",), workers="process")
def rows(n: int) -> tuple[Row, ...]:
    note(n)
    if n == 7:
        raise ValueError("seven")
    return (Row(f"r{(n + offset()) % 5}", n),)

@query(workers="process")
def looks(n: int) -> int:
    return len(rows.where(name=f"r{n}")) * 100 + rows.count(name="r1")

@query
def all_looks() -> tuple[int, ...]:
    return each(looks, range(6))
"""


def test_tables_are_filled_and_looked_into_by_workers(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "engine.code.fingerprint.STARTED_NS", 1 << 62
    )  # the file of the rules is older than this process
    rules = make(TABLES)
    found = []
    for processes in (0, 2):
        with Engine(tmp_path / f"store{processes}", processes=processes) as db:
            seen = [db.get(rules.all_looks), db.get(rules.rows.failures), db.get(rules.rows.where)]
            counts, pids = rules.noted()
            assert counts == {str(n): 1 for n in range(30)}
            assert (HERE in pids) == (processes == 0)
            db.set(rules.offset.key(), 1)
            seen += [db.get(rules.all_looks), db.get(rules.rows.where)]
            assert not db.audit(rules.rows).differences
            rules.noted()
            db.check_invariants()
            assert db.store is not None
            db.store.check_invariants()
            found.append((seen, db.counts().executed))
    assert found[0] == found[1]


SEEDED = """
import sys
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
with Engine({store!r}, processes=2) as db:
    db.get(rules.everything)
    print(sorted((name, what) for name, what in rules.graph_of(db).items()))
"""


def test_what_is_stored_does_not_depend_on_hash_seeds(make: Make, tmp_path: Path) -> None:
    rules = make("""
from tests.workers import graph_of

@query(workers="process")
def words(n: int) -> frozenset[str]:
    return frozenset(f"{n}{letter}" for letter in "abcdefgh")

@query(workers="process")
def lists(n: int) -> dict[str, set[int]]:
    return {word: {n, n * 7, n * 31} for word in words(n)}

@query
def everything() -> int:
    return len(each(lists, range(12)))
""")
    found = set()
    for seed in ("1", "2"):
        store = str(tmp_path / f"store{seed}")
        program = SEEDED.format(name=rules.name, path=[str(tmp_path), str(ROOT)], store=store)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.check_output([sys.executable, "-c", program], env=environment))
    assert len(found) == 1


def test_the_code_graph_of_a_tree_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.rules.python.graph import code_graph

    monkeypatch.setattr("engine.parallel.choose.WORTH_US", 0)
    monkeypatch.setattr("engine.parallel.dispatch.WORTH_US", 0)
    monkeypatch.setattr("engine.parallel.dispatch.START_US", 0)
    root = tmp_path / "root"
    for folder in ("a", "b"):
        shutil.copytree(ROOT / "store", root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (root, *root.rglob("*")):
        os.utime(path, (1, 1))
    time.sleep(0.05)  # so that stamps can be trusted in all of the runs, or in none
    graphs = []
    for processes in (0, 2):
        with Engine(tmp_path / f"store{processes}", root=root, processes=processes) as db:
            value = db.get(code_graph)
            (root / "a" / "lock.py").write_text("def other() -> int: return 1\n")
            db.sync()
            graphs.append((value, db.get(code_graph), db.counts().executed, graph_of(db)))
            assert bool(children()) == (processes > 0)
            db.check_invariants()
        shutil.copy(ROOT / "store" / "lock.py", root / "a" / "lock.py")
    assert graphs[0][:3] == graphs[1][:3]
    assert graphs[0][3] == graphs[1][3]
