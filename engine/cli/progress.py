"""Progress: a line that moves on a terminal while queries run; elsewhere a plain one from time to time.

Invariants
    L1  Nothing is imported or drawn for work that takes less than DELAY_SECONDS.
    L2  Only standard error is written to. Where it is no terminal that can move its cursor, work of less than
        FIRST_SECONDS shows nothing, and an hour of work some 360 lines.
    L3  Drawing happens in a thread of its own, and its failure never touches the work.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from engine.cli.output import tell
from engine.message import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine import Counts, Engine, Event

DELAY_SECONDS: Final = 0.3  # shorter work shows nothing; importing rich takes half of it
PER_SECOND: Final = 10  # drawings
FIRST_SECONDS: Final = 3.0  # until a log is told what is done: silence looks like a hang
NEXT_SECONDS: Final = 10.0  # between lines of a log
STEP_SECONDS: Final = 0.1
KEY_WIDTH: Final = 60  # characters


@contextlib.contextmanager
def told_if_long(doing: str) -> Iterator[None]:
    """Tell once what is done if the block takes longer than FIRST_SECONDS, on a terminal too."""
    timer = threading.Timer(FIRST_SECONDS, tell, (escaped(doing),))
    timer.name, timer.daemon = "engine-progress", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Progress:
    """Shows the counts of an engine while the block runs: `with Progress(db, "...", quiet=False): ...`.

    doing   what a log is told, once: "computing", or whatever it is, and of which key
    """

    def __init__(self, db: Engine, doing: str, *, quiet: bool) -> None:
        self._db = db
        self._doing = doing
        self._quiet = quiet
        self._before = db.counts()
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._last: Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if not self._quiet:
            self._thread = threading.Thread(target=self._run, name="engine-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def counts(self) -> Counts:
        """What was done since the block began."""
        return self._db.counts() - self._before

    def summary(self) -> str:
        """The line at the end."""
        seconds = time.monotonic() - self._started
        return f"{line_of(self.counts())} in {seconds:.2f} s, revision {self._db.revision}"

    def tell_summary(self) -> None:
        """Print the line at the end, unless nobody wants it."""
        if not self._quiet:
            tell(self.summary())

    def _run(self) -> None:
        draw = can_draw()
        if self._ends_within(DELAY_SECONDS if draw else FIRST_SECONDS):
            return
        with contextlib.suppress(Exception):  # a terminal that is gone is no reason to stop (L3)
            if draw:
                self._draw()
            else:
                self._tell()

    def _tell(self) -> None:
        tell(escaped(self._doing))
        while not self._ends_within(NEXT_SECONDS):
            tell(f"{line_of(self.counts())} after {time.monotonic() - self._started:.0f} s")

    def _ends_within(self, seconds: float) -> bool:
        """Whether the block ends before so much time has passed; none passes while the process is stopped."""
        return any(self._ended.wait(STEP_SECONDS) for _ in range(round(seconds / STEP_SECONDS)))

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        stop_listening = self._db.listen(self._notice)
        try:
            console = Console(stderr=True)
            columns: tuple[Any, ...] = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
            )
            bar = Bar(
                *columns,
                console=console,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            with bar:
                task = bar.add_task("", total=None)
                while not self._ended.wait(1 / PER_SECOND):
                    bar.update(task, description=self._text())
                    bar.refresh()
        finally:
            stop_listening()

    def _text(self) -> str:
        from rich.markup import escape

        event = self._last
        name = str(event.key) if event is not None and event.key is not None else ""
        name = name if len(name) <= KEY_WIDTH else name[: KEY_WIDTH - 1] + "…"
        return escape(f"{line_of(self.counts())}  {name}")

    def _notice(self, event: Event) -> None:
        self._last = event


def line_of(counts: Counts) -> str:
    """Counts in words."""
    failed = f", failed {counts.failed}" if counts.failed else ""
    restored = f", restored {counts.restored}" if counts.restored else ""
    return (
        f"executed {counts.executed}, cut off {counts.cut_off}, verified {counts.verified}, "
        f"read {counts.read}{restored}{failed}"
    )


def can_draw() -> bool:
    """Whether standard error is a terminal that can move its cursor."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
    except ValueError:  # it is closed
        return False
