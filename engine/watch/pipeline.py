"""Pipeline: what the two threads of a watch share: its stages, and how the watch ends.

Invariants
    A1  Trouble that nobody foresaw ends nothing: it is told, everything is looked at again, and what keeps
        failing is tried again less and less often.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from attrs import define, field

from engine.core import Core
from engine.errors import Closed
from engine.message import EngineError
from engine.watch.delta_processor import DeltaProcessor
from engine.watch.echo import Echo
from engine.watch.events import Trouble, WatchEvent
from engine.watch.file_watcher import FileWatcher
from engine.watch.graph_updater import GraphUpdater, text_of
from engine.watch.progress_tracker import ProgressTracker
from engine.watch.update_scheduler import UpdateScheduler

STEP_SECONDS = 0.25  # between two looks after the watch itself, when nothing is due
LONGEST_PAUSE = 5.0  # seconds, after trouble that comes again and again

log = logging.getLogger("engine.watch")


@define(slots=True)
class Pipeline:
    """Its stages. `publish` tells everybody an event; `live` is set once everything watched was right."""

    core: Core
    scheduler: UpdateScheduler[Any]  # of nodes (int) and of keys
    files: FileWatcher
    processor: DeltaProcessor
    updater: GraphUpdater
    tracker: ProgressTracker
    echo: Echo
    publish: Callable[[WatchEvent], None]
    deltas: bool
    ending: str = ""
    ended: threading.Event = field(factory=threading.Event)
    live: threading.Event = field(factory=threading.Event)
    _errors: int = 0

    def end(self, reason: str) -> None:
        """Let the threads come to their end."""
        self.ending = reason
        self.ended.set()
        with self.scheduler.changed:
            self.scheduler.changed.notify_all()

    def is_over(self, error: BaseException) -> bool:
        """Whether an error means that the engine was closed or stopped under the watch, or the watch itself.

        What a query raises to end a program (SystemExit, KeyboardInterrupt) is trouble like any other.
        """
        ends = isinstance(error, Closed | KeyboardInterrupt)
        return self.ended.is_set() or self.core.closed or (ends and self.core.stopping)

    def worked(self) -> None:
        """Something went well."""
        self._errors = 0

    def report(self, what: str, error: BaseException) -> None:
        """Something went wrong that should not have (A1)."""
        if self.ending:
            return
        self._errors += 1
        # Where it was raised is told once: the next times are the same as long as nothing works. An error of
        # ours says itself what is the matter.
        unknown = self._errors == 1 and not isinstance(error, EngineError)
        log.error("%s failed", what, exc_info=error if unknown else None)
        remedy = (
            error.hint if isinstance(error, EngineError) else "The watch goes on and looks at everything."
        )
        self.publish(Trouble(what, text_of(error), remedy))
        self.ended.wait(min(LONGEST_PAUSE, 0.05 * 2 ** min(self._errors, 10)))
        self.files.doubt(f"{what} failed")

    def try_again(self, node: Any, what: str) -> float:
        """Have a node or key tried again. Seconds until then; 0 where that was given up, which is told."""
        wait = self.scheduler.retry(node)
        if wait is None:
            remedy = "It is tried again when something changes."
            self.publish(Trouble(what, "it failed again and again", remedy, gave_up=True))
        return round(wait or 0.0, 3)
