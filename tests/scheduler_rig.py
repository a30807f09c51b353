"""An UpdateScheduler alone, with a clock that a test moves."""

from __future__ import annotations

import pytest

from engine.watch.update_scheduler import Batch, UpdateScheduler


class Rig:
    """A scheduler, its clock and its repository."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.held = False
        self.scheduler: UpdateScheduler[int] = UpdateScheduler(lambda: self.now, lambda: self.held)

    def hint(self, *paths: str) -> None:
        self.scheduler.hint(paths)

    def after(self, seconds: float) -> Batch[int] | None:
        self.now += seconds
        return self.scheduler.take()

    def next(self) -> tuple[float, Batch[int]]:
        """Wait as the scheduler says until there is a batch: seconds waited, and the batch."""
        began = self.now
        for _ in range(10_000):
            batch = self.scheduler.take()
            if batch is not None:
                return self.now - began, batch
            wait = self.scheduler.due()
            assert wait is not None, "nothing is due"
            self.now += wait + 1e-6
        raise AssertionError("no batch in 10,000 steps")


@pytest.fixture
def rig() -> Rig:
    return Rig()
