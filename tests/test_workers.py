"""Workers: what processes compute is what would be computed here; see docs/parallel.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, each, query
from engine.rules.files import read_text
from tests.workers import SQUARES, Rules, children, graph_of, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()
ROOT = Path(__file__).resolve().parent.parent


def test_members_are_computed_by_several_processes_each_once(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES.replace("note(n)", "note(n); time.sleep(0.01)"))
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        counts, pids = rules.noted()
        assert counts == {str(n): 1 for n in range(40)}
        assert len(pids - {HERE}) == 2
        assert HERE not in pids
        assert db.counts().executed == 41


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


def test_after_a_change_only_what_must_run_goes_out(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query(workers="process")
def parsed(path: str) -> str:
    note(f"parsed {path}"); time.sleep(0.002)  # expensive enough to be asked for
    return read_text(path).strip()

@query(workers="process")
def size(path: str) -> int:
    note(f"size {path}")
    return len(parsed(path))

@query
def total() -> int:
    return sum(each(size, [str(n) for n in range(20)]))
""")
    for n in range(20):
        (tmp_path / str(n)).write_text("a" * n)
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        assert db.get(rules.total) == 190
        rules.noted()
        for n in range(5):
            (tmp_path / str(n)).write_text("a" * n + " ")  # equal once it is parsed
        for n in range(5, 10):
            (tmp_path / str(n)).write_text("b" * (n + 1))
        db.sync()
        before = db.counts()
        assert db.get(rules.total) == 195
        counts, pids = rules.noted()
        wanted = {f"parsed {n}": 1 for n in range(10)} | {f"size {n}": 1 for n in range(5, 10)}
        assert counts == wanted
        assert HERE not in pids
        more = db.counts() - before
        assert (more.executed, more.cut_off) == (16, 5)


def test_changed_code_runs_in_workers_and_equal_values_are_backdated(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.squares)
    rules.file.write_text(rules.file.read_text().replace("return n * n", "return n ** 2"))
    rules.load()
    rules.noted()
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.squares)
        counts, pids = rules.noted()
        assert sum(counts.values()) == 40
        assert HERE not in pids
        assert (db.counts().executed, db.counts().cut_off) == (40, 40)


def test_what_is_expensive_and_known_here_is_asked_for(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query
def shared() -> int:
    note("shared"); time.sleep(0.01)
    return 7

@query(workers="process")
def uses(n: int) -> int:
    return shared() + n

@query
def all_uses() -> tuple[int, ...]:
    return (shared(), *each(uses, range(20)))
""")
    for _ in range(2):
        with Engine(tmp_path / "store", processes=2) as db:
            assert db.get(rules.all_uses) == (7, *range(7, 27))
            db.forget("*uses*")
            assert db.get(rules.all_uses) == (7, *range(7, 27))
    assert rules.noted()[0] == {"shared": 1}


def test_workers_see_what_the_host_set(make: Make, tmp_path: Path) -> None:
    rules = make("""
@input
def cell(n: int) -> int:
    return 0

@query(workers="process")
def both(n: int) -> tuple[int, str]:
    return cell(n), read_text("file")

@query
def all_both() -> tuple[tuple[int, str], ...]:
    return each(both, range(6))
""")
    (tmp_path / "file").write_text("disk")
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        db.set(rules.cell.key(3), 33)
        db.set(read_text.key("file"), "buffer")
        assert db.get(rules.all_both) == tuple((33 * (n == 3), "buffer") for n in range(6))
        db.reset(read_text.key("file"))
        assert db.get(rules.all_both)[3] == (33, "disk")
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        db.forget("*")
        assert db.get(rules.all_both)[3] == (33, "disk")


def test_a_file_that_changes_behind_the_engine_is_one_state_in_the_answer(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query(workers="process")
def seen(n: int) -> str:
    return read_text("file") + str(n)

@query
def all_seen() -> tuple[str, ...]:
    first = read_text("file")
    (LOG.parent / "file").write_text("new" if LOG.parent.joinpath("armed").exists() else first)
    return (first, *each(seen, range(10)))
""")
    (tmp_path / "file").write_text("old")
    (tmp_path / "armed").touch()
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        first, *others = db.get(rules.all_seen)
        assert others == [f"{first}{n}" for n in range(10)]
        db.sync()
        assert set(db.get(rules.all_seen)) == {"new", *(f"new{n}" for n in range(10))}


def test_directory_and_variables_are_those_of_now(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make("""
@query(workers="process", untracked=False)
def around(n: int) -> tuple[str, str | None, str]:
    return os.getcwd(), env("WORKERS_SEE"), os.environ.get("WORKERS_SEE", "")

@query
def all_around() -> tuple[tuple[str, str | None, str], ...]:
    return each(around, range(4))
""")
    with Engine(None, root=tmp_path, processes=2) as db:
        for place in ("one", "two"):
            (tmp_path / place).mkdir()
            monkeypatch.chdir(tmp_path / place)
            monkeypatch.setenv("WORKERS_SEE", place)
            db.sync()
            db.forget("*around*")
            assert db.get(rules.all_around) == ((str(tmp_path / place), place, place),) * 4


# -- tables --------------------------------------------------------------------------------------

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
    monkeypatch.setattr("engine.code.STARTED_NS", 1 << 62)  # the file of the rules is older than this process
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


def test_after_a_collection_and_after_a_lost_store_workers_go_on(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES)
    with Engine(tmp_path / "store", processes=2) as db:
        wanted = db.get(rules.squares)
        db.gc()
        db.forget("*")
        assert db.get(rules.squares) == wanted
        db._core.unsettled = True  # as after an interrupt amid a change
        db.forget("*")
        assert db.get(rules.squares) == wanted
        db.check_invariants()


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


# -- limits and threads --------------------------------------------------------------------------


def test_a_limit_counts_the_keys_that_run_at_a_time(make: Make) -> None:
    rules = make("""
@query(workers="process", limit="one")
def alone(n: int) -> int:
    mine = LOG.with_name("lock")
    descriptor = os.open(mine, os.O_CREAT | os.O_EXCL)  # fails if another one is there
    time.sleep(0.01)
    os.close(descriptor)
    mine.unlink()
    return n

@query
def all_alone() -> tuple[int, ...]:
    return each(alone, range(12))
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.all_alone) == tuple(range(12))


def test_queries_that_wait_do_it_at_the_same_time() -> None:
    meeting = threading.Barrier(4, timeout=20)

    @query(name="workers:waits", workers="thread")
    def waits(n: int) -> int:
        meeting.wait()
        return n

    @query(name="workers:all_wait")
    def all_wait() -> tuple[int, ...]:
        return each(waits, range(8))

    with Engine(None) as db:
        assert db.get(all_wait) == tuple(range(8))
