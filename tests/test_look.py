"""A look finds what differs and changes nothing; taking it makes one revision; `sync` does both for all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Engine, input, observe, query
from engine.attempt import PATIENCE, Gate, insist
from engine.core import Core
from engine.errors import Cancelled
from engine.first_look import load_observed
from engine.locate import find
from engine.look import HANDFUL, SHARE, Looked, look_at, take
from engine.query import info_of
from engine.request import _answer
from engine.rules import files, stat
from engine.rules.files import FileMissing, exists, read_text
from tests.test_threads import run_all

SECONDS = 20.0  # longest wait before a test counts as hanging


@pytest.fixture(autouse=True)
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stamp is believed at once, so that only the stamp itself can show a change."""
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "root").mkdir()
    store = tmp_path / "store" if request.param == "stored" else None
    with Engine(store, root=tmp_path / "root") as engine:
        yield engine


@query
def shouted(path: str) -> str:
    return read_text(path).upper()


def write(db: Engine, **files: str) -> None:
    for name, text in files.items():
        (db.root / name).write_text(text)


def node_of(db: Engine, path: str) -> int:
    node = find(db._core, info_of(read_text), (path,))
    assert node
    return node


def looked(db: Engine, *paths: str, threads: int = 1) -> Looked:
    """A look at some files, or at everything."""
    nodes = [node_of(db, path) for path in paths] if paths else None
    with db._core.sync_lock:
        return look_at(db._core, nodes, threads=threads)


def taken(db: Engine, found: Looked) -> int:
    with db._core.sync_lock:
        return take(db._core, found, "in a test")


def paths_in(found: Looked) -> list[str]:
    return [change.args[0] for change in found.changes]


# -- some of them --------------------------------------------------------------------------------


def test_a_look_at_some_inputs_stamps_and_reads_only_these(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(db, a="1", b="1", c="1")
    for path in "abc":
        db.get(shouted, path)
    write(db, a="2!", b="2!", c="2!")
    stamped: list[str] = []
    lstat = os.lstat

    def counting(path: str) -> os.stat_result:
        stamped.append(os.path.basename(path))
        return lstat(path)

    before = db.counts()
    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", counting)
        found = looked(db, "a", "b")
    assert (paths_in(found), found.retry, found.stamped, found.whole) == (["a", "b"], [], 2, False)
    assert sorted(set(stamped)) == ["a", "b"]
    more = db.counts() - before
    assert (more.stamped, more.read) == (2, 2)
    assert [db.get(shouted, path) for path in "abc"] == ["1", "1", "1"], "it counts before it was taken"
    assert taken(db, found) == 2
    assert [db.get(shouted, path) for path in "abc"] == ["2!", "2!", "1"]
    assert db.sync() == 1
    assert db.get(shouted, "c") == "2!"
    db.check_invariants()


def test_what_did_not_change_is_stamped_and_not_read(db: Engine) -> None:
    write(db, a="1", b="1")
    for path in "ab":
        db.get(shouted, path)
    before = db.counts()
    found = looked(db, "a", "b")
    assert (found.changes, found.retry, found.stamped) == ([], [], 2)
    assert (db.counts() - before).read == 0


def test_nodes_that_are_not_observed_are_left_out(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    reader = find(db._core, info_of(shouted), ("a",))
    assert reader
    with db._core.sync_lock:
        assert look_at(db._core, [reader, node_of(db, "a")]).stamped == 1


def test_what_the_host_set_is_not_looked_at(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    db.set(read_text.key("a"), "set")
    write(db, a="2!")
    assert looked(db, "a").stamped == 0
    assert db.sync() == 0
    assert db.get(shouted, "a") == "SET"


def test_what_the_host_set_after_the_look_is_kept(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    write(db, a="2!")
    found = looked(db, "a")
    db.set(read_text.key("a"), "set")
    assert (paths_in(found), taken(db, found)) == (["a"], 0)
    assert db.get(shouted, "a") == "SET"


def test_equal_content_makes_no_revision_and_is_not_read_again(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    node, revision = node_of(db, "a"), db.revision
    before = db._core.observed[node]
    write(db, a="2")
    write(db, a="1")
    found = looked(db, "a")
    assert (paths_in(found), taken(db, found), db.revision) == (["a"], 0, revision)
    assert db._core.observed[node] not in (before, observe.UNSETTLED)
    assert looked(db, "a").changes == []


def test_a_stamp_that_is_not_settled_is_read_at_every_look(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 10**18)
    write(db, a="1")
    db.get(shouted, "a")
    for _ in range(2):
        found = looked(db, "a")
        assert (paths_in(found), taken(db, found)) == (["a"], 0)
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)
    found = looked(db, "a")
    assert (paths_in(found), taken(db, found)) == (["a"], 0)
    assert looked(db, "a").changes == []


def test_one_look_makes_one_revision(db: Engine) -> None:
    paths = [f"f{number}" for number in range(30)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    revision = db.revision
    write(db, **dict.fromkeys(paths, "2!"))
    assert taken(db, looked(db, *paths)) == 30
    assert db.revision == revision + 1


# -- threads -------------------------------------------------------------------------------------


def test_reading_on_threads_finds_the_same(db: Engine) -> None:
    paths = [f"f{number}" for number in range(3 * SHARE + 1)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **{path: f"2 {path}" for path in paths})
    for path in paths[::7]:
        (db.root / path).unlink()
    before = db.counts()
    alone, many = looked(db), looked(db, threads=4)
    assert paths_in(alone) == paths_in(many) == paths
    assert [change.digest for change in alone.changes] == [change.digest for change in many.changes]
    assert (db.counts() - before).read == 2 * len(paths)
    assert taken(db, many) == len(paths)
    for number, path in enumerate(paths):
        if number % 7:
            assert db.get(shouted, path) == f"2 {path}".upper()
        else:
            with pytest.raises(FileMissing):
                db.get(shouted, path)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("engine-look")] == []


def test_a_handful_is_read_without_threads(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[str] = []
    full_path = files.full_path

    def noting(path: str) -> str:
        readers.append(threading.current_thread().name)
        return full_path(path)

    monkeypatch.setattr(files, "full_path", noting)
    paths = [f"f{number}" for number in range(HANDFUL + 1)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    readers.clear()
    looked(db, *paths[:HANDFUL], threads=2)
    assert set(readers) == {threading.current_thread().name}
    readers.clear()
    looked(db, *paths, threads=2)
    assert all(name.startswith("engine-look") for name in readers)


@pytest.mark.parametrize("threads", [1, 3])
def test_trouble_with_one_file_does_not_stop_the_others(
    db: Engine, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"f{number:03}" for number in range(2 * SHARE)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    full_path = files.full_path

    def failing(path: str) -> str:
        if path == paths[SHARE]:
            raise OSError(errno.EIO, "broken")
        return full_path(path)

    monkeypatch.setattr(files, "full_path", failing)
    found = looked(db, threads=threads)
    assert found.retry == [node_of(db, paths[SHARE])]
    assert paths_in(found) == paths[:SHARE] + paths[SHARE + 1 :]
    assert taken(db, found) == len(paths) - 1
    others = paths[:SHARE] + paths[SHARE + 1 :]
    assert [db.get(shouted, path) for path in others] == ["2!"] * len(others)
    monkeypatch.setattr(files, "full_path", full_path)
    again = looked(db, threads=threads)
    assert (paths_in(again), again.retry, taken(db, again)) == ([paths[SHARE]], [], 1)
    assert db.get(shouted, paths[SHARE]) == "2!"
    db.check_invariants()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_signal_to_end_ends_the_reading(db: Engine, threads: int) -> None:
    paths = [f"f{number}" for number in range(2 * SHARE)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    write(db, **dict.fromkeys(paths, "2!"))
    db._core.stopping = True
    before = db.counts()
    with pytest.raises(KeyboardInterrupt, match="asked to stop"):
        looked(db, threads=threads)
    assert (db.counts() - before).read == 0


# -- what happens meanwhile ----------------------------------------------------------------------


def test_a_look_at_lists_that_were_built_anew_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(shouted, "a")
        (tmp_path / "a").write_text("2!")
        found = looked(db, "a")
        db.gc()
        with pytest.raises(Cancelled):
            taken(db, found)
        assert db.get(shouted, "a") == "2!"


def test_after_an_interrupted_change_only_a_whole_sync_looks(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    node = node_of(db, "a")
    db._core.unsettled = True
    with db._core.sync_lock, pytest.raises(Cancelled):
        look_at(db._core, [node])
    db.sync()
    assert db.get(shouted, "a") == "1"


def test_a_look_without_the_right_to_look_is_refused(db: Engine) -> None:
    with pytest.raises(AssertionError):
        look_at(db._core)


gate = threading.Event()
entered = threading.Event()


@input(observed=True)
def slow_world() -> int:
    if threading.current_thread().name == "looking":
        entered.set()
        gate.wait(SECONDS)
    return 1


def test_a_request_that_lost_patience_waits_for_no_look(tmp_path: Path) -> None:
    """A look waits for patience at its end: a request that held it while waiting for the look would hang."""
    gate.clear()
    entered.clear()
    with Engine(tmp_path / "store") as db:
        core = db._core
        db.get(slow_world)
        looking = threading.Thread(target=db.sync, name="looking", daemon=True)
        tries: list[Gate] = []

        def overtaken(patience: Gate) -> object:
            tries.append(patience)
            if len(tries) <= PATIENCE:
                raise Cancelled
            assert patience is core.patience
            looking.start()
            assert entered.wait(SECONDS)
            core.synced = False  # as after a collection
            threading.Timer(0.05, gate.set).start()
            return _answer(core, info_of(slow_world), (), patience)

        assert run_all(lambda: insist(core, overtaken)) == [1]
        looking.join(SECONDS)
        assert not looking.is_alive()


# -- before the first sync -----------------------------------------------------------------------


def reopened(tmp_path: Path) -> Engine:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert [db.get(shouted, path) for path in "ab"] == ["1", "1"]
        assert db.get(exists, "a")
    (tmp_path / "a").write_text("2!")
    (tmp_path / "b").write_text("2!")
    return Engine(tmp_path / "store", root=tmp_path)


def observed(core: Core) -> set[tuple[str, str]]:
    found = set()
    for node in core.observed:
        info = core.bound[core.graph.query[node]]
        assert info is not None
        found.add((info.function.__name__, core.args_of(node)[0]))
    return found


def test_what_is_observed_is_known_before_the_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        with db._core.lock:
            load_observed(db._core)
        assert observed(db._core) == {("read_text", "a"), ("read_text", "b"), ("exists", "a")}
        assert db.counts().stamped == 0
        assert not db._core.synced
        assert db.sync() == 2
        assert db.get(shouted, "a") == "2!"


def test_a_look_at_some_inputs_is_no_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        with db._core.lock:
            load_observed(db._core)
        node = next(node for node in db._core.observed if db._core.args_of(node) == ("a",))
        with db._core.sync_lock:
            take(db._core, look_at(db._core, [node]), "in a test")
        assert not db._core.synced
        assert [db.get(shouted, path) for path in "ab"] == ["2!", "2!"]
        db.check_invariants()


def test_a_look_at_everything_is_a_first_sync(tmp_path: Path) -> None:
    with reopened(tmp_path) as db:
        found = looked(db)
        assert (sorted(paths_in(found)), found.stamped, found.whole) == (["a", "a", "b"], 3, True)
        assert taken(db, found) == 2
        assert db._core.synced
        before = db.counts()
        assert [db.get(shouted, path) for path in "ab"] == ["2!", "2!"]
        assert (db.counts() - before).stamped == 0


def test_a_reader_of_an_input_that_cannot_be_read_fails_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @query(name="test_look:twice")
    def twice(path: str) -> str:
        return shouted(path) * 2

    (tmp_path / "a").write_text("1")
    with Engine(None, root=tmp_path) as db:
        assert db.get(twice, "a") == "11"
        (tmp_path / "a").write_text("2!")
        full_path = files.full_path
        monkeypatch.setattr(files, "full_path", raising(OSError(errno.EIO, "broken")))
        db.sync()
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                db.get(twice, "a")
        monkeypatch.setattr(files, "full_path", full_path)
        assert db.get(twice, "a") == "2!2!"
        db.check_invariants()


def raising(error: Exception) -> Callable[[str], str]:
    def fail(path: str) -> str:
        raise error

    return fail


class Struck:
    """A lock; an interrupt comes just after it was taken with a timeout, before that is noted anywhere."""

    def __init__(self) -> None:
        self.real = threading.RLock()
        self.release = self.real.release
        self._is_owned = self.real._is_owned  # type: ignore[attr-defined]  # as a Condition asks it

    def acquire(self, timeout: float) -> bool:
        assert self.real.acquire(timeout=timeout)
        raise KeyboardInterrupt

    def __enter__(self) -> bool:
        return self.real.acquire()

    def __exit__(self, *_: object) -> None:
        self.real.release()


def test_an_interrupt_just_after_patience_was_asked_for_keeps_nobody_waiting(db: Engine) -> None:
    db._core.patience = struck = Struck()  # type: ignore[assignment]  # it does what the lock does
    with pytest.raises(KeyboardInterrupt):
        db.sync()
    taken: list[bool] = []

    def other() -> None:
        taken.append(struck.real.acquire(timeout=1.0))
        struck.real.release()

    run_all(other)
    assert taken == [True]
