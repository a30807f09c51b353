"""GraphUpdater, alone: what a pass tells of what ran, what differs and what fails; and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, mark, query, request, table
from engine.event import What
from engine.history import History
from engine.look import take
from engine.recover import reopen
from engine.rules.files import FileError, read_text
from engine.watch import graph_updater
from engine.watch.delta_processor import DeltaProcessor
from engine.watch.graph_updater import MOST_KEYS, GraphUpdater, Pass
from tests.watch_world import key, short

TROUBLE: list[OSError] = []
ORDER: list[str] = []


@query
def parsed(path: str) -> tuple[str, ...]:
    """The lines of a file without its comments."""
    ORDER.append(path)
    return tuple(line for line in read_text(path).split("\n") if not line.startswith("#"))


@query
def count(path: str) -> int:
    return len(parsed(path))


@query
def total() -> int:
    return sum(count(path) for path in ("a.txt", "b.txt"))


@query
def shaky() -> str:
    """Fails as long as there is trouble."""
    text = read_text("a.txt")
    if TROUBLE:
        raise TROUBLE.pop()
    return text


@query
def number(path: str) -> int:
    return int(read_text(path))


@query
def lenient() -> int:
    try:
        return number("a.txt")
    except ValueError:
        return -1


@query
def listed() -> tuple[str, ...]:
    return tuple(read_text("c.txt").split())


@query
def summed() -> int:
    return sum(number(path) for path in listed())


@query
def paths() -> tuple[str, ...]:
    return ("a.txt", "b.txt")


@frozen
class Figure:
    figure: int


@table(each=paths)
def figures(path: str) -> tuple[Figure, ...]:
    text = read_text(path)
    return () if text.startswith("one") else (Figure(int(text)),)


class Rig:
    def __init__(self, root: Path, store: Path | None = None) -> None:
        self.root = root
        for name in "abc":
            (root / f"{name}.txt").write_text("one\ntwo")
        self.db = Engine(store, root=root)
        self.core = self.db._core
        self.records: list[tuple[What, str, str | None]] = []
        self.updater = GraphUpdater(self.core, lambda *record: self.records.append(record[:3]))
        self.updater.begin()
        self.processor = DeltaProcessor(self.core, threads=1)

    def watch(self, *keys: Any) -> Pass:
        self.updater.watched.update(dict.fromkeys(keys))
        done = self.updater.refresh()
        self.updater.telling = True
        self.records.clear()
        ORDER.clear()
        return done

    def write(self, name: str, text: str) -> list[int]:
        """Save a file and put it in place as a batch does. Returns the inputs that differ."""
        (self.root / name).write_text(text)
        with self.core.sync_lock:
            looked = self.processor.look(None)
            known = self.core.graph.fingerprint
            differing = [one.node for one in looked.changes if known[one.node] != one.digest]
            take(self.core, looked, "a test")
        return differing

    def after(self, name: str, text: str) -> Pass:
        return self.updater.refresh(self.write(name, text))

    def ran(self) -> set[str]:
        return {
            f"{short(name + '()')[:-2]} {path}" for what, name, path in self.records if what.name != "READ"
        }


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    TROUBLE.clear()
    rig = Rig(tmp_path)
    yield rig
    rig.processor.close()
    rig.db.close()


def names(changes: Any) -> list[str]:
    return sorted(short(one.key) for one in changes)


def test_the_first_pass_tells_no_keys(rig: Rig) -> None:
    done = rig.watch(key(total))
    assert not done.changed
    assert not done.inputs
    assert done.counts.executed == 5


def test_exactly_the_keys_that_differ_are_told_with_both_fingerprints(rig: Rig) -> None:
    rig.watch(key(total))
    done = rig.after("a.txt", "one\ntwo\nthree")
    assert names(done.inputs) == ["read_text('a.txt')"]
    assert names(done.changed) == ["count('a.txt')", "parsed('a.txt')", "total()"]
    assert all(one.before and one.after and one.before != one.after for one in done.changed)
    assert done.counts.executed == 3
    assert done.revision == rig.db.revision


def test_a_comment_runs_the_query_of_its_file_and_no_other(rig: Rig) -> None:
    rig.watch(key(total))
    done = rig.after("a.txt", "# a comment\none\ntwo")
    assert names(done.inputs) == ["read_text('a.txt')"]
    assert not done.changed
    assert (done.counts.executed, done.counts.cut_off) == (1, 1)
    assert rig.ran() == {"parsed a.txt"}


def test_a_file_that_is_saved_as_it_was_is_nothing(rig: Rig) -> None:
    rig.watch(key(total))
    before = rig.db.revision
    done = rig.after("a.txt", "one\ntwo")
    assert (done.inputs, done.changed, done.counts.executed) == ([], [], 0)
    assert done.revision == before


def test_two_changes_before_a_pass_are_told_as_one(rig: Rig) -> None:
    rig.watch(key(total))
    first = rig.after("a.txt", "one")
    rig.write("a.txt", "one\ntwo\nthree")
    done = rig.after("a.txt", "one\ntwo\nthree\nfour")
    assert names(done.inputs) == ["read_text('a.txt')"]
    assert done.inputs[0].before == first.inputs[0].after


def test_a_change_and_its_undoing_before_a_pass_are_not_told(rig: Rig) -> None:
    rig.watch(key(total))
    rig.write("a.txt", "something else")
    done = rig.after("a.txt", "one\ntwo")
    assert (done.inputs, done.changed) == ([], [])


def test_one_failing_key_stops_no_other(rig: Rig) -> None:
    rig.watch(key(count, "a.txt"), key(total), key(count, "c.txt"))
    (rig.root / "a.txt").unlink()
    done = rig.after("c.txt", "one")
    assert {short(one.key) for one in done.failures if one.watched} == {"count('a.txt')", "total()"}
    assert "count('c.txt')" in names(done.changed)
    assert rig.db.get(count, "c.txt") == 1
    with pytest.raises(FileError):
        rig.db.get(total)
    healed = rig.after("a.txt", "back")
    assert not healed.failures
    assert rig.db.get(total) == 3


def test_a_failure_that_is_put_back_is_told_as_one_that_ran(rig: Rig) -> None:
    rig.core.history = History(4)
    rig.watch(key(lenient))
    for text, failing in (("x", 1), ("7", 0), ("x", 1)):
        done = rig.after("a.txt", text)
        assert [short(one.key) for one in done.failures] == ["number('a.txt')"] * failing
    assert done.counts.restored == 2


def test_transient_failures_are_handed_back_to_be_tried_again(rig: Rig) -> None:
    rig.watch(key(shaky), key(total))
    TROUBLE.append(OSError("EIO"))
    done = rig.after("a.txt", "new")
    assert [short(str(one)) for one in done.retry] == ["shaky()"]
    assert rig.updater.failing
    done = rig.updater.refresh()
    assert not done.retry
    assert not rig.updater.failing
    assert names(done.changed) == ["shaky()"]


def test_a_failing_key_that_is_not_watched_is_told_with_its_error_and_not_by_its_own_name(rig: Rig) -> None:
    rig.watch(key(lenient))
    failed = rig.after("a.txt", "three").failures
    assert names(failed) == ["number('a.txt')"]
    assert failed[0].error.startswith("ValueError: invalid literal for int() with base 10: 'three', at ")


def test_a_failure_of_what_nobody_needs_any_more_is_not_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mark, "BUDGET", 0)  # as in a large graph: what is cheap is tried
    for name, text in {"a": "1", "b": "2", "c": "a.txt b.txt"}.items():
        (rig.root / f"{name}.txt").write_text(text)
    rig.watch(key(summed))
    rig.write("b.txt", "junk")
    done = rig.after("c.txt", "a.txt")
    assert (done.counts.failed, done.failures) == (1, [])
    assert rig.db.get(summed) == 1
    assert [short(one.key) for one in rig.after("c.txt", "b.txt").failures] == ["summed()"]


@pytest.mark.parametrize("store", [None, ".engine"])
def test_a_failing_member_of_a_table_is_told_with_how_it_failed(tmp_path: Path, store: str | None) -> None:
    rig = Rig(tmp_path, None if store is None else tmp_path / store)
    rig.watch(key(figures.count))
    (failed,) = rig.after("b.txt", "four").failures
    rig.processor.close()
    rig.db.close()
    assert short(failed.key) == "figures('b.txt')"
    assert failed.error == "ValueError: invalid literal for int() with base 10: 'four'"


def test_what_rests_on_the_last_edit_comes_first(rig: Rig) -> None:
    keys = [key(count, name) for name in ("a.txt", "b.txt", "c.txt")]
    rig.watch(*keys)
    edited = rig.write("c.txt", "three")
    assert rig.updater.in_order(edited) == [keys[2], keys[0], keys[1]]
    rig.write("a.txt", "one")
    rig.updater.refresh(edited)
    assert ORDER == ["c.txt", "a.txt"]


def test_a_journal_of_a_long_build_is_folded(rig: Rig) -> None:
    rig.watch(key(total))
    for number in range(20):
        rig.write("a.txt", f"{number}")
        rig.db.get(total)
        rig.updater.digest()
    assert rig.core.telling.journal is not None
    assert not rig.core.telling.journal
    done = rig.updater.refresh()
    assert names(done.changed) == ["count('a.txt')", "parsed('a.txt')", "total()"]


def test_more_changes_than_the_limit_are_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_KEYS > 100
    monkeypatch.setattr("engine.watch.graph_updater.MOST_KEYS", 2)
    rig.watch(key(total))
    done = rig.after("a.txt", "one\ntwo\nthree")
    assert len(done.inputs) + len(done.changed) == 2
    assert done.omitted == 2


def test_a_pass_that_is_not_wanted_any_more_ends_as_a_stop(rig: Rig) -> None:
    rig.watch(key(total))
    rig.write("a.txt", "new")
    with pytest.raises(KeyboardInterrupt):
        rig.updater.refresh((), lambda: False)
    assert rig.db.get(total) == 3


def test_what_was_collected_of_lists_that_are_no_more_is_lost_whoever_looks_at_the_journal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists are built anew between a commit and its telling, and the other thread digests just then."""
    rig.watch(key(total))

    def overtaken(*asked: Any) -> Any:
        found = request.refresh(*asked)
        with rig.core.lock:
            reopen(rig.core)
        rig.db.get(count, "c.txt")
        rig.updater.digest()
        return found

    monkeypatch.setattr(graph_updater, "refresh", overtaken)
    done = rig.after("b.txt", "one")
    assert (done.lost, done.inputs, done.changed) == (True, [], [])


def test_inputs_of_lists_that_are_no_more_put_nothing_first(rig: Rig) -> None:
    rig.watch(key(count, "a.txt"), key(count, "b.txt"))
    edited, before = rig.write("b.txt", "one"), rig.core.graph
    with rig.core.lock:
        reopen(rig.core)
    done = rig.updater.refresh([*edited, 1_000], graph=before)
    assert (done.failures, done.lost) == ([], True)
    assert rig.db.get(count, "b.txt") == 1
