"""No change hides from the stamp of a file, also where clocks are coarse."""

from __future__ import annotations

import errno
import os
import shutil
import stat as stat_module
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, query
from engine.rules import stat
from engine.rules.files import read_text
from tests.folders import HOSTILE, answer, coarse, place, trusting, without_privileges

__all__ = ["place", "trusting"]  # fixtures


def same_size(path: Path) -> None:
    path.write_text("2")


def same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_of_that_time(path: Path) -> None:
    before = path.stat()
    Path("other").write_text("2")
    os.utime("other", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace("other", path)


def copied_with_its_times(path: Path) -> None:
    Path("other").write_text("2")
    shutil.copystat(path, "other")
    shutil.copy2("other", path)


def from_1970(path: Path) -> None:
    path.write_text("2")
    os.utime(path, (0, 0))


def from_2100(path: Path) -> None:
    path.write_text("2")
    os.utime(path, (4102444800, 4102444800))


@pytest.mark.parametrize(
    "change",
    [same_size, same_size_and_time, another_file_of_that_time, copied_with_its_times, from_1970, from_2100],
)
def test_a_change_that_hides_itself_is_noticed(
    change: Callable[[Path], None], place: Path, trusting: None
) -> None:
    path = Path("a")
    path.write_text("1")
    with Engine(None, root=place) as db:
        assert db.get(read_text, "a") == "1"
        time.sleep(0.02)  # older kernels take file times from a clock that ticks every 4 to 10 ms
        change(path)
        db.sync()
        assert db.get(read_text, "a") == "2"


@query
def shouted(path: str) -> str:
    return read_text(path).upper()


def stale_answers(place: Path, rounds: int) -> int:
    stale = 0
    with Engine(None, root=place) as db:
        for number in range(rounds):
            Path("a").write_text(f"{number:04}")
            db.sync()
            stale += db.get(shouted, "a") != f"{number:04}"
    return stale


@pytest.mark.parametrize("tick_ns", [1_000_000_000, 2_000_000_000])
def test_a_coarse_clock_hides_no_write(tick_ns: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse(monkeypatch, tick_ns)
    assert stale_answers(place, 1000) == 0


def test_without_the_racy_rule_a_coarse_clock_would_hide_writes(
    place: Path, monkeypatch: pytest.MonkeyPatch, trusting: None
) -> None:
    coarse(monkeypatch, 2_000_000_000)
    assert stale_answers(place, 100) > 50


def test_a_stamp_is_believed_once_its_times_are_out_of_reach(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("x")
    stamp, now = stat.file_stamp("a"), time.time_ns()
    day = 86_400_000_000_000
    for offset, believed in {
        0: False,
        1_900_000_000: False,
        2_100_000_000: True,
        day: True,
        -1_900_000_000: False,  # the file's clock is ahead of ours
        -day: True,  # our clock jumped back: a write now would get times of now
        400 * day: True,
    }.items():
        monkeypatch.setattr(time, "time_ns", lambda offset=offset: now + offset)
        assert stat.settled(stamp) is believed, offset


def test_a_stamp_never_raises_and_covers_a_link_and_its_target(place: Path) -> None:
    for path in HOSTILE:
        assert isinstance(stat.file_stamp(path), bytes)
        stat.settled(stat.file_stamp(path))
    Path("target").write_text("1")
    Path("link").symlink_to("target")
    before = stat.file_stamp("link")
    Path("target").write_text("12")
    assert stat.file_stamp("link") != before
    assert stat.settled(stat.file_stamp("missing"))
    os.utime("target", ns=(-1, -1))
    assert isinstance(stat.file_stamp("link"), bytes)


def test_trouble_with_a_stamp_is_never_believed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: object) -> os.stat_result:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", failing)
        stamp = stat.file_stamp("a")
    assert not stat.settled(stamp)


def test_who_may_not_read_a_file_does_not_answer_for_who_may(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    Path("a").write_text("x")
    Path("a").chmod(0o600)
    mine = stat.file_stamp("a")
    with without_privileges():
        assert stat.file_stamp("a") != mine
    Path("a").chmod(0o604)  # its group may do less than all others
    mine = stat.file_stamp("a")
    with without_privileges():
        assert stat.file_stamp("a") != mine
    Path("d").mkdir(mode=0o744)  # whose names everybody may read, but not of what kind they are
    mine = stat.file_stamp("d")
    with without_privileges():
        assert stat.file_stamp("d") != mine
    Path("a").chmod(0o644)
    Path("d").chmod(0o755)
    mine = stat.file_stamp("a") + stat.file_stamp("d")
    with without_privileges():
        assert stat.file_stamp("a") + stat.file_stamp("d") == mine


def test_a_user_who_was_put_into_the_group_of_a_file_may_read_what_was_refused(
    place: Path, trusting: None
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    Path("a").write_text("x")
    Path("a").chmod(0o640)
    os.chown("a", 0, 4321)
    mine = os.getgroups()
    with Engine(None, root=place) as db:
        assert db.get(shouted, "a") == "X"  # loads what nobody may load
        try:
            for groups, expected in (([], ("unreadable",)), ([4321], "X"), ([], ("unreadable",))):
                os.setgroups(groups)
                stat.reader_of.cache_clear()  # as in a process of its own, which is how one gets groups
                with without_privileges():
                    db.sync()
                    assert answer(lambda: db.get(shouted, "a")) == expected
        finally:
            os.setgroups(mine)
            stat.reader_of.cache_clear()


def test_every_file_type_has_a_word() -> None:
    for mode in (stat_module.S_IFREG, stat_module.S_IFCHR, stat_module.S_IFLNK, 0):
        assert stat.kind_of(mode | 0o644) in ("file", "device", "symlink")
