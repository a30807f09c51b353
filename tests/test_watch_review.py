"""What a review found in the watch: each claim was false once."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from engine import Engine, query
from engine.errors import Closed
from engine.rules import files
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.watch.events import FileDelta, RulesChanged, Started, Stopped, Trouble
from tests.patience import PATIENCE, until
from tests.watch_process import save as save_beside
from tests.watch_world import planted, save, text, tree, watching

ENDS: dict[str, type[BaseException]] = {}  # what a query raises that ends a program


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ENDS.clear()
    return planted(tmp_path / "root")


@query
def top() -> str:
    """One file."""
    return read_text("top.txt")


@query
def slow() -> str:
    """Another one, that takes its time."""
    found = read_text("a/one.txt")
    time.sleep(0.3)
    return found


@query
def ending() -> str:
    """A file, unless it says that the program ends."""
    found = read_text("top.txt")
    if found in ENDS:
        raise ENDS[found]
    return found


@query
def sources() -> tuple[str, ...]:
    """All Python files, with their texts."""
    return tuple(read_text(path) for path in glob("**/*.py"))


def test_an_input_that_is_given_back_in_a_batch_is_looked_at_again(root: Path) -> None:
    path = root / "top.txt"
    path.write_text("one")
    with watching(root, top) as (db, _, _):
        db.set(read_text.key("top.txt"), "an overlay")
        with db.batch():
            db.reset(read_text.key("top.txt"))
            path.write_text("two")
            db.sync()
        db.sync()
        assert db.get(top) == "two"


def test_an_interrupt_in_the_host_does_not_stop_the_watch(root: Path) -> None:
    with watching(root, top) as (db, _, told):
        db._core.torn = True  # as a Ctrl-C in `get` leaves it
        save(root / "top.txt", "saved after it")
        db.sync()
        assert db.get(top) == "saved after it"
        # Not all that changed is known then, so the state of now is told instead of a revision.
        until(lambda: told.of(Started) or told.revised())


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_stopped_engine_ends_its_watch_and_lets_everybody_go(root: Path, how: str) -> None:
    db = Engine(None, root=root)
    watch = db.watch(top)
    with db:
        assert watch.wait_until_ready(PATIENCE)
        getattr(db, how)()
        save(root / "top.txt", "a save")
        until(lambda: watch.ended)
        assert isinstance(list(watch)[-1], Stopped)
        with pytest.raises((Closed, KeyboardInterrupt)):
            db.sync()


def test_a_watch_that_was_made_and_not_started_changes_nothing(root: Path) -> None:
    heard: list[str] = []
    with Engine(None, root=root) as db:
        db.subscribe(top, heard.append)
        first = db.watch(top)
        save(root / "top.txt", "one")
        assert db.sync() == 1
        assert heard == ["one"]
        assert db._core.telling.journal is None
        with db.watch(top) as second:
            assert second.wait_until_ready(PATIENCE)
            assert first.ended
            with pytest.raises(Closed):
                first.start()


def test_a_sync_right_after_another_root_took_the_place_sees_it(tmp_path: Path) -> None:
    for name in "pq":
        (tmp_path / name / "root").mkdir(parents=True)
        (tmp_path / name / "root" / "top.txt").write_text(f"in {name}")
    with watching(tmp_path / "p" / "root", top) as (db, _, _):
        assert db.get(top) == "in p"
        for expected in ("in q", "in p", "in q"):
            (tmp_path / "p").rename(tmp_path / "other")
            (tmp_path / "q").rename(tmp_path / "p")
            (tmp_path / "other").rename(tmp_path / "q")
            db.sync()
            assert db.get(top) == expected


def test_an_input_that_could_not_be_read_from_the_start_heals_at_its_next_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_path = files.full_path

    def failing(path: str) -> str:
        if path == "top.txt":
            raise OSError(errno.EIO, "broken")
        return full_path(path)

    monkeypatch.setattr(files, "full_path", failing)
    with watching(root, top) as (db, watch, _):
        assert watch.failing
        until(lambda: watch.files.places.is_file("top.txt"))  # so that its next event means something
        monkeypatch.setattr(files, "full_path", full_path)
        save(root / "top.txt", "healed")
        until(lambda: db.get(top) == "healed")
        until(lambda: not watch.failing)


def test_a_revision_is_told_when_all_keys_are_right_in_it(root: Path) -> None:
    save(root / "a" / "one.txt", "0")
    with watching(root, top, slow) as (db, _, told):
        save(root / "a" / "one.txt", "1")
        save(root / "top.txt", "1")
        until(lambda: db._core.revision > 1)
        time.sleep(0.15)  # `top` was refreshed, `slow` runs
        save(root / "top.txt", "2")
        until(lambda: told.revised() and told.revised()[-1].revision == db.revision and db.get(top) == "2")
        revisions = [(event.since, event.revision) for event in told.revised()]
        assert all(since < revision for since, revision in revisions)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_query_that_wants_to_end_the_program_ends_no_watch(root: Path, error: type[BaseException]) -> None:
    ENDS["end"] = error
    with watching(root, ending, tree) as (db, watch, told):
        save(root / "top.txt", "end")
        until(lambda: told.of(Trouble) or watch.failing)
        save(root / "top.txt", "and on")
        until(lambda: not watch.failing and not watch.ended)
        assert db.get(ending) == "and on"
        until(lambda: "tree()" in told.names())


def test_what_is_found_is_told_although_its_directories_cannot_be_watched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(root, top) as (_, watch, told):
        cover = watch.files.cover

        def failing() -> None:
            monkeypatch.setattr(watch.files, "cover", cover)
            raise PermissionError("covering")

        monkeypatch.setattr(watch._keys._pipeline.files, "cover", cover)
        save(root / "top.txt", "new")
        monkeypatch.setattr(watch.files, "cover", failing)
        until(lambda: "top()" in told.names())


def test_an_embedded_watch_tells_when_rule_code_changes_on_disk_and_not_when_it_is_only_saved(
    root: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text("LIMIT = 1\n")
    with watching(root, top) as (_, watch, told):
        watch.follow_rules([str(rules)])
        save_beside(rules, "LIMIT = 1\n")
        rules.touch()
        time.sleep(1.2)  # two looks
        assert not told.of(RulesChanged)
        save_beside(rules, "LIMIT = 2\n")
        until(lambda: [one.paths for one in told.of(RulesChanged)] == [(str(rules),)])


def test_a_full_disk_is_told_at_once(root: Path, tmp_path: Path) -> None:
    with watching(root, top, store=tmp_path / "store") as (db, _, told):
        db._core.telling.note("the store could not be written: no space left")
        save(root / "top.txt", "new")
        until(lambda: [one for one in told.of(Trouble) if "no space left" in one.cause])


def test_deltas_follow_files_that_are_moved_removed_and_brought_back(root: Path) -> None:
    source = "def area():\n    return 1\n"
    save(root / "a" / "one.py", source)
    with watching(root, sources, deltas=True) as (_, watch, told):
        parts = watch._pipeline

        def learned() -> bool:
            with parts.core.lock:
                version = parts.processor._version("a/one.py")
            return version is not None and version.chunks is not None

        until(learned)  # an edit amid the learning has no version before it

        def deltas() -> dict[str, FileDelta]:
            return {delta.path: delta for event in told.revised() for delta in event.deltas}

        save(root / "a" / "one.py", source + "\n\ndef more():\n    return 2\n")
        # Bytes and text of a file are two inputs: a look that was under way may have met one of them only.
        until(lambda: "a/one.py" in deltas() and "function more" in deltas()["a/one.py"].added)
        told.clear()
        (root / "a").rename(root / "moved")
        until(lambda: {"a/one.py", "moved/one.py"} <= deltas().keys())
        assert deltas()["a/one.py"].what == "removed"
        assert deltas()["moved/one.py"].what == "added"
        assert set(deltas()["moved/one.py"].added) == {"function area", "function more"}
        told.clear()
        (root / "moved").rename(root / "a")
        until(lambda: {"a/one.py", "moved/one.py"} <= deltas().keys())
        assert deltas()["a/one.py"].what == "added"
        assert set(deltas()["moved/one.py"].removed) == {"function area", "function more"}


def test_a_store_whose_project_is_gone_is_not_made_again(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "top.txt").write_text("one")
    with watching(project, top, store=project / ".engine") as (_, _, told):
        project.rename(tmp_path / "away")
        until(lambda: [one for one in told.of(Trouble) if "root is gone" in one.cause])
        time.sleep(0.5)
        assert not project.exists()
        (tmp_path / "away").rename(project)
        (project / "top.txt").write_text("two")
        until(lambda: "top()" in told.names())


def test_an_error_is_told_with_the_key_that_failed_first_and_the_place(root: Path) -> None:
    with watching(root, text.key("top.txt"), failing_twice) as (_, watch, _):
        (said,) = watch.failing.values()
        assert said.startswith("test_watch_review:failing('top.txt'): ValueError: no good, at ")
        assert "test_watch_review.py:" in said


@query
def failing(path: str) -> str:
    """It fails."""
    raise ValueError("no good")


@query
def failing_twice() -> str:
    """It passes on what fails below it."""
    return failing("top.txt")
