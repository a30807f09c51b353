"""FileWatcher, alone: a backend that a test speaks for, a clock that a test moves, and no thread at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.rules.directories import glob
from engine.rules.files import FileMissing, read_text
from engine.watch import file_watcher
from engine.watch.cookies import Cookies
from engine.watch.coverage import HUGE_BATCH, SECOND_LOOK_SECONDS
from engine.watch.events import Trouble, WatchEvent, Watching
from engine.watch.file_watcher import AUDIT_SECONDS, GAP_SECONDS, RESTART_SECONDS, FileWatcher
from engine.watch.scanning import ScanningBackend
from engine.watch.update_scheduler import Batch, UpdateScheduler
from tests.scripted import ByHand
from tests.watch_world import planted


class Rig:
    """A watcher over a small tree whose inputs an engine knows."""

    def __init__(self, root: Path, backend: Any = None) -> None:
        self.now = 1_000.0
        self.root = root
        self.db = Engine(None, root=root)
        self.db.get(glob, "**/*.txt")
        for path in ("a/one.txt", "a/deep/two.txt", "top.txt", "x/y/z.txt"):
            self.ask(path)
        self.hand = ByHand()
        self.told: list[WatchEvent] = []
        self.cookies = Cookies(None)
        self.scheduler: UpdateScheduler[int] = UpdateScheduler(lambda: self.now)
        self.files = FileWatcher(
            self.db._core,
            self.scheduler,
            self.cookies,
            backend or self.hand,
            self.told.append,
            clock=lambda: self.now,
        )

    def ask(self, path: str) -> None:
        with contextlib.suppress(FileMissing):
            self.db.get(read_text, path)

    def crawl(self, reason: str = "the watch begins") -> None:
        self.files.begin_crawl(reason)
        self.files.end_crawl(0.0)

    def be_silent(self, seconds: float) -> None:
        self.now += seconds
        self.hand.say()

    def started(self) -> Rig:
        self.crawl()
        self.take()
        self.told.clear()
        return self

    def say(self, *paths: str) -> None:
        self.hand.say(*(f"{self.root}/{path}".rstrip("/") for path in paths))

    def take(self) -> Batch[int] | None:
        """All that waits, as one batch."""
        self.scheduler.flush()
        return self.scheduler.take()

    def after(self, seconds: float) -> Batch[int] | None:
        """What there is to do when some time went by, with signs of life and steps as usual."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.25)
            self.hand.say()
            self.files.step()
        return self.take()

    def names(self, nodes: Any) -> set[str]:
        """Paths of inputs."""
        core = self.db._core
        return {
            f"{core.name_of_row[core.graph.query[node]].rpartition(':')[2]} {core.args_of(node)[0]}"
            for node in nodes
        }

    def looked_at(self, *paths: str) -> set[str]:
        return self.names(self.files.nodes_of(paths))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, Watching)]

    def states(self) -> list[str]:
        return [event.state for event in self.told if isinstance(event, Watching)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(planted(tmp_path / "root"))
    yield rig
    rig.files.close()
    rig.cookies.close()
    rig.db.close()


# -- states ----------------------------------------------------------------------------------------


def test_it_installs_before_it_crawls_and_tells_every_state(rig: Rig) -> None:
    rig.files.begin_crawl("the watch begins")
    assert rig.hand.made == 1
    assert len(rig.hand.calls) == 1
    assert rig.files.state == "crawling"
    rig.files.end_crawl(0.5)
    assert rig.states() == ["crawling", "live"]
    assert rig.reasons()[0] == "the watch begins"


def test_only_directories_that_inputs_look_at_are_covered(rig: Rig) -> None:
    rig.crawl()
    covered = {os.path.relpath(path, rig.root) for path in rig.hand.covered}
    assert covered == {".", "a", "a/deep", "b"}, "not the ignored one"


def test_an_input_in_an_ignored_directory_is_covered(rig: Rig) -> None:
    rig.ask("ignored/x.txt")
    rig.crawl()
    assert f"{rig.root}/ignored" in rig.hand.covered


DOUBTS: dict[str, Any] = {
    "a long silence": (lambda rig: rig.be_silent(GAP_SECONDS + 1), "slept"),
    "a huge batch": (lambda rig: rig.say(*map(str, range(HUGE_BATCH + 1))), "at once"),
    "an error": (lambda rig: rig.hand.die("watchfiles: it broke"), "it broke"),
    "a late cookie": (lambda rig: rig.files.doubt("a cookie was late"), "late"),
}


@pytest.mark.parametrize("cause", DOUBTS)
def test_it_doubts_after(rig: Rig, cause: str) -> None:
    rig.started()
    rig.hand.say()
    act, word = DOUBTS[cause]
    act(rig)
    assert rig.files.state == "doubtful"
    assert word in rig.reasons()[0]
    batch = rig.take()
    assert batch is not None
    assert word in batch.crawl
    rig.now += RESTART_SECONDS
    rig.crawl(batch.crawl)
    assert rig.files.state == "live"


def test_signs_of_life_and_usual_batches_raise_no_doubt(rig: Rig) -> None:
    rig.started()
    for _ in range(100):
        rig.now += 0.3
        rig.hand.say()
        rig.say("top.txt")
    assert rig.files.state == "live"
    assert not rig.told


def test_a_voice_that_was_quiet_since_the_start_may_have_slept_too(rig: Rig) -> None:
    rig.started()
    rig.hand.say()
    rig.hand.voice = 2
    rig.hand.say()
    rig.now += GAP_SECONDS * 2
    rig.hand.say()
    assert rig.files.state == "doubtful"


def test_the_audit_comes_after_its_period_and_only_then(rig: Rig) -> None:
    rig.started()
    batch = rig.after(AUDIT_SECONDS - 1)
    assert batch is not None
    assert batch.crawl == ""
    batch = rig.after(2)
    assert batch is not None
    assert batch.crawl == "audit"


def test_where_a_crawl_takes_long_audits_are_further_apart(rig: Rig) -> None:
    rig.files.begin_crawl("x")
    rig.files.end_crawl(1.0)
    assert rig.files.audit_seconds() == pytest.approx(250)


def test_watches_that_the_kernel_lost_are_found_by_the_audit(rig: Rig) -> None:
    rig.started()
    rig.hand.lacking = 3
    batch = rig.after(AUDIT_SECONDS + 1)
    assert batch is not None
    assert "lacks 3 watches" in batch.crawl
    rig.crawl(batch.crawl)
    assert rig.hand.made == 2
    assert rig.hand.closed == 1


def test_a_watch_that_fails_all_the_time_is_made_anew_once_a_second(rig: Rig) -> None:
    rig.started()
    began = rig.now
    for _ in range(200):
        rig.hand.die("again")
        rig.now += 0.05
        rig.hand.say()
        rig.files.step()
        batch = rig.take()
        assert batch is not None
        if batch.crawl:
            rig.crawl(batch.crawl)
    assert rig.hand.made - 1 <= (rig.now - began) / RESTART_SECONDS + 1
    assert rig.hand.made > 5
    rig.after(RESTART_SECONDS)
    rig.crawl("once more")
    assert rig.files.state == "live"


def test_while_the_watch_has_to_be_made_anew_events_are_not_relied_on(rig: Rig) -> None:
    rig.started()
    assert rig.files.why_not_to_rely_on_events() == ""
    rig.hand.die("broken")
    assert rig.files.why_not_to_rely_on_events()


@pytest.mark.parametrize("mode", ["polling", "scanning"])
def test_events_of_who_compares_files_by_itself_are_not_relied_on(rig: Rig, mode: str) -> None:
    rig.started()
    rig.hand.mode = mode
    assert mode in rig.files.why_not_to_rely_on_events()


def test_an_install_that_fails_is_tried_again(rig: Rig) -> None:
    rig.hand.failure = FileNotFoundError("gone meanwhile")
    with pytest.raises(FileNotFoundError):
        rig.files.begin_crawl("the watch begins")
    batch = rig.after(RESTART_SECONDS + 0.3)
    assert batch is not None
    assert batch.crawl
    rig.crawl(batch.crawl)
    assert rig.files.state == "live"
    assert f"{rig.root}/a" in rig.hand.covered


def test_after_close_nothing_is_installed(rig: Rig) -> None:
    rig.files.close()
    rig.files.begin_crawl("too late")
    assert rig.hand.made == 0


# -- the root --------------------------------------------------------------------------------------


def test_a_root_that_is_gone_is_told_once_and_its_return_makes_the_watch_anew(rig: Rig) -> None:
    rig.started()
    rig.root.rename(rig.root.with_name("away"))
    rig.after(2)
    assert rig.files.root_is_gone
    assert len([event for event in rig.told if isinstance(event, Trouble)]) == 1
    rig.root.with_name("away").rename(rig.root)
    batch = rig.after(1)
    assert batch is not None
    assert batch.crawl == "the root was replaced"
    rig.crawl(batch.crawl)
    assert rig.hand.made == 2
    assert not rig.files.root_is_gone


def test_another_directory_in_the_place_of_the_root_is_noticed(rig: Rig, tmp_path: Path) -> None:
    rig.started()
    planted(tmp_path / "other").rename(rig.root.with_name("new"))
    rig.root.rename(rig.root.with_name("away"))
    rig.root.with_name("new").rename(rig.root)
    batch = rig.after(0.5)
    assert batch is not None
    assert batch.crawl == "the root was replaced"


def test_a_root_that_was_only_touched_is_the_root(rig: Rig) -> None:
    rig.started()
    os.utime(rig.root)
    rig.say("")
    batch = rig.after(0.5)
    assert batch is not None
    assert batch.crawl == ""


# -- what to look at -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("a/one.txt", {"read_text a/one.txt", "listing a"}),
        ("a/nobody.txt", {"listing a"}),
        ("ignored/x.txt", set()),
        ("x", {"listing ", "read_text x/y/z.txt"}),
        ("x/y", {"read_text x/y/z.txt"}),
        ("a/deep", {"listing a", "listing a/deep", "read_text a/deep/two.txt"}),
        ("", {"listing "}),
    ],
)
def test_a_place_means_what_is_there_below_it_and_its_directory(
    rig: Rig, place: str, found: set[str]
) -> None:
    rig.started()
    assert {name for name in rig.looked_at(place) if ".gitignore" not in name} >= found
    if "one" in place or "nobody" in place:
        assert "read_text top.txt" not in rig.looked_at(place)


def test_paths_outside_of_the_root_mean_nothing(rig: Rig) -> None:
    rig.started()
    rig.hand.say(f"{rig.root}x/a/one.txt", "/", f"{rig.root.parent}")
    batch = rig.take()
    assert batch is not None
    assert batch.paths == ()


def test_a_new_directory_is_covered_and_looked_at_twice(rig: Rig) -> None:
    rig.started()
    (rig.root / "x" / "y").mkdir(parents=True)
    assert "read_text x/y/z.txt" in rig.looked_at("x")
    assert {f"{rig.root}/x", f"{rig.root}/x/y"} <= set(rig.hand.covered)
    batch = rig.after(SECOND_LOOK_SECONDS + 0.5)
    assert batch is not None
    assert "read_text x/y/z.txt" in rig.names(batch.nodes)


def test_a_directory_that_came_without_an_event_is_found_by_polling(rig: Rig) -> None:
    rig.started()
    (rig.root / "x" / "y").mkdir(parents=True)
    batch = rig.after(1.5)
    assert batch is not None
    assert "read_text x/y/z.txt" in rig.names(batch.nodes)
    assert f"{rig.root}/x/y" in rig.hand.covered


def test_a_replaced_directory_is_covered_anew(rig: Rig) -> None:
    rig.started()
    shutil.rmtree(rig.root / "a")
    rig.looked_at("a")
    assert f"{rig.root}/a" not in rig.hand.covered
    assert f"{rig.root}/a/deep" not in rig.hand.covered
    (rig.root / "a" / "deep").mkdir(parents=True)
    rig.looked_at("a")
    assert f"{rig.root}/a/deep" in rig.hand.covered


def test_what_a_query_came_to_read_is_covered_and_looked_at_once_more(rig: Rig) -> None:
    rig.started()
    (rig.root / "new").mkdir()
    (rig.root / "new" / "n.txt").write_text("n")
    rig.ask("new/n.txt")
    rig.ask("a/nobody.txt")
    rig.files.cover()
    assert f"{rig.root}/new" in rig.hand.covered
    batch = rig.take()
    assert batch is not None
    assert rig.names(batch.nodes) >= {"read_text new/n.txt", "read_text a/nobody.txt"}


def test_what_was_read_just_now_is_found_by_a_hint(rig: Rig) -> None:
    rig.started()
    rig.ask("a/nobody.txt")
    assert "read_text a/nobody.txt" in rig.looked_at("a/nobody.txt")


def test_what_get_reads_outside_of_the_watch_is_covered_soon(rig: Rig) -> None:
    rig.started()
    (rig.root / "new").mkdir()
    rig.ask("new/n.txt")
    rig.after(1)
    assert f"{rig.root}/new" in rig.hand.covered


def test_a_directory_that_became_a_link_is_looked_at_under_its_new_meaning(rig: Rig) -> None:
    rig.started()
    shutil.rmtree(rig.root / "a")
    (rig.root / "a").symlink_to("b")
    (rig.root / "b" / "one.txt").write_text("reached")
    rig.say("a")
    batch = rig.take()
    assert batch is not None
    rig.files.nodes_of(batch.paths)
    assert "read_text a/one.txt" in rig.looked_at("b/one.txt")
    (rig.root / "a").unlink()
    (rig.root / "a" / "deep").mkdir(parents=True)
    rig.say("a")
    batch = rig.take()
    assert batch is not None
    assert "read_text a/one.txt" in rig.looked_at(*batch.paths)
    assert f"{rig.root}/a/deep" in rig.hand.covered


# -- without events --------------------------------------------------------------------------------


def test_without_room_for_watches_it_says_so_once_and_polls(rig: Rig) -> None:
    rig.hand.most = 1
    rig.crawl()
    batch = rig.after(10)
    assert batch is not None
    assert "read_text a/one.txt" in rig.names(batch.nodes)
    troubles = [event for event in rig.told if isinstance(event, Trouble)]
    assert len(troubles) == 1
    assert "Raise the limit" in troubles[0].remedy
    rig.hand.most = None
    rig.after(2)
    assert f"{rig.root}/a" in rig.hand.covered


def test_a_scanning_watch_looks_at_everything_every_second(tmp_path: Path) -> None:
    rig = Rig(planted(tmp_path / "root"), ScanningBackend).started()
    batch = rig.after(1.25)
    assert batch is not None
    assert rig.names(batch.nodes) >= {"read_text a/one.txt", "read_text top.txt", "listing a/deep"}
    rig.cookies.close()
    rig.db.close()


def test_polling_takes_a_tenth_of_a_core_at_most(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "LOOK_SECONDS", 1.0)
    rig.ask("x/y/other.txt")
    rig.hand.most = 0
    rig.started()
    polls = 0
    for _ in range(1_000):
        rig.now += 0.25
        rig.hand.say()
        rig.files.step()
        batch = rig.take()
        assert batch is not None
        polls += bool(batch.nodes)
    assert 1 <= polls <= 250 * file_watcher.POLL_SHARE / 5


def test_a_root_on_a_silent_mount_is_scanned(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "why_silent", lambda root: "/mnt is a nfs mount")
    rig.crawl()
    assert rig.hand.made == 0
    assert rig.files.backend.mode == "scanning"
    assert any("nfs" in event.cause for event in rig.told if isinstance(event, Trouble))
