"""The store gives back what was written, one transaction at a time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import Closed, ForkedEngine, StoreDamaged, StoreInUse, StoreReadOnly
from engine.store import (
    GROUP_MARKER,
    Batch,
    InputRow,
    NodeRow,
    QueryRow,
    RevisionRow,
    State,
    checksums,
    fingerprint_of,
    open_store,
    schema,
    tidying,
)
from engine.store import sqlite as store_sqlite
from engine.store.gc import collect
from engine.store.inspect import tables
from engine.store.sqlite import Store

ROOT = Path(__file__).resolve().parent.parent


def test_checksums_by_column_are_those_of_the_rows() -> None:
    ids, texts = [1, 2, 1 << 40], [b"", b"a", b"b" * 3000]
    assert checksums.readers_sums(ids, texts) == list(map(checksums.readers_sum, ids, texts))
    assert checksums.input_sums(ids, texts) == list(map(checksums.input_sum, ids, texts))
    assert checksums.member_sums([7] * 3, ids, texts) == list(map(checksums.member_sum, [7] * 3, ids, texts))
    nodes = [node(1, 2, 3), node(9)._replace(args=b"", fingerprint=b""), node(1 << 40, flags=4)]
    assert checksums.node_sums(list(zip(*nodes, strict=True))) == [
        checksums.node_sum(*row[:11]) for row in nodes
    ]
    keys = [checksums.key_hash(row.query, row.args) for row in nodes]
    assert list(checksums.key_hashes([row.query for row in nodes], [row.args for row in nodes])) == keys


def packed(*ids: int) -> bytes:
    return struct.pack(f"<{len(ids)}I", *ids)


def node(id: int, *dependencies: int, revision: int = 1, value: bytes = b"", flags: int = 0) -> NodeRow:
    value = value or b"value %d" % id
    return NodeRow(
        id, id % 3 + 1, b"args %d" % id, flags, revision, revision, 0, 10 * id, 0,
        fingerprint_of(value), packed(*dependencies), value,
    )  # fmt: skip


def graph(count: int, revision: int = 1) -> Batch:
    """Nodes 1..count, each reading the two before it; three queries; node 1 is an observed input."""
    nodes = [node(i, *range(max(1, i - 2), i), revision=revision) for i in range(1, count + 1)]
    readers = [(i, packed(*range(i + 1, min(count, i + 2) + 1))) for i in range(1, count)]
    return Batch(
        nodes=nodes,
        readers=readers,
        inputs=[InputRow(1, b"stamp")],
        queries=[QueryRow(i, f"m:q{i}", bytes(16), packed(1)) for i in (1, 2, 3)],
        revisions=[RevisionRow(revision, 1e9, 1, "start")],
        state=State(revision, count + 1, 4, packed(2), (revision, 0, 0)),
    )


def dump(store: Store) -> tuple[object, ...]:
    """Everything a store can be asked for."""
    ids = list(range(1, 400))
    return (
        store.state, store.nodes(ids), store.values(ids), store.readers(ids), store.inputs(),
        store.queries(), store.revisions(),
    )  # fmt: skip


def closed_store(directory: Path, revisions: int = 1, count: int = 60) -> tuple[object, ...]:
    """Make a store, close it, and return all that it holds."""
    with open_store(directory) as store:
        for revision in range(1, revisions + 1):
            store.write(graph(count, revision=revision))
        return dump(store)


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    target.chmod(0o700)
    return target


def database(directory: Path) -> Path:
    return directory / "store.db"


def command(code: str, *args: object) -> list[str]:
    """The command of a child process that runs `code` with the helpers of this module at hand."""
    prelude = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\nfrom test_store import *\n"
    )
    return [sys.executable, "-c", prelude + code, *map(str, args)]


def run(code: str, *args: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(code, *args), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


# -- rows ------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_also_after_reopening(tmp_path: Path) -> None:
    batch = graph(50)
    for reopened in (False, True):
        with open_store(tmp_path / "s") as store:
            if not reopened:
                assert store.state == State()
                store.write(batch)
            assert store.notes == []
            expected = {row.id: row._replace(value=None) for row in batch.nodes}
            assert store.nodes(list(range(60))) == expected
            assert store.find(2, b"args 4") == expected[4]
            assert store.find(2, b"args 5") is None
            assert store.find(1, b"args 4") is None
            assert store.values([4, 5, 99]) == {4: b"value 4", 5: b"value 5"}
            assert store.value(4, list(batch.nodes)[3].fingerprint) == b"value 4"
            assert store.value(4, bytes(16)) is None
            assert store.readers([1, 49, 50]) == {1: packed(2, 3), 49: packed(50)}
            assert store.inputs() == [(1, 2, b"args 1", 0, 0, next(iter(batch.nodes)).fingerprint, b"stamp")]
            assert store.queries() == batch.queries
            assert store.nodes_of(1) == list(range(3, 51, 3))
            assert store.revisions() == batch.revisions
            assert store.state == batch.state
            store.check_invariants()


def test_a_row_without_its_value_keeps_it_while_the_fingerprint_is_the_same(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1), node(2)]))
        store.write(Batch(nodes=[node(1)._replace(value=None, verified_at=7)]))
        assert store.values([1]) == {1: b"value 1"}
        assert store.nodes([1])[1].verified_at == 7
        store.write(Batch(nodes=[node(1)._replace(value=None, fingerprint=bytes(16))]))
        assert store.values([1, 2]) == {2: b"value 2"}
        store.check_invariants()


def test_colliding_keys_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "key_hash", lambda query, args: 7)
    monkeypatch.setattr(checksums, "key_hashes", lambda query, args: [7] * len(args))
    with open_store(tmp_path) as store:
        store.write(graph(20))
        assert [store.find(i % 3 + 1, b"args %d" % i) for i in range(1, 22)] == [
            *store.nodes(range(1, 21)).values(),
            None,
        ]


def test_a_node_cannot_change_its_key(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(5))
        before = dump(store)
        with pytest.raises(ValueError, match="new id"):
            store.write(Batch(nodes=[node(1)._replace(args=b"other")], state=State(9)))
        assert dump(store) == before


def test_deleting_takes_input_and_readers_rows_along(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1), node(2, 1)], readers=[(1, packed(2))], inputs=[InputRow(1, b"s")]))
        store.write(Batch(deleted=[1, 2, 77]))
        assert (store.nodes([1, 2]), store.readers([1, 2]), store.inputs()) == ({}, {}, [])
        store.check_invariants()


def test_one_batch_may_hold_every_kind_of_change_twice(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30))
        second = graph(30, revision=2)
        second.nodes = [*second.nodes, list(second.nodes)[4]]
        second.deleted_inputs = [1]
        second.inputs = []
        store.write(second)
        assert store.inputs() == []
        assert {row.changed_at for row in store.nodes(range(1, 31)).values()} == {2}
        assert [row.number for row in store.revisions()] == [2, 1]
        store.check_invariants()


def test_only_the_last_thousand_revisions_are_kept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(revisions=[RevisionRow(i, 1.5, 0, "") for i in range(1, 1001)]))
        store.write(Batch(revisions=[RevisionRow(i, 1.5, 0, "") for i in range(1001, 1011)]))
        assert [row.number for row in store.revisions()] == list(range(1010, 10, -1))
        store.check_invariants()


@pytest.mark.parametrize("value", [b"", b"\0", b"x" * 3_000_000])
def test_values_of_any_size(tmp_path: Path, value: bytes) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1)._replace(value=value, fingerprint=fingerprint_of(value))]))
        assert store.value(1, fingerprint_of(value)) == value


def test_small_nodes_stay_below_two_hundred_bytes(tmp_path: Path) -> None:
    count = 5000
    nodes = [
        NodeRow(i, 3, b"%012d" % i, 1, 90, 99, 0, 500, max(1, i - 9), fingerprint_of(b"v%05d" % i),
                packed(*range(max(1, i - 3), i)), b"v%05d" % i)
        for i in range(1, count + 1)
    ]  # fmt: skip
    readers = [(i, packed(*range(i + 1, min(count, i + 3) + 1))) for i in range(1, count)]
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=nodes, readers=readers))
        store.checkpoint()
        assert store.path.stat().st_size / count < 200
        store.check_invariants()


# -- transactions, threads, processes ---------------------------------------------------------------


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(20))
        before = dump(store)
        second = graph(20, revision=2)
        second.queries.append(QueryRow(9, "m:q1", b"", b""))  # the name is taken
        with pytest.raises(sqlite3.IntegrityError):
            store.write(second)
        assert dump(store) == before
        store.write(graph(20, revision=3))
        assert store.state.revision == 3
        store.check_invariants()


@pytest.mark.parametrize("moment", range(12))
def test_an_interrupt_stays_an_interrupt_and_the_store_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """M13: at the N-th SQL call of a commit, also right after COMMIT."""
    with open_store(tmp_path) as store:
        store.write(graph(20))
        real = store._connection
        calls = 0

        class Interrupting:
            in_transaction = property(lambda self: real.in_transaction)
            rollback = real.rollback

            def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
                nonlocal calls
                calls += 1
                if calls == moment and sql != "COMMIT":
                    raise KeyboardInterrupt
                result = real.execute(sql, *args)  # type: ignore[arg-type]  # as they come
                if sql == "COMMIT" and moment == 0:
                    raise KeyboardInterrupt
                return result

            executemany = real.executemany

        with monkeypatch.context() as patch:
            patch.setattr(store, "_connection", Interrupting())
            with pytest.raises(KeyboardInterrupt):
                store.write(graph(20, revision=2))
        assert store.state.revision == (2 if moment == 0 else 1)
        store.check_invariants()
        store.write(graph(20, revision=3))
        store.check_invariants()


def test_a_reader_sees_whole_revisions_and_moves_on_when_told(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30, revision=1))
        with open_store(tmp_path, read_only=True) as reader:
            first = dump(reader)
            for revision in (2, 3):
                store.write(graph(30, revision=revision))
            assert dump(reader) == first
            assert reader.refresh()
            assert dump(reader) == dump(store)
            assert not reader.refresh()
            with pytest.raises(StoreReadOnly):
                reader.write(graph(30))
            with pytest.raises(sqlite3.OperationalError):
                reader.connection.execute("DELETE FROM node")
            reader.check_invariants()


def test_a_reader_in_another_process_never_sees_half_a_commit(tmp_path: Path) -> None:
    writer = run(
        """
store = open_store(Path(sys.argv[1]))
for revision in range(1, 10**6):
    store.write(graph(40, revision=revision))
    if revision == 1: print("go", flush=True)
""",
        tmp_path,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        seen: set[int] = set()
        with open_store(tmp_path, read_only=True) as reader:
            began = time.monotonic()
            while (lasted := time.monotonic() - began) < 1 or (len(seen) < 4 and lasted < 60):
                revisions = {row.changed_at for row in reader.nodes(range(1, 41)).values()}
                assert revisions == {reader.state.revision}
                seen |= revisions
                reader.refresh()
        assert len(seen) > 3
    finally:
        writer.kill()
        writer.communicate()


def test_a_reader_that_leaves_last_does_not_break_the_seal(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(graph(10))
    reader = open_store(tmp_path, read_only=True)
    store.close()
    reader.close()
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, again.state.revision) == ([], False, 1)


def test_a_log_that_grows_too_large_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "WAL_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(tidying, "WAL_WARNING_BYTES", 300_000)
    with open_store(tmp_path) as store:
        for revision in range(1, 60):
            store.write(graph(100, revision=revision))
            assert store.files.wal_size() < 200_000
        with open_store(tmp_path, read_only=True):
            for revision in range(60, 120):
                store.write(graph(100, revision=revision))
        assert len(store.notes) == 1
        assert "log" in store.notes[0]
        assert store.checkpoint()
        assert store.files.wal_size() == 0
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, again.state.revision) == ([], False, 119)


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_closing_merges_or_leaves_the_log_and_never_needs_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(store_sqlite, "CLOSE_FILE_BYTES", limit)
    for revision in range(1, 5):
        with open_store(tmp_path) as store:
            assert (store.notes, store.audited, store.state.revision) == ([], False, revision - 1)
            store.write(graph(20, revision=revision))
        assert (store.files.wal_size() > 0) == (limit == 0)


def test_a_store_that_is_forgotten_is_closed_without_a_merge(tmp_path: Path) -> None:
    code = "store = open_store(Path(sys.argv[1])); store.write(graph(20))"
    child = run(code, tmp_path)
    assert child.communicate(timeout=240)[1] == ""
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, store.state.revision) == ([], False, 1)


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    with open_store(tmp_path) as store:
        store.write(graph(60))

        def work(number: int) -> None:
            try:
                for turn in range(30):
                    if number == 0:
                        store.write(graph(60, revision=turn))
                    assert len(store.nodes(range(1, 61))) == 60
                    assert store.find(2, b"args 4") is not None
            except BaseException as error:  # reported below, in the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        store.check_invariants()


def test_after_fork_the_child_is_refused_and_the_parent_unharmed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(10))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.write(graph(10, revision=5))
            except ForkedEngine:
                code = 42
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        store.write(graph(10, revision=2))
    with open_store(tmp_path) as again:
        assert (again.state.revision, again.notes, again.audited) == (2, [], False)


def test_after_fork_a_child_may_open_the_store_itself(tmp_path: Path) -> None:
    """The threads that hash a large file are the parent's."""
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1, value=bytes(30_000_000))]))
    open_store(tmp_path).close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open_store(tmp_path) as store:
                code = 40 + len(store.nodes([1]))
        finally:
            os._exit(code)
    end = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(found[1]) == 41


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        store.close()
        open_store(tmp_path).close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.find(1, b"")
    with pytest.raises(Closed):
        store.write(Batch())


# -- one writer ---------------------------------------------------------------------------------------


def test_the_second_writer_is_told_who_has_the_store_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "hard").mkdir(mode=0o700)
    holder = run(
        "store = open_store(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()", tmp_path / "s"
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.link(tmp_path / "s/store.db", tmp_path / "hard/store.db")
        for path in (tmp_path / "s", tmp_path / "link", tmp_path / "hard"):
            start = time.monotonic()
            with pytest.raises(StoreInUse) as caught:
                open_store(path)
            assert time.monotonic() - start < 10  # half a second, unless the machine is busy
            if path.name != "hard":
                assert f"process {holder.pid}, since 2" in str(caught.value)
            assert caught.value.exit_code == 75
        open_store(tmp_path / "s", read_only=True).close()
        holder.kill()
        holder.wait()
        os.unlink(tmp_path / "hard/store.db")
        with open_store(tmp_path / "link") as store:  # at once, although the file still names the dead one
            assert store.notes == []
    finally:
        holder.kill()
        holder.communicate()


def test_of_two_racing_processes_exactly_one_wins(tmp_path: Path) -> None:
    code = """
try:
    store = open_store(Path(sys.argv[1]))
except StoreInUse:
    print("lost")
else:
    print("won", flush=True)
    sys.stdin.read()
"""
    for turn in range(2):
        children = [run(code, tmp_path / str(turn)) for _ in range(2)]
        words = []
        for child in children:
            assert child.stdout is not None
            words.append(child.stdout.readline().strip())
        assert sorted(words) == ["lost", "won"]
        for child in children:
            child.communicate()


# -- gc, inspection ------------------------------------------------------------------------------------


def test_collecting_keeps_exactly_what_roots_reach(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [node(1), node(2), node(3, 1, GROUP_MARKER, 2), node(4, 2, flags=8 | 1), node(5, 4), node(6)]
        readers = [(1, packed(3)), (2, packed(3, 4)), (4, packed(5))]
        inputs = [InputRow(1, b"a"), InputRow(2, b"b")]
        suspects = packed(1, 2 | GROUP_MARKER, 4)
        store.write(Batch(nodes, readers, inputs, state=State(1, 7, 2, suspects, (1, 0, 0))))
        done = collect(store)
        assert (done.kept, done.deleted, done.inputs_deleted) == (2, 4, 1)
        assert set(store.nodes(range(10))) == {2, 4}
        assert store.readers(range(10)) == {2: packed(4)}
        assert [row.id for row in store.inputs()] == [2]
        assert store.state == State(1, 7, 2, packed(2 | GROUP_MARKER, 4), (1, 0, 0))
        store.check_invariants()
        assert collect(store).deleted == 0


def test_collecting_gives_space_back_and_the_store_stays_sealed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        batch = graph(3000)
        batch.nodes = [row._replace(flags=8) if row.id == 10 else row for row in batch.nodes]
        store.write(batch)
        done = collect(store)
        assert (done.kept, done.compacted) == (10, True)
        assert done.bytes_after < done.bytes_before / 5
        store.check_invariants()
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, len(again.nodes(range(1, 3001)))) == ([], False, 10)


def test_a_deep_chain_is_collected_without_recursion(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        nodes = [
            node(i, *([i - 1] if i > 1 else []), flags=8 if i == 20_000 else 0) for i in range(1, 20_001)
        ]
        store.write(Batch(nodes))
        assert collect(store).kept == 20_000


def test_statistics_are_numbers_names_and_text(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30))
        found = store.statistics()
        assert {table: count for table, count in found.rows.items() if count} == {
            "node": 30, "readers": 29, "input": 1, "observed": 1, "query": 3, "revision": 1,
        }  # fmt: skip
        assert found.nodes_of == {"m:q1": 10, "m:q2": 10, "m:q3": 10}
        assert found.files["store.db"] > 0
        assert (found.revision, found.version, found.sqlite) == (1, schema.VERSION, sqlite3.sqlite_version)
        assert found.as_dict()["sealed"] is True


def test_sqlite_utils_reads_a_read_only_store_and_is_not_imported_before(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with open_store(tmp_path, read_only=True) as store:
        assert set(tables(store).table_names()) == {
            *("node", "readers", "input", "query", "revision", "state"),
            *("collection", "member", "block", "change", "cursor"),
            *("version", "earlier", "observed"),
        }
    with open_store(tmp_path) as store, pytest.raises(StoreReadOnly):
        tables(store)
    child = run("open_store(Path(sys.argv[1])).close(); assert 'sqlite_utils' not in sys.modules", tmp_path)
    # this module imports `tables`, which must not import it either
    assert child.communicate(timeout=240)[1] == ""


def test_the_schema_in_the_file_is_the_documented_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        found = store.connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
        assert "".join(f"{text};\n" for (text,) in found) == store.schema() == schema.text()


def test_the_package_has_one_name_only(tmp_path: Path) -> None:
    child = run("import store", tmp_path)
    assert "import it as engine.store" in child.communicate(timeout=240)[1]


def test_files_are_private_and_ignored_by_git(tmp_path: Path) -> None:
    with open_store(tmp_path / "a/.engine") as store:
        store.write(graph(3))
        assert store.directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in store.directory.iterdir()} == {0o600}
        assert (store.directory / ".gitignore").read_text() == "*\n"


def test_opening_many_nodes_walks_nothing(tmp_path: Path) -> None:
    """O4: the time to open grows with the bytes to hash only. Measured for 300,000 nodes: 15 ms."""
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(i) for i in range(1, 20_001)]))
    statements: list[str] = []
    with open_store(tmp_path) as store:
        store.connection.set_trace_callback(statements.append)
        assert store.state.revision == 0
        assert statements == []
        assert not store.audited


def test_rows_that_no_longer_match_their_checksum_are_not_given_out(tmp_path: Path) -> None:
    changes: list[tuple[str, Callable[[Store], object]]] = [
        ("UPDATE node SET verified_at = 9 WHERE id = 3", lambda s: s.nodes([2, 3])),
        ("UPDATE node SET dependencies = zeroblob(8) WHERE id = 3", lambda s: s.find(1, b"args 3")),
        ("UPDATE node SET flags = 'x' WHERE id = 3", lambda s: s.nodes([3])),
        ("UPDATE node SET value = 'x' WHERE id = 3", lambda s: s.values([3])),
        ("UPDATE node SET value = x'00' WHERE id = 3", lambda s: s.value(3, fingerprint_of(b"value 3"))),
        ("UPDATE readers SET packed = x'01000000' WHERE dependency = 3", lambda s: s.readers([3])),
        ("UPDATE input SET stamp = x'00'", lambda s: s.inputs()),
        ("DELETE FROM node WHERE id = 1", lambda s: s.inputs()),
        ("UPDATE query SET name = 'm:other' WHERE id = 1", lambda s: s.queries()),
        ("UPDATE revision SET changed = 2", lambda s: s.revisions()),
        ("UPDATE state SET revision = 2", lambda s: s.check_invariants()),
        ("DELETE FROM node WHERE id = 20", lambda s: s.check_invariants()),
        ("UPDATE node SET key = 1 WHERE id = 20", lambda s: s.check_invariants()),
        ("DELETE FROM readers WHERE dependency = 4", lambda s: s.check_invariants()),
        ("DELETE FROM revision", lambda s: s.check_invariants()),
    ]
    for number, (statement, look) in enumerate(changes):
        with open_store(tmp_path / str(number)) as store:
            store.write(graph(20))
            store.connection.execute(statement)
            with pytest.raises(StoreDamaged):
                look(store)


def test_starting_over_goes_on_with_an_empty_store(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(20))
        store.start_over("node 3 is missing")
        assert store.state == State()
        assert store.nodes([1]) == {}
        assert "node 3 is missing" in store.notes[-1]
        assert "computed again" in store.notes[-1]
        store.write(graph(5))
        store.check_invariants()
    assert len(list(tmp_path.glob("store.corrupt-*Z"))) == 1
