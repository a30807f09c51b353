"""Live: what a watch tells people. A few lines that stay at the bottom of a terminal; elsewhere plain lines.

Invariants
    L1  Only standard error is written to. One event is at most one line, and one more for each key that
        began to fail or is right again; nothing is told twice.
    L2  No control character reaches the terminal, whatever a file, a key or an error is called.
    L3  Drawing happens in a thread of its own. `tell` never waits for the terminal, and when drawing fails
        the lines go on as plain ones.
    L4  Nothing is drawn while the lines at the bottom stay the same.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engine.cli.output import tell
from engine.cli.progress import can_draw
from engine.message import escaped
from engine.watch.events import (
    Failed,
    FileDelta,
    Revised,
    RulesChanged,
    Skipped,
    Started,
    Stopped,
    Trouble,
    WatchEvent,
    Watching,
)
from engine.watch.progress import Progress, count, duration, summary_lines

if TYPE_CHECKING:
    from rich.console import Console

PER_SECOND: Final = 4  # looks at the progress: reading is slower
CLOSE_SECONDS: Final = 1.0  # to wait for a terminal that takes nothing (Ctrl-S)
QUEUE: Final = 200  # lines that wait to be drawn: more than anybody reads in a quarter of a second
DELTAS: Final = 5  # files whose differences are told of one event
NAMED: Final = 2  # files that are named in a line
FAILURES: Final = 10  # failing keys that are told of one event
NAME_WIDTH: Final = 100  # characters of a path or a key
ERROR_WIDTH: Final = 300  # characters of an error
PLACE: Final = re.compile(r"engine\.rules\.(?:files|directories):\w+\('([^'\\]*)'\)")


class Live:
    """Tells people what a watch does: `with Live(tracker.snapshot, quiet=False) as live: live.tell(event)`.

    quiet       no display and no line for what goes well; failures and trouble are still told
    """

    def __init__(self, progress: Callable[[], Progress], quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._failing: dict[str, str] = {}
        self._lock = threading.Lock()
        self._lines: deque[tuple[str, str]] = deque(maxlen=QUEUE)  # text and style
        self._left_out = 0
        self._wake = threading.Event()
        self._ended = False
        self._drawing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Live:
        if not self._quiet and can_draw():
            self._drawing = True
            self._thread = threading.Thread(target=self._run, name="engine-watch-live", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_SECONDS)

    def tell(self, event: WatchEvent) -> None:
        """Show an event. From any thread; never raises, and on a terminal never waits."""
        with self._lock:
            told = self._told(event)
            if self._drawing:
                self._left_out += max(0, len(self._lines) + len(told) - QUEUE)
                self._lines.extend(told)
                self._wake.set()
                return
        for line, _ in told:
            tell(line)

    def _told(self, event: WatchEvent) -> list[tuple[str, str]]:
        line = None if self._quiet and not isinstance(event, Trouble) else line_of(event)
        told = [(line, style_of(event))] if line is not None else []
        if isinstance(event, Revised) and not self._quiet:
            told += [(line_of_delta(delta), "dim") for delta in event.deltas[:DELTAS]]
        return [*told, *self._failures_of(event)]

    def _failures_of(self, event: WatchEvent) -> list[tuple[str, str]]:
        """Keys that began to fail, fail differently, or are right again."""
        if not isinstance(event, Started | Revised):
            return []
        before = self._failing
        # Others than watched keys are told in the revision in which they fail, and never again.
        self._failing = {failed.key: failed.error for failed in event.failures if failed.watched}
        told = [
            (line_of_failure(failed), "red")
            for failed in event.failures
            if before.get(failed.key) != failed.error
        ]
        if len(told) > FAILURES:
            told = [*told[:FAILURES], (f"  and {len(told) - FAILURES} more", "red")]
        if not self._quiet:
            mended = [key for key in before if key not in self._failing]
            told += [
                (f"  right again: {escaped(key, limit=NAME_WIDTH)}", "green") for key in mended[:FAILURES]
            ]
            if len(mended) > FAILURES:
                told.append((f"  and {len(mended) - FAILURES} more", "green"))
        return told

    # -- the drawing thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._draw()
        except Exception:  # a terminal that is gone, or one that rich does not understand (L3)
            logging.getLogger("engine").debug("the display ended", exc_info=True)
        finally:
            with self._lock:
                self._drawing = False
                rest = [line for line, _ in self._lines]
                self._lines.clear()
            for line in rest:
                tell(line)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live as Display
        from rich.text import Text

        console = Console(stderr=True)
        shown: list[str] = []
        with Display(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,  # what queries print goes above our lines, not through them
            vertical_overflow="crop",
        ) as display:
            while not self._ended:
                self._wake.clear()
                self._print_lines(console)
                lines = summary_lines(self._progress())
                if lines != shown:
                    shown = lines
                    text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis", style="dim")
                    display.update(text, refresh=True)
                self._wake.wait(1 / PER_SECOND)
        self._print_lines(console)

    def _print_lines(self, console: Console) -> None:
        from rich.text import Text

        while True:
            with self._lock:
                left_out, self._left_out = self._left_out, 0
                line = self._lines.popleft() if self._lines else None
            if left_out:
                console.print(Text(f"… {count(left_out, 'line')} left out", style="dim"), soft_wrap=True)
            if line is None:
                return
            console.print(Text(line[0], style=line[1]), soft_wrap=True)


# -- events in words -----------------------------------------------------------------------------


def line_of(event: WatchEvent) -> str | None:
    """An event on one line; None for what only matters to other programs. Failing keys are not in it."""
    match event:
        case Started():
            watched = count(len(event.watched), "key")
            return (
                f"R{event.revision}  watching {watched}, {count(event.files, 'observed input')} in "
                f"{duration(event.seconds * 1000)} ({_short(event.mode)}){_failing(event.failures)}"
            )
        case Revised():
            return f"R{event.revision}  {_cause(event)}: {_work(event)}"
        case Watching(state="live" | "starting") | Watching(reason="audit"):
            return None  # an audit that finds something is told by the revision it makes
        case Watching():
            return f"{_short(event.state)}: {escaped(event.reason, limit=ERROR_WIDTH)}"
        case Trouble():
            return _trouble(event)
        case RulesChanged():
            return f"{_named(event.paths)} changed: the new code runs in a fresh interpreter"
        case Skipped():
            return f"{count(event.events, 'event')} not shown, up to R{event.revision}"
        case Stopped():
            return f"R{event.revision}  stopped: {escaped(event.reason, limit=ERROR_WIDTH)}"


def line_of_failure(failed: Failed) -> str:
    """A failing key on one line."""
    again = f"; tried again in {duration(failed.again_in * 1000)}" if failed.again_in > 0 else ""
    return f"  failed: {_short(failed.key)}: {_first_line(failed.error)}{again}"


def line_of_delta(delta: FileDelta) -> str:
    """What changed in a file, on one line."""
    present = [(first, last) for first, last in delta.lines if first <= last]
    ranges = [f"{first}" if first == last else f"{first}-{last}" for first, last in present]
    parts = [f"lines {', '.join(ranges[:NAMED])}{' …' if len(ranges) > NAMED else ''}"] if ranges else []
    for sign, names in (("+", delta.added), ("-", delta.removed), ("~", delta.changed)):
        parts += [f"{sign} {_named(names)}"] if names else []
    return f"  {_short(delta.path)} {_short(delta.what)}{': ' if parts else ''}{'; '.join(parts)}"


def style_of(event: WatchEvent) -> str:
    """The colour of an event, as rich calls it."""
    match event:
        case Trouble():
            return "red" if event.gave_up else "yellow"
        case Watching() | Skipped() | RulesChanged():
            return "yellow"
    return ""


def _trouble(event: Trouble) -> str:
    place = f"{_short(event.place)}: " if event.place else ""
    gave_up = "; gave up until the next change" if event.gave_up else ""
    remedy = f". {escaped(event.remedy, limit=ERROR_WIDTH)}" if event.remedy else ""
    return f"{place}{escaped(event.cause, limit=ERROR_WIDTH).rstrip('.')}{gave_up}{remedy}"


def _cause(event: Revised) -> str:
    crawl = f"crawl ({escaped(event.crawl, limit=ERROR_WIDTH)}), " if event.crawl else ""
    if event.deltas:
        kinds = {delta.what for delta in event.deltas}
        what = kinds.pop() if len(kinds) == 1 else "changed"
        return f"{crawl}{_named(tuple(delta.path for delta in event.deltas))} {_short(what)}"
    if event.inputs:
        return f"{crawl}{_named(tuple(dict.fromkeys(_place(one.key) for one in event.inputs)))} changed"
    return f"{crawl}no input changed"


def _place(key: str) -> str:
    """The path of an input that is about a file or directory; several inputs may be about one."""
    found = PLACE.fullmatch(key)
    return (found[1] or "the root") if found else key


def _work(event: Revised) -> str:
    figures = event.figures
    parts = [f"{figures.executed:,} executed"]
    parts += [f"{figures.cut_off:,} cut off"] if figures.cut_off else []
    parts += [f"{figures.failed:,} failed"] if figures.failed else []
    parts.append(f"{count(len(event.changed) + event.omitted, 'value')} changed")
    if figures.latency > 0:
        parts.append(f"{duration(figures.latency)} after the save")
    else:
        parts.append(f"in {duration(figures.applied + figures.refreshed)}")
    return ", ".join(parts) + _failing(event.failures)


def _failing(failures: tuple[Failed, ...]) -> str:
    return f"; {count(len(failures), 'key')} failing" if failures else ""


def _named(names: tuple[str, ...]) -> str:
    shown = [_short(name) for name in names[:NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _short(text: str) -> str:
    return escaped(text, limit=NAME_WIDTH)


def _first_line(error: str) -> str:
    return escaped(next(iter(error.splitlines()), ""), limit=ERROR_WIDTH)
