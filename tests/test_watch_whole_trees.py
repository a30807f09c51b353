"""Where the system watches whole trees (macOS), it is asked for the topmost directories alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles._rust_notify

from engine.watch.kernel import KernelBackend
from tests.patience import until


class Asked:
    """A backend of trees, and what it asked watchfiles for."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = place / "root"
        for path in ("a/deep", "b"):
            (self.root / path).mkdir(parents=True)
        (place / "cookies").mkdir()
        self.watches: list[tuple[list[str], bool]] = []
        self.heard: list[str] = []
        notify = watchfiles._rust_notify.RustNotify

        def asked(
            paths: list[str], debug: bool, polls: bool, delay: int, recursive: bool, ignore: bool
        ) -> Any:
            self.watches.append((paths[1:], recursive))
            return notify(paths, debug, polls, delay, recursive, ignore)

        monkeypatch.setattr(watchfiles._rust_notify, "RustNotify", asked)
        self.backend = KernelBackend(
            str(place / "cookies"),
            lambda voice, paths: self.heard.extend(paths),
            self.heard.append,
            trees=True,
        )

    def full(self, *paths: str) -> list[str]:
        return [str(self.root / path) for path in paths]

    def cover(self, *paths: str) -> set[str]:
        return {str(Path(path).relative_to(self.root)) for path in self.backend.cover(self.full(*paths))}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    found = Asked(tmp_path, monkeypatch)
    yield found
    found.backend.close()


def test_of_many_directories_the_topmost_are_watched_with_all_below_them(asked: Asked) -> None:
    assert asked.cover(".", "a", "a/deep", "b") == {".", "a", "a/deep", "b"}
    assert asked.watches == [(asked.full("."), True)]
    (asked.root / "a" / "deep" / "new.txt").write_text("")
    until(lambda: asked.full("a/deep/new.txt")[0] in asked.heard)


def test_a_directory_that_comes_later_needs_no_other_watch(asked: Asked) -> None:
    asked.cover(".", "a")
    assert asked.cover(".", "b") == {"b"}  # to be looked at
    assert asked.cover("b") == set()
    assert len(asked.watches) == 1
    assert asked.backend.covers(asked.full("b")[0])


def test_trees_that_lie_beside_each_other_are_watched_each(asked: Asked) -> None:
    asked.cover("a/deep", "b")
    assert asked.watches == [(asked.full("a/deep", "b"), True)]
    assert asked.cover(".") == {".", "a/deep", "b"}  # another watch: what the one before had to tell is lost
    assert asked.watches[1:] == [(asked.full("."), True)]


def test_a_top_that_was_removed_is_watched_anew_with_what_was_below_it(asked: Asked) -> None:
    asked.cover(".", "a", "b")
    gone = asked.full(".", "a", "b")
    asked.backend.uncover(gone)
    assert not any(map(asked.backend.covers, gone))
    assert asked.cover(".", "a", "b") == {".", "a", "b"}
    assert asked.watches == [(asked.full("."), True)] * 2


def test_what_a_lost_top_told_of_is_covered_no_more(asked: Asked) -> None:
    asked.cover("a")
    asked.cover("a/deep")
    (asked.root / "a").rename(asked.root / "away")
    assert asked.cover("b") == {"a", "a/deep", "b"}
    assert [asked.backend.covers(path) for path in asked.full("a", "a/deep", "b")] == [False, False, True]
