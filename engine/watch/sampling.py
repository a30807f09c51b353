"""Sampling: while nothing happens, a few members of one table or fold are computed again and compared.

What is kept is right by construction, and tests say so. This looks anyway, for as long as a watch runs.

Invariants
    S1  It is in nobody's way: in a thread of its own, after CHECK_SECONDS of quiet, SAMPLE members at a time.
    S2  It settles nothing and starts no revision. What the world overtook meanwhile says nothing.
    S3  A disagreement is told, each one once, and counted. Nothing is mended quietly.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engine.core import Core
from engine.tables.audit import Audit, glance
from engine.watch.events import Trouble
from engine.watch.progress_tracker import ProgressTracker

if TYPE_CHECKING:
    from engine.watch.pipeline import Pipeline

CHECK_SECONDS: Final = 600.0
SAMPLE: Final = 100  # members: some 0.2 s of Python files
LONGEST_WAIT: Final = 3600.0  # seconds a thread may be told to wait
TOLD_AT_MOST: Final = 1_000  # disagreements remembered, so that they are not told again
REMEDY: Final = "engine audit {0} tells all; engine forget '{0}*' computes it anew. Please report it."


class Sampling:
    """Says when it is time, and looks. `seconds`: of quiet before a look; 0: never."""

    def __init__(
        self,
        core: Core,
        publish: Callable[[Trouble], None],
        tracker: ProgressTracker,
        seconds: float = CHECK_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._core = core
        self._publish = publish
        self._tracker = tracker
        self._seconds = seconds
        self._clock = clock
        self._chance = chance or random.Random()
        self._quiet_since = clock()
        self._told: dict[str, None] = {}

    def worked(self) -> None:
        """Something happened: the quiet begins anew."""
        self._quiet_since = self._clock()

    def wait(self) -> float:
        """Seconds until it is time for a look."""
        if not self._seconds:
            return LONGEST_WAIT
        return min(LONGEST_WAIT, max(0.0, self._quiet_since + self._seconds - self._clock()))

    def look(self) -> Audit | None:
        """Look at a table or fold, whichever; None where there was nothing to look at."""
        self.worked()
        core = self._core
        with core.lock:
            known = [one.definition for one in core.collections.values() if not one.failing]
        several = [info for info in known if info is not None]
        if not several:
            return None
        found = glance(core, self._chance.choice(several), SAMPLE, self._chance)
        if found is not None:
            self._tracker.audited(found.members, len(found.differences))
            self._tell(found)
        return found

    def _tell(self, found: Audit) -> None:
        """One event for all that is new of a look."""
        fresh = [one for one in found.differences if one.where not in self._told]
        if not fresh:
            return
        if len(self._told) < TOLD_AT_MOST:
            self._told.update(dict.fromkeys(one.where for one in fresh))
        first = fresh[0]
        more = f", and {len(fresh) - 1} more" if len(fresh) > 1 else ""
        cause = f"an audit disagrees: of {first.where} is kept {first.kept}, right is {first.right}{more}"
        self._publish(Trouble(found.name, cause, REMEDY.format(found.name)))

    def run(self, pipeline: Pipeline) -> None:
        """The body of the thread, until the watch ends."""
        while not pipeline.ended.wait(self.wait()):
            if self.wait() > 0:
                continue  # something happened meanwhile
            if not pipeline.live.is_set():
                self.worked()  # the first build is under way
                continue
            try:
                self.look()
            except BaseException as error:  # a rule may call sys.exit
                if pipeline.is_over(error):
                    return
                logging.getLogger("engine.watch").exception("an audit failed")
                self._publish(Trouble("an audit", f"it failed: {type(error).__name__}: {error}"))
