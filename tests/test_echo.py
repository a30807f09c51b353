"""Echoes are found by the clock that files have their times from, also when it is set."""

from __future__ import annotations

import pytest

from engine.watch.echo import FIRST_WAIT, ROUNDS, Echo

HOUR = 3_600.0


class World:
    """A file that is written amid each refresh."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.echo = Echo(lambda path: self.now)

    def round(self, work: float = 0.2) -> dict[str, float]:
        """Refresh, and look at what came of it."""
        began = self.now
        self.now += work / 2  # here it is written
        self.echo.worked(began, self.now + work / 2)
        found = self.echo.of(["a.txt"])
        self.now += work / 2 + 0.01
        return found


def rounds_until_found(world: World) -> int:
    return next(number for number in range(1, 100) if world.round())


def test_a_file_that_is_written_amid_each_refresh_is_waited_with_longer_and_longer() -> None:
    world = World()
    assert [world.round() for _ in range(ROUNDS - 1)] == [{}] * (ROUNDS - 1)
    assert [world.round() for _ in range(3)] == [{"a.txt": FIRST_WAIT * times} for times in (1, 2, 4)]


@pytest.mark.parametrize("step", [-HOUR, -5.0, HOUR])
def test_an_echo_is_found_as_soon_after_the_clock_was_set(step: float) -> None:
    world = World()
    world.round()
    world.echo.of([])
    world.now += step
    assert rounds_until_found(world) <= ROUNDS + 1


def test_what_is_told_late_takes_nothing_from_what_was_told_before() -> None:
    world = World()
    world.echo.worked(world.now, world.now + 1)
    world.echo.worked(world.now - 0.5, world.now - 0.2)
    world.now += 0.5
    for _ in range(ROUNDS - 1):
        assert world.echo.of(["a.txt"]) == {}
    assert world.echo.of(["a.txt"]) == {"a.txt": FIRST_WAIT}
