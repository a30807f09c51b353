"""A kernel backend is two watches at most; what one had to tell when it was replaced is looked at again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.watch import kernel
from engine.watch.kernel import KernelBackend
from tests.patience import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux alone")


class Rig:
    """A backend over some directories, and what it suggests."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.heard: list[tuple[int, str]] = []
        self.signs: set[int] = set()  # voices that said that they are alive
        self.failed: list[str] = []
        self.cookies = place / "cookies"
        self.cookies.mkdir()
        for number in range(12):
            (place / f"{number}").mkdir()
        self.backend = KernelBackend(str(self.cookies), self.hear, self.failed.append)

    def hear(self, voice: int, paths: object) -> None:
        assert isinstance(paths, list | tuple)
        self.signs.add(voice)
        self.heard += [(voice, str(Path(path).relative_to(self.place))) for path in paths]

    def full(self, *names: object) -> list[str]:
        return [str(self.place / f"{name}") for name in names]

    def cover(self, *names: object) -> set[str]:
        return {Path(path).name for path in self.backend.cover(self.full(*names))}

    def is_slow(self) -> bool:
        assert self.backend._large is not None
        return self.backend._large._slow

    def says(self, name: str) -> bool:
        """Whether a file that is made now is suggested."""
        (self.place / name).touch()
        return bool(until(lambda: name in {path for _, path in self.heard}))


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(kernel, "SMALL", 2)
    rig = Rig(tmp_path)
    yield rig
    rig.backend.close()
    assert not rig.failed


def test_up_to_a_size_there_is_one_watch_and_all_of_it_is_new_again(rig: Rig) -> None:
    assert rig.cover(0) == {"0"}
    assert rig.cover(0) == set()
    assert rig.cover(0, 1) == {"0", "1"}, "what the one before had to tell is lost"
    assert len(rig.backend.voices()) == 1
    assert rig.says("0/a")
    assert rig.says("1/a")


@pytest.mark.parametrize(("small", "voices"), [(9, 1), (8, 2)])
def test_one_watch_is_enough_up_to_a_size(
    rig: Rig, small: int, voices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SMALL", small)
    rig.cover(*range(8))
    rig.cover(8)
    assert len(rig.backend.voices()) == voices


def test_without_directories_there_is_a_watch_that_tells_of_cookies(rig: Rig) -> None:
    assert rig.cover() == set()
    assert rig.says("cookies/1")


def test_what_comes_later_has_a_watch_of_its_own_until_it_is_a_quarter(rig: Rig) -> None:
    assert len(rig.cover(*range(8))) == 8
    (large,) = rig.backend.voices()
    assert rig.cover(8) == {"8"}
    assert rig.cover(9) == {"8", "9"}, "another small one"
    assert len(rig.backend.voices()) == 2
    assert large in rig.backend.voices()
    for name in ("0/a", "8/a", "9/a"):
        assert rig.says(name)
    assert rig.cover(10) == {f"{number}" for number in range(11)}
    (voice,) = rig.backend.voices()
    assert voice != large
    for name in ("0/b", "9/b", "10/b"):
        assert rig.says(name)


def test_a_watch_that_was_replaced_says_nothing_any_more(rig: Rig) -> None:
    rig.cover(0)
    (before,) = rig.backend.voices()
    rig.cover(1)
    assert rig.says("0/a")
    time.sleep(kernel.TURN_SECONDS)
    rig.heard.clear()
    rig.signs.clear()
    (rig.place / "0" / "b").touch()
    until(lambda: rig.heard)
    time.sleep(kernel.TURN_SECONDS * 2)
    assert before not in rig.signs


def test_a_directory_that_is_lost_while_watches_are_made_one_is_looked_at_and_not_covered(rig: Rig) -> None:
    rig.cover(0, 1)
    shutil.rmtree(rig.place / "0")
    assert rig.cover(2) == {"0", "1", "2"}
    assert not rig.backend.covers(rig.full(0)[0])
    assert rig.backend.covers(rig.full(1)[0])
    (rig.place / "0").mkdir()
    assert "0" in rig.cover(0)
    assert rig.says("0/a")


def test_a_directory_that_was_made_again_is_covered_once_somebody_says_so(rig: Rig) -> None:
    rig.cover(0, 1)
    shutil.rmtree(rig.place / "0")
    (rig.place / "0").mkdir()
    assert rig.cover(0) == set()
    rig.backend.uncover(rig.full(0))
    assert not rig.backend.covers(rig.full(0)[0])
    assert "0" in rig.cover(0)
    assert rig.says("0/a")
    assert rig.says("1/a")


def test_the_watches_that_the_kernel_lacks_are_counted(rig: Rig) -> None:
    rig.cover(*range(8))
    assert rig.backend.missing() == 0
    rig.cover(8)
    assert rig.backend.missing() == 0
    for number in (3, 8):
        shutil.rmtree(rig.place / f"{number}")
        (rig.place / f"{number}").mkdir()
    until(lambda: rig.backend.missing() == 2)
    rig.backend.uncover(rig.full(3))
    assert rig.backend.missing() == 1


def test_where_the_kernel_does_not_tell_its_watches_by_their_numbers_nobody_knows_what_it_lacks(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "watched_inodes", lambda descriptor: [])
    rig.cover(0)
    assert rig.backend.missing() is None
    monkeypatch.setattr(kernel, "instances", set)
    rig.cover(1)  # as on another system
    assert rig.backend.missing() == 0


@pytest.mark.parametrize("place", ["nothing", "file", "link", "link/inside", "\udc80"])
def test_what_is_no_directory_by_its_own_name_is_not_watched(rig: Rig, place: str) -> None:
    (rig.place / "file").touch()
    (rig.place / "0" / "inside").mkdir()
    (rig.place / "link").symlink_to("0")
    assert rig.cover(place, 1) == {"1"}
    assert not rig.backend.covers(rig.full(place)[0])
    before = rig.backend.voices()
    assert rig.cover(place) == set()
    assert rig.backend.voices() == before, "for nothing, none is made anew"


def test_two_names_of_one_directory_are_both_suggested(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is mounted in two places, for which a test would have to be root."""
    monkeypatch.setattr(kernel, "twins_among", lambda paths: [rig.full(0, 1)])
    monkeypatch.setattr(kernel, "watched_inodes", lambda descriptor: [])
    rig.cover(0, 1, 2)
    assert rig.says("0/a")
    until(lambda: "1/a" in {path for _, path in rig.heard})
    assert rig.says("2/a")
    assert "0/a" not in {path for _, path in rig.heard if path.startswith("2")}


def test_a_queue_that_was_crowded_is_told_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.cover(0)
    assert not rig.backend.crowded()
    monkeypatch.setattr(kernel, "waiting", lambda descriptor: kernel.CROWDED_BYTES + 1)
    assert rig.says("0/a")
    assert rig.backend.crowded()
    monkeypatch.setattr(kernel, "waiting", lambda descriptor: 0)
    assert rig.says("0/b")
    rig.backend.crowded()
    assert not rig.backend.crowded()


def test_voices_say_that_they_are_alive(rig: Rig) -> None:
    rig.cover(0)
    for _ in range(3):
        rig.signs.clear()
        until(lambda: rig.signs == rig.backend.voices())


def test_after_a_long_quiet_a_voice_looks_less_often_until_something_happens(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.cover(0)
    assert not rig.is_slow()
    monkeypatch.setattr(kernel, "SLOW_SECONDS", 0.3)
    until(rig.is_slow)
    until(lambda: any("rouse" in path for _, path in rig.heard))  # or the step that it is in would not end
    assert rig.is_slow(), "that was no event"
    assert not list(rig.cookies.iterdir())
    monkeypatch.setattr(kernel, "SLOW_SECONDS", 60.0)
    assert rig.says("0/a")
    assert not rig.is_slow()


def test_a_voice_that_fails_ends_and_says_so(rig: Rig) -> None:
    def failing(voice: int, paths: object) -> None:
        raise ZeroDivisionError("a bug")

    rig.backend = KernelBackend(str(rig.cookies), failing, rig.failed.append)
    rig.cover(0)
    until(lambda: not rig.backend.voices())
    assert rig.failed == ["ZeroDivisionError: a bug"]
    rig.failed.clear()
