"""Workers: what processes compute is what would be computed here; see docs/parallel.md."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, each, query
from engine.errors import Closed, CycleError, NotImportable, WorkerLost
from engine.rules.files import FileMissing, read_text
from tests.workers import Rules, children, graph_of, is_alive, make, others, wait_until

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()
ROOT = Path(__file__).resolve().parent.parent

SQUARES = """
@query(workers="process")
def square(n: int) -> int:
    note(n)
    return n * n

@query
def squares() -> int:
    return sum(each(square, range(40)))
"""


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


# -- what a worker cannot do ---------------------------------------------------------------------


def test_failures_of_a_class_of_its_own_are_computed_here(make: Make) -> None:
    rules = make("""
class Own(Exception):
    pass

@query(workers="process")
def picky(n: int) -> int:
    note(n)
    if n == 3:
        raise Own("three")
    return n

@query
def all_picky() -> tuple[int, ...]:
    return each(picky, range(6))
""")
    with Engine(None, processes=2) as db:
        with pytest.raises(rules.Own, match="three") as caught:
            db.get(rules.all_picky)
        assert any(one.name == "picky" for one in caught.traceback)
        counts, _ = rules.noted()
        assert counts == {str(n): 1 + (n == 3) for n in range(6)}
        assert db.counts().executed == 7


def test_a_file_that_is_missing_is_an_answer_for_workers_too(make: Make, tmp_path: Path) -> None:
    rules = make("""
from engine.rules.files import FileMissing

@query(workers="process")
def size(n: int) -> int:
    note(n)
    try:
        return len(read_text(f"file{n % 4}"))
    except FileMissing:
        return -1

@query
def sizes() -> tuple[int, ...]:
    return each(size, range(20))
""")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file1").write_text("text")
    found = {}
    for place, processes in (("here", 0), ("there", 2)):
        with Engine(tmp_path / place, root=root, processes=processes) as db:
            assert db.get(rules.sizes) == (-1, 4, -1, -1) * 5
            counts, pids = rules.noted()
            assert counts == {str(n): 1 for n in range(20)}  # none is given back
            assert (HERE in pids) == (not processes)
            db.check_invariants()
            found[place] = graph_of(db)
    assert found["there"] == found["here"]
    (root / "file2").write_text("longer")
    with Engine(tmp_path / "there", root=root, processes=2) as db:
        db.sync()
        assert db.get(rules.sizes) == (-1, 4, 6, -1) * 5
        assert rules.noted()[0] == {str(n): 1 for n in range(2, 20, 4)}
        with pytest.raises(FileMissing):
            db.get(read_text, "file0")


def test_a_query_whose_work_is_known_here_is_sent_no_more(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.held.ASK_US", 10**9)  # nothing is asked for, so all is repeated
    monkeypatch.setattr("engine.parallel.dispatch.ENOUGH_US", 20_000)
    monkeypatch.setattr("engine.parallel.dispatch.START_US", 0)
    rules = make("""
@query(workers="inline")
def slow(n: int) -> int:
    note("slow")
    time.sleep(0.002)
    return n

@query
def quick(n: int) -> int:
    time.sleep(0.0005 if n < 8 else 0)
    return slow(n) + 1

@query
def both() -> int:
    return sum(each(slow, range(400))) + sum(each(quick, range(400)))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.both) == 2 * sum(range(400)) + 400
        counts, _ = rules.noted()
        assert 400 < counts["slow"] < 700  # some were repeated before that was noticed
        assert db.counts().executed == 801


def test_what_prints_exits_or_cannot_be_imported_there_disturbs_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS_HOME", str(HERE))
    rules = make("""
@query(workers="process")
def noisy(n: int) -> int:
    print("noise" * 1000, flush=True)
    os.write(1, b"raw noise")
    return n

@query(workers="process")
def leaves(n: int) -> int:
    if os.environ["WORKERS_HOME"] != str(os.getpid()):
        sys.exit(3)
    return n

@query
def everything() -> tuple[int, ...]:
    return each(noisy, range(6)) + each(leaves, range(6))
""")
    broken = make("""
if os.environ["WORKERS_HOME"] != str(os.getpid()):
    sys.exit("not here")

@query(workers="process")
def fine(n: int) -> int:
    return n

@query
def all_fine() -> tuple[int, ...]:
    return each(fine, range(6))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.everything) == (*range(6), *range(6))
        assert db.get(broken.all_fine) == tuple(range(6))
        (note,) = db.notes()
        assert "cannot be imported by a worker: SystemExit: not here" in note


def test_code_that_was_edited_since_it_was_loaded_stays_here(make: Make) -> None:
    rules = make(SQUARES)
    rules.file.write_text(rules.file.read_text().replace("return n * n", "return -1"))
    with Engine(None, processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert rules.noted()[1] == {HERE}
        assert "another one in a fresh interpreter" in " ".join(db.notes())


def test_code_below_that_was_edited_since_it_was_loaded_is_noticed(make: Make) -> None:
    rules = make("""
@query
def base(n: int) -> int:
    return n

@query(workers="process")
def above(n: int) -> int:
    return base(n)

@query
def all_above() -> tuple[int, ...]:
    return each(above, range(10))
""")
    rules.file.write_text(rules.file.read_text().replace("    return n\n", "    return -n\n"))
    with Engine(None, processes=2) as db:
        assert db.get(rules.all_above) == tuple(range(10))


def test_a_local_query_runs_here_unless_it_says_otherwise() -> None:
    @query(name="workers:local")
    def local(n: int) -> int:
        return n

    @query(name="workers:sure", workers="process")
    def sure(n: int) -> int:
        return n

    @query(name="workers:all_local")
    def all_local() -> tuple[int, ...]:
        return each(local, range(40))

    @query(name="workers:all_sure")
    def all_sure() -> tuple[int, ...]:
        return each(sure, range(4))

    with Engine(None, processes=2) as db:
        assert db.get(all_local) == tuple(range(40))
        with pytest.raises(NotImportable, match="cannot import it"):
            db.get(all_sure)
        assert db._core.transients  # not kept: without processes it has a value
    with Engine(None) as db:
        assert db.get(all_sure) == tuple(range(4))


def test_a_cycle_across_members_is_the_one_that_is_found_here(make: Make) -> None:
    rules = make("""
@query(workers="process")
def ring(n: int) -> int:
    return ring((n + 1) % 4)

@query(workers="process")
def upwards(n: int) -> int:
    return whole() if n == 2 else n

@query
def whole() -> int:
    return sum(each(upwards, range(5)))

@query
def rings() -> int:
    return sum(each(ring, range(4)))
""")
    for asked in (rules.rings, rules.whole):
        paths = []
        for processes in (0, 2):
            with Engine(None, processes=processes) as db:
                with pytest.raises(CycleError) as caught:
                    db.get(asked)
                paths.append(caught.value.path)
                db.check_invariants()
        assert paths[0] == paths[1]


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


# -- what kills, hangs, fills up -----------------------------------------------------------------

DEADLY = """
@query(workers="process")
def risky(n: int) -> int:
    note(n)
    if n == 5:
        {deed}
    return n

@query
def all_risky() -> tuple[int, ...]:
    return each(risky, range(4, 7))

@query
def survey() -> tuple[str, ...]:
    found = []
    try:
        each(risky, range(16))
    except Exception:
        pass
    for n in range(16):
        try:
            found.append(str(risky(n)))
        except Exception as error:
            found.append(type(error).__name__)
    return tuple(found)
"""


def survey(db: Engine, rules: Rules) -> list[str]:
    return list(db.get(rules.survey))


def test_a_key_that_kills_its_worker_fails_and_no_other(make: Make) -> None:
    rules = make(DEADLY.format(deed="os.kill(os.getpid(), signal.SIGKILL)"))
    with Engine(None, processes=2) as db:
        wanted = [str(n) if n != 5 else "WorkerLost" for n in range(16)]
        assert survey(db, rules) == wanted
        counts, pids = rules.noted()
        assert counts["5"] == 2  # once more, alone
        assert HERE not in pids
        with pytest.raises(WorkerLost, match="killed by SIGKILL"):
            db.get(rules.all_risky)


def test_a_worker_that_was_killed_costs_one_retry(make: Make, tmp_path: Path) -> None:
    deed = 'if not LOG.with_name("once").exists(): LOG.with_name("once").touch(); os._exit(9)'
    rules = make(DEADLY.format(deed=deed))
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) for n in range(16)]
        assert rules.noted()[0]["5"] == 2


def test_a_key_that_hangs_is_ended_after_its_timeout(make: Make) -> None:
    text = DEADLY.format(deed="time.sleep(60)").replace('"process"', '"process", timeout=0.5')
    rules = make(text)
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) if n != 5 else "TimedOut" for n in range(16)]
        assert rules.noted()[0]["5"] == 1


def test_a_key_that_fills_the_memory_fails_and_no_other(make: Make) -> None:
    deed = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        bytearray(4 << 30)
"""
    rules = make(DEADLY.format(deed=deed.strip()))
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) if n != 5 else "WorkerLost" for n in range(16)]
        assert HERE not in rules.noted()[1]


def test_where_no_worker_starts_everything_is_computed_here(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make(SQUARES)
    monkeypatch.setattr("engine.parallel.processes._PROGRAM", "import sys; sys.exit(4); {path!r}")
    with Engine(None, processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert "it ended with exit code 4" in " ".join(db.notes())
    assert not children()


# -- ending --------------------------------------------------------------------------------------

SLOW = """
@input
def seed() -> int:
    return 0

@query(workers="process")
def slow(n: int) -> int:
    note("slow")
    base = seed()
    time.sleep(0.05 if base else 30 if n == 7 else 0.01)
    return n + base

@query
def all_slow() -> int:
    return sum(each(slow, range(8)))
"""


def test_a_change_cancels_what_workers_do(make: Make) -> None:
    rules = make(SLOW)
    with Engine(None, processes=2) as db:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(db.get(rules.all_slow)))
        thread.start()
        wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
        db.set(rules.seed.key(), 1)
        thread.join(20)
        assert found == [36]
        db.check_invariants()


@pytest.mark.parametrize("how", ["close", "stop"])
def test_an_engine_that_ends_meanwhile_leaves_no_process(make: Make, how: str) -> None:
    rules = make(SLOW)
    db = Engine(None, processes=2)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            db.get(rules.all_slow)
        except BaseException as error:  # whatever ends it: the test looks at it
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    getattr(db, how)()
    thread.join(20)
    assert isinstance(found[0], Closed if how == "close" else KeyboardInterrupt)
    db.close()
    assert not children()


def test_an_engine_that_is_dropped_leaves_no_process(make: Make) -> None:
    rules = make(SQUARES)
    db = Engine(None, processes=2)
    db.get(rules.squares)
    assert children()
    del db
    gc.collect()
    wait_until(lambda: not children())


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
with Engine(None, processes=2) as db:
    db.get(rules.all_slow)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(
    make: Make, tmp_path: Path, number: signal.Signals
) -> None:
    rules = make(SLOW)
    program = SCRIPT.format(name=rules.name, path=[str(tmp_path), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    _, pids = rules.noted()
    assert pids
    assert process.pid not in pids
    process.send_signal(number)
    process.wait(20)
    wait_until(lambda: not any(map(is_alive, pids)), 5)


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


def test_ctrl_c_ends_a_command_and_its_workers(make: Make, tmp_path: Path) -> None:
    rules = make(SLOW)
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from engine.__main__ import main; main()"
    command = [sys.executable, "-c", start, "run", f"{rules.file}:all_slow", "--processes", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    _, pids = rules.noted()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert process.pid not in pids
    wait_until(lambda: not any(map(is_alive, pids)), 5)


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
