"""`engine watch` killed at any moment: the next one is right, and nothing is left of the dead ones.

ENGINE_TEST_KILLS=N     so many kills instead of 30
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from engine import Engine
from tests.watch_process import Asked, Watching

KILLS = int(os.environ.get("ENGINE_TEST_KILLS", "30"))
SHARES = 2  # tests among which the kills are divided
STARTING_SECONDS = 0.8  # within which one that is killed early is killed
WORKING_SECONDS = 0.2  # the same for one that is killed amid edits
ASKED = 5  # every so many lives another command asks, too

RULES = """\
from engine import each, query
from engine.rules.directories import glob
from engine.rules.files import read_text

@query
def entry(path: str) -> str:
    return f"{path}={read_text(path)}"

@query
def summary() -> str:
    return " ".join(each(entry, glob("**/*.txt"))) or "nothing"
"""


class World:
    """A small tree, what happens to it, and what is right of it."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place = place
        self.chance = random.Random(seed)
        self._count = 0
        place.mkdir()
        (place / "rules.py").write_text(RULES)
        (place / "engine.toml").write_text('rules = ["rules.py"]\n')
        for _ in range(5):
            self.edit()

    def edit(self) -> None:
        """Write, replace, move or remove a file or a directory."""
        self._count += 1
        directory = self.place / self.chance.choice(("", "a", "a/b", "c"))
        path = directory / self.chance.choice(("one.txt", "two.txt", "three.txt"))
        match self.chance.randrange(6):
            case 0 if directory != self.place:
                shutil.rmtree(directory, ignore_errors=True)
            case 1:
                path.unlink(missing_ok=True)
            case 2 if path.exists():
                path.rename(path.with_name("moved.txt"))
            case _:
                directory.mkdir(parents=True, exist_ok=True)
                swap = path.with_name("swap")
                swap.write_text(str(self._count))
                swap.replace(path)

    def right(self) -> str:
        """The value from scratch, without the engine."""
        paths = sorted(path.relative_to(self.place).as_posix() for path in self.place.rglob("*.txt"))
        return " ".join(f"{path}={(self.place / path).read_text()}" for path in paths) or "nothing"

    def left(self) -> set[str]:
        """The files and directories in the store's directory."""
        return {path.name for path in (self.place / ".engine").iterdir()}


@pytest.mark.limit(60 + 10 * KILLS)
@pytest.mark.parametrize("share", range(SHARES))
def test_a_watch_is_right_after_others_were_killed_at_any_moment(tmp_path: Path, share: int) -> None:
    world = World(tmp_path / "tree", share)
    options = ("summary", "--print", "--quiet")
    for life in range(KILLS // SHARES):
        with Watching(world.place, *options) as watch:
            if world.chance.random() < 0.3:
                time.sleep(world.chance.uniform(0, STARTING_SECONDS))
            else:
                becomes_right(watch, world)
                if life % ASKED == 0:
                    world.edit()
                    asked = Asked(world.place, "run", "summary")
                    assert (asked.out, asked.by_watch) == (world.right() + "\n", True)
                until = time.monotonic() + world.chance.uniform(0, WORKING_SECONDS)
                while time.monotonic() < until:
                    world.edit()
            assert watch.ends(signal.SIGKILL) == -signal.SIGKILL
            assert "Traceback" not in watch.told(), watch.told()
            assert "damaged" not in watch.told()
        for _ in range(world.chance.randrange(3)):
            world.edit()
    with Watching(world.place, *options) as watch:
        becomes_right(watch, world)
        assert {name for name in world.left() if name.startswith("cookies")} == one_of(world)
        assert watch.ends(signal.SIGTERM) == 143
    with Engine(tmp_path / "fresh"):
        pass
    assert world.left() == {path.name for path in (tmp_path / "fresh").iterdir()}


def becomes_right(watch: Watching, world: World) -> None:
    """The last value that is printed is the right one. Files do not change meanwhile."""
    right = world.right()
    watch.until(lambda: watch.out and watch.out[-1] == right, right)


def one_of(world: World) -> set[str]:
    """The only directory of cookies that may be there."""
    found = sorted(name for name in world.left() if name.startswith("cookies"))
    return set(found[:1])


def test_a_watch_that_was_killed_amid_a_replacement_leaves_a_socket_that_the_next_one_replaces(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "tree", 0)
    for wait in (0.0, 0.1, 0.3):
        with Watching(world.place, "summary") as watch:
            watch.ready()
            (world.place / "rules.py").write_text(RULES + f"# {wait}\n")
            watch.says("fresh interpreter")
            time.sleep(wait)
            watch.ends(signal.SIGKILL)
        asked = Asked(world.place, "run", "summary")
        assert (asked.code, asked.out, asked.by_watch) == (0, world.right() + "\n", False)
    with Watching(world.place, "summary") as watch:
        watch.ready()
        assert Asked(world.place, "run", "summary").by_watch
