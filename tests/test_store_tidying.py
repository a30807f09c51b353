"""What a store puts off is done in quiet moments, and by a commit only where there were none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, query
from engine.rules.files import read_text
from engine.store import Batch, InputRow, State, late, merging, open_store, rows, tidying, writing
from engine.store.sqlite import Store
from engine.watch import keys
from tests.bundles import OBSERVED, RANGE, Statements, in_bundles, in_rows, node, written
from tests.patience import until
from tests.stores import dump, graph

SEVERAL = range(1, 40 * RANGE, RANGE)


class Merges(list[bool]):
    """Of each merge of a log from now on: whether somebody waited for a commit meanwhile."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.sizes: list[int] = []  # of the log, after each commit
        committing = threading.local()
        write = Store.write

        def merge(*given: Any, **named: Any) -> bool:
            self.append(getattr(committing, "now", False))
            return merging.merge(*given, **named)

        def writes(store: Store, batch: Batch) -> None:
            committing.now = True
            try:
                write(store, batch)
            finally:
                committing.now = False
            self.sizes.append(store.files.wal_size())

        patch.setattr(tidying, "merge", merge)
        patch.setattr(Store, "write", writes)


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> Merges:
    """With a limit that a few dozen commits reach."""
    monkeypatch.setattr(tidying, "WAL_LIMIT_BYTES", 800_000)
    return Merges(monkeypatch)


def late_in(store: Store) -> int:
    return late.count_late(store.connection)


# -- a store ---------------------------------------------------------------------------------------------


def test_a_log_is_merged_by_who_tidies_and_no_commit_does_it(tmp_path: Path, merges: Merges) -> None:
    with open_store(tmp_path) as store:
        for revision in range(1, 80):
            store.write(graph(100, revision=revision))
            if store.is_untidy:
                store.tidy()
                assert store.files.wal_size() == 0
                assert not store.is_untidy
        store.check_invariants()
        expected = dump(store)
    assert len(merges) > 2
    assert not any(merges)
    assert max(merges.sizes) < 800_000
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, dump(store)) == ([], False, expected)


def test_a_log_that_nobody_tidies_stays_bounded(tmp_path: Path, merges: Merges) -> None:
    with open_store(tmp_path) as store:
        for revision in range(1, 80):
            store.write(graph(100, revision=revision))
            assert store.files.wal_size() < 800_000 + 200_000
        assert len(merges) > 1
        assert all(merges)


def test_what_is_not_worth_it_is_not_done(tmp_path: Path, merges: Merges) -> None:
    with open_store(tmp_path) as store:
        written(store, *SEVERAL)
        store.checkpoint()
        merges.clear()
        store.write(Batch(inputs=[InputRow(id, b"second") for id in SEVERAL[: late.FEW + 1]]))
        statements = Statements(store)
        store.tidy()
        assert statements.count_of("UPDATE") == statements.count_of("BEGIN") == 0
        assert not merges


def test_stamps_that_came_late_go_to_their_bundles_when_it_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one commit in four with a thousand of them would take half as long again."""
    monkeypatch.setattr(late, "MOST", 80)
    with open_store(tmp_path) as store:
        written(store, *SEVERAL)
        statements = Statements(store)
        for turn in range(8):
            store.write(Batch(inputs=[InputRow(id, b"turn %d" % turn) for id in SEVERAL[turn % 2 :: 2]]))
            assert statements.count_of("UPDATE observed") == 0
            store.tidy()
            assert late_in(store) == 0
            assert statements.count_of("UPDATE observed") == 20
            assert in_bundles(store) == in_rows(store)
            store.check_invariants()
            statements.clear()


def test_a_store_is_untidy_when_the_next_commits_would_have_to_tidy_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", 60)
    with open_store(tmp_path) as store:
        written(store, *SEVERAL)
        seen = []
        for some in (SEVERAL[:20], SEVERAL[20:]):
            store.write(Batch(inputs=[InputRow(id, b"second") for id in some]))
            seen.append((late_in(store), store.is_untidy))
        assert seen == [(20, False), (40, True)]


def test_what_the_host_set_keeps_its_empty_stamp_when_late_ones_go_to_their_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", 80)
    with open_store(tmp_path) as store:
        written(store, *SEVERAL)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in SEVERAL]))
        pinned = node(SEVERAL[3], flags=OBSERVED | rows.PINNED_FLAG)
        store.write(Batch(nodes=[pinned], inputs=[InputRow(SEVERAL[3], b"third")]))
        store.tidy()
        assert late_in(store) == 0
        assert in_bundles(store)[SEVERAL[3]][2] == b""
        store.check_invariants()


@pytest.mark.parametrize("where", ["late_to_bundles", "_write_state"])
def test_interrupted_while_it_is_tidied_a_store_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(late, "MOST", 80)

    def stop(*given: Any) -> int:
        real(*given)
        raise KeyboardInterrupt

    with open_store(tmp_path) as store:
        written(store, *SEVERAL)
        store.write(Batch(inputs=[InputRow(id, b"second") for id in SEVERAL], state=State(7)))
        expected = dump(store)
        real = getattr(writing, where)
        with monkeypatch.context() as patched:
            patched.setattr(writing, where, stop)
            with pytest.raises(KeyboardInterrupt):
                store.tidy()
        assert late_in(store) == 40
        assert dump(store) == expected
        store.check_invariants()
        store.tidy()
        assert late_in(store) == 0
        assert store.state == State(7)
        assert in_bundles(store) == in_rows(store)


def test_a_store_that_was_replaced_is_not_tidied(tmp_path: Path, merges: Merges) -> None:
    """Its seal is that of the other one, and would have been written over."""
    with open_store(tmp_path / "mine") as mine:
        while not mine.is_untidy:
            mine.write(graph(100))
        (tmp_path / "mine").rename(tmp_path / "gone")
        with open_store(tmp_path / "mine") as other:
            other.write(graph(5))
            expected = dump(other)
        mine.tidy()
        assert not merges[:-1]
    with open_store(tmp_path / "mine") as other:
        assert (other.notes, other.audited, dump(other)) == ([], False, expected)


# -- a watch ---------------------------------------------------------------------------------------------

COUNT = 30
TEXT = "a line\n" * 2000


@query
def content(name: str) -> tuple[str, ...]:
    return tuple(read_text(name).splitlines())


@query
def ends() -> tuple[str, ...]:
    """The last line of each file. Each edit writes a text and its lines: 30 KB."""
    return tuple(lines[-1] for lines in each(content, [f"{number}.txt" for number in range(COUNT)]))


def test_a_row_of_watched_edits_has_no_commit_that_merges_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merges: Merges
) -> None:
    """A quiet moment is a short one where a commit would have to do it soon; a long one never comes here."""
    monkeypatch.setattr(keys, "QUIET_SECONDS", 600.0)
    monkeypatch.setattr(keys, "BRIEF_SECONDS", 0.001)
    for number in range(COUNT):
        (tmp_path / f"{number}.txt").write_text(TEXT)
    with Engine(tmp_path / "store", root=tmp_path) as db, db.watch(ends) as watch:
        watch.wait_until_ready(60)
        store = db.store
        assert store is not None
        until(lambda: not store.is_untidy)
        merges.clear()
        for edit in range(60):
            name = tmp_path / f"{edit % COUNT}.txt"
            name.write_text(f"{TEXT}the end {edit}\n")
            db.sync()
            assert db.get(ends)[edit % COUNT] == f"the end {edit}"
            until(lambda: not store.is_untidy)
        db.check_invariants()
    assert len(merges) > 2
    assert not any(merges)


def test_edits_without_end_have_no_commit_that_merges_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merges: Merges
) -> None:
    """No moment is quiet: it is merged between two edits, after the first was told."""
    monkeypatch.setattr(keys, "QUIET_SECONDS", 600.0)
    monkeypatch.setattr(keys, "BRIEF_SECONDS", 600.0)
    for number in range(COUNT):
        (tmp_path / f"{number}.txt").write_text(TEXT)
    with Engine(tmp_path / "store", root=tmp_path) as db, db.watch(ends) as watch:
        watch.wait_until_ready(60)
        store = db.store
        assert store is not None
        store.checkpoint()
        merges.clear()
        for edit in range(60):
            (tmp_path / f"{edit % COUNT}.txt").write_text(f"{TEXT}the end {edit}\n")
            db.sync()
            until(lambda: not store.is_pressing)  # where this thread is quicker than that of the watch
        assert db.get(ends)[-1].startswith("the end")
        db.check_invariants()
    assert len(merges) > 2
    assert not any(merges)
    assert max(merges.sizes) < 800_000


def test_what_a_reader_is_in_the_way_of_is_pressing_again_after_as_much_as_before(
    tmp_path: Path, merges: Merges
) -> None:
    def fill() -> None:
        while not store.is_pressing:
            store.write(graph(100))

    with open_store(tmp_path) as store:
        fill()
        with open_store(tmp_path, read_only=True):
            store.tidy()
            assert (len(merges), store.is_pressing) == (1, False)
            assert store.is_untidy, "a quiet moment will do"
            fill()
            assert store.files.wal_size() > 800_000
        store.tidy()
        assert (store.files.wal_size(), store.is_pressing) == (0, False)
