"""A FileWatcher is live, crawling or doubtful, and tells every state with its reason."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

import pytest

from engine.watch.coverage import HUGE_BATCH
from engine.watch.file_watcher import AUDIT_SECONDS, GAP_SECONDS, POLLING_AUDIT_SECONDS, RESTART_SECONDS
from tests.watcher_rig import Rig, rig

__all__ = ["rig"]


def test_it_installs_before_it_crawls_and_tells_every_state(rig: Rig) -> None:
    rig.files.begin_crawl("the watch begins")
    assert rig.hand.made == 1
    assert len(rig.hand.calls) == 1
    assert rig.files.state == "crawling"
    assert not rig.files.looked
    rig.files.end_crawl(0.5)
    assert rig.states() == ["crawling", "live"]
    assert rig.reasons()[0] == "the watch begins"
    assert rig.files.looked


def test_only_directories_that_inputs_look_at_are_covered(rig: Rig) -> None:
    rig.crawl()
    covered = {os.path.relpath(path, rig.root) for path in rig.hand.covered}
    assert covered == {".", "a", "a/deep", "b"}, "not the ignored one"


def test_an_input_in_an_ignored_directory_is_covered(rig: Rig) -> None:
    rig.ask("ignored/x.txt")
    rig.crawl()
    assert f"{rig.root}/ignored" in rig.hand.covered


def with_a_full_queue(rig: Rig) -> None:
    rig.hand.full = True
    rig.hand.say()
    rig.hand.full = False


def without_cookies(rig: Rig) -> None:
    shutil.rmtree(rig.cookies.directory)
    rig.hand.say(rig.cookies.directory)


DOUBTS: dict[str, Any] = {
    "a full queue": (with_a_full_queue, "queue was so full"),
    "a removed directory of cookies": (without_cookies, "cookies was removed"),
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


def test_what_happens_to_cookies_is_no_event_and_completes_them(rig: Rig) -> None:
    rig.started()
    cookie = rig.cookies.drop([rig.hand.voice])
    rig.hand.say(rig.cookies.directory, cookie.path)
    assert cookie.complete.is_set()
    assert rig.files.last_event == 0
    assert rig.files.state == "live"
    rig.now += GAP_SECONDS / 2
    rig.say("top.txt")
    assert rig.files.last_event == rig.now


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


def test_the_audit_is_not_needed_where_everything_was_looked_at_for_another_reason(rig: Rig) -> None:
    rig.started()
    rig.after(AUDIT_SECONDS - 1)
    rig.crawl("overflow")
    batch = rig.after(2)
    assert batch is not None
    assert batch.crawl == ""


def test_two_audits_in_a_row_that_found_what_no_event_told_have_the_watch_made_anew(rig: Rig) -> None:
    rig.started()
    for differing in (3, 0, 3):
        rig.files.audited(differing)
        assert rig.files.state == "live"
    rig.files.audited(4)
    assert rig.files.state == "doubtful"
    assert "found 4 changes" in rig.reasons()[0]
    rig.now += RESTART_SECONDS
    rig.crawl("audit")
    assert rig.hand.made == 2
    rig.files.audited(5)
    assert rig.files.state == "live"


def test_audits_find_changes_where_no_event_tells_of_any(rig: Rig) -> None:
    rig.started()
    rig.hand.mode = "polling"
    for _ in range(5):
        rig.files.audited(3)
    assert rig.files.state == "live"


def test_where_a_crawl_takes_long_audits_are_further_apart(rig: Rig) -> None:
    rig.files.begin_crawl("x")
    rig.files.end_crawl(1.0)
    assert rig.files.audit_seconds() == pytest.approx(250)
    rig.hand.mode = "polling"
    assert rig.files.audit_seconds() == pytest.approx(10)


def test_who_compares_whole_seconds_is_audited_every_other_one(rig: Rig) -> None:
    rig.started()
    assert rig.files.audit_seconds() == AUDIT_SECONDS
    rig.hand.mode = "polling"
    assert rig.files.audit_seconds() == POLLING_AUDIT_SECONDS


def test_watches_that_the_kernel_lost_are_found_by_the_audit(rig: Rig) -> None:
    rig.started()
    rig.hand.lacking = 3
    batch = rig.after(AUDIT_SECONDS + 1)
    assert batch is not None
    assert "lacks 3 watches" in batch.crawl
    rig.crawl(batch.crawl)
    assert rig.hand.made == 2
    assert rig.hand.closed == 1


@pytest.mark.parametrize("voices", [1, 2])
def test_an_audit_makes_one_watch_of_two(rig: Rig, voices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.started()
    monkeypatch.setattr(rig.hand, "voices", lambda: frozenset(range(1, voices + 1)))
    batch = rig.after(AUDIT_SECONDS + 0.5)
    assert batch is not None
    rig.crawl(batch.crawl)
    assert rig.hand.made == voices


@pytest.mark.parametrize("lacking", [1, None])
def test_a_crawl_makes_the_watch_anew_unless_the_kernel_says_that_nothing_of_it_is_lost(
    rig: Rig, lacking: int | None
) -> None:
    """What was lost may have told of a directory that was replaced."""
    rig.started()
    rig.now += RESTART_SECONDS
    rig.crawl("overflow")
    assert rig.hand.made == 1
    assert rig.states() == ["crawling", "live"]
    rig.hand.lacking = lacking
    rig.crawl("audit")  # what the kernel says was asked for before
    assert rig.hand.made == 1
    rig.crawl("overflow")
    assert rig.hand.made == 2
    assert rig.states()[2:] == ["crawling", "live", "starting", "crawling", "live"]


@pytest.mark.parametrize("asked", ["missing", "voices"])
def test_a_failure_is_not_forgotten_that_comes_while_the_watches_are_counted(
    rig: Rig, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.started()
    rig.now += AUDIT_SECONDS
    count = getattr(rig.hand, asked)

    def failing() -> Any:
        monkeypatch.setattr(rig.hand, asked, count)
        rig.hand.die("broken")  # in a thread of its own
        return count()

    monkeypatch.setattr(rig.hand, asked, failing)
    if asked == "missing":
        rig.crawl("overflow")
        assert rig.hand.made == 2
    else:
        rig.files.step()
        assert rig.files.why_not_to_rely_on_events()


def test_a_silence_in_which_this_process_worked_is_no_sleep(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.started()
    worked = time.process_time()
    monkeypatch.setattr(time, "process_time", lambda: worked)
    rig.hand.say()
    worked += 5.0  # as a long collection does
    rig.be_silent(5.0)
    assert rig.files.state == "live"
    rig.be_silent(5.0)
    assert rig.files.state == "doubtful"


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


def test_a_watch_that_took_long_to_make_anew_was_not_asleep(rig: Rig) -> None:
    rig.started()
    rig.hand.say()
    rig.hand.die("broken")
    rig.now += RESTART_SECONDS
    rig.crawl("broken")
    rig.hand.say()
    assert rig.files.state == "live"


def test_while_the_watch_has_to_be_made_anew_events_are_not_relied_on(rig: Rig) -> None:
    rig.started()
    assert rig.files.why_not_to_rely_on_events() == ""
    rig.hand.die("broken")
    assert rig.files.why_not_to_rely_on_events()
    rig.crawl("broken")  # too soon to make it anew
    assert rig.hand.made == 1
    assert rig.files.state == "doubtful"
    assert rig.files.why_not_to_rely_on_events()
    rig.take()
    rig.files.step()
    batch = rig.take()
    assert batch is not None
    assert not batch.crawl, "it would be another one with the old watch"


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
