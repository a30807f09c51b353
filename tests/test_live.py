"""What a watch tells people: on a terminal, and elsewhere."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import termios
import threading
from typing import Any

import attrs
import pytest

from engine.cli import live as live_module
from engine.cli.live import Live, line_of, line_of_failure
from engine.watch.events import (
    Changed,
    Failed,
    Figures,
    FileDelta,
    Revised,
    RulesChanged,
    Skipped,
    Stopped,
    Trouble,
    WatchEvent,
    Watching,
)
from engine.watch.progress_tracker import ProgressTracker
from tests.patience import PATIENCE, until
from tests.telling import CHECKOUT, EXAMPLES, HOSTILE, REVISED, STARTED, named_threads, with_texts


def inputs_of(*keys: str) -> tuple[Changed, ...]:
    return tuple(Changed(key, key.partition("(")[0], "", "", "") for key in keys)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (STARTED, "R7  watching 1 key, 120 observed inputs in 42 ms (events); 1 key failing"),
        (REVISED, "R8  a.py changed: 3 executed, 1 cut off, 1 value changed, 14 ms after the save"),
        (
            attrs.evolve(
                REVISED,
                deltas=tuple(FileDelta(f"{name}.py", "added") for name in "abcd"),
                figures=Figures(executed=1200, applied=1_000.0, refreshed=500.0, failed=1),
                failures=(Failed("k", "e"),),
                omitted=1999,
            ),
            "R8  a.py, b.py and 2 more added: 1,200 executed, 1 failed, 2,000 values changed, in 1.5 s; "
            "1 key failing",
        ),
        (
            attrs.evolve(REVISED, deltas=(), crawl="no tick for 2.1 s"),
            "R8  crawl (no tick for 2.1 s), a.py changed: 3 executed, 1 cut off, 1 value changed, "
            "14 ms after the save",
        ),
        (
            Revised(9, 8, (), (), 0, (), (), Figures(executed=1, applied=0.0, refreshed=2.25)),
            "R9  no input changed: 1 executed, 0 values changed, in 2.2 ms",
        ),
        (
            Revised(9, 8, inputs_of("engine.rules.files:kind('a.py')", "engine.rules.files:exists('a.py')",
                                    "engine.rules.files:exists('it\\'s.py')", "engine.rules.env:env('a.py')"),
                    (), 0, (), (), Figures(latency=14.0)),
            "R9  a.py, engine.rules.files:exists('it\\'s.py') and 1 more changed: 0 executed, "
            "0 values changed, 14 ms after the save",
        ),
        (Watching("live", "crawling", "all is seen"), None),
        (Watching("crawling", "doubtful", "no tick for 2.1 s"), "crawling: no tick for 2.1 s"),
        (Trouble("src", "it cannot be read.", "chmod u+rx src"), "src: it cannot be read. chmod u+rx src"),
        (Trouble("", "it failed", "", True), "it failed; gave up until the next change"),
        (RulesChanged(("rules.py", "b.py", "c.py")),
         "rules.py, b.py and 1 more changed: the new code runs in a fresh interpreter"),
        (Skipped(12, 20), "12 events not shown, up to R20"),
        (Stopped(21, "interrupted"), "R21  stopped: interrupted"),
    ],
)  # fmt: skip
def test_an_event_is_one_line(event: WatchEvent, line: str | None) -> None:
    assert line_of(event) == line


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda one: type(one).__name__)
def test_no_name_reaches_the_terminal_as_control_characters(event: WatchEvent) -> None:
    hostile = with_texts(event, HOSTILE * 100)
    line = line_of(hostile) or ""
    assert line.isprintable()
    assert len(line) < 1_500
    assert line_of_failure(Failed(HOSTILE, HOSTILE, again_in=2.0)).isprintable()


def test_failures_are_told_when_they_come_change_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(ProgressTracker().snapshot, quiet=False) as live:
        first = Failed("k", "ValueError: 1\nmore", watched=True)
        second = Failed("k", "ValueError: 2", watched=True, again_in=1.5)
        for failures in ((first,), (first,), (second, Failed("other", "E: below it")), ()):
            live.tell(attrs.evolve(REVISED, failures=failures, deltas=()))
    said = capsys.readouterr()
    assert said.out == ""
    assert [line for line in said.err.splitlines() if line.startswith("  ")] == [
        "  failed: k: ValueError: 1",
        "  failed: k: ValueError: 2; tried again in 1.5 s",
        "  failed: other: E: below it",
        "  right again: k",
    ]
    assert len(said.err.splitlines()) == 8


def test_what_changed_in_a_file_is_told_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(ProgressTracker().snapshot, quiet=False) as live:
        live.tell(REVISED)
    assert "  a.py changed: lines 3-4; + function area; ~ method Shape.size" in capsys.readouterr().err


def test_many_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(ProgressTracker().snapshot, quiet=False) as live:
        failures = tuple(Failed(f"k{number}", "e", watched=True) for number in range(50))
        live.tell(attrs.evolve(REVISED, failures=failures, deltas=()))
        live.tell(attrs.evolve(REVISED, failures=(), deltas=()))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 11 + 1 + 11
    assert lines.count("  and 40 more") == 2


def test_who_wants_quiet_is_told_failures_and_trouble_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(ProgressTracker().snapshot, quiet=True) as live:
        for event in EXAMPLES:
            live.tell(event)
    assert capsys.readouterr().err.splitlines() == [
        "  failed: rules:lines('b.txt'): FileNotFoundError: b.txt",
        "src: the directory cannot be read. chmod u+rx src",
    ]


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(term: str) -> None:
    said = on_a_terminal(80, {"TERM": term})
    assert "\x1b" not in said
    assert said.splitlines() == [
        "R7  watching 1 key, 120 observed inputs in 42 ms (events); 1 key failing",
        "  failed: rules:lines('b.txt'): FileNotFoundError: b.txt",
        "printed by a query",
        "R21  stopped: interrupted",
    ]


@pytest.mark.parametrize("columns", [20, 80])
def test_on_a_terminal_lines_scroll_above_those_that_stay(columns: int) -> None:
    said = on_a_terminal(columns, {"TERM": "xterm-256color", "NO_COLOR": "1"})
    for line in ("R7  watching 1 key, 120 observed inputs in 42 ms (events); 1 key failing",
                 "printed by a query", "R21  stopped: interrupted"):  # fmt: skip
        assert line in said
    kept = "live (events), revi…" if columns == 20 else "live (events), revision 7, 120 observed inputs"
    assert kept in said
    assert "\x1b[3" not in said  # no colour
    assert said.count("R7  watching") == 1


def test_a_display_that_fails_goes_on_as_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live_module, "can_draw", lambda: True)

    def broken() -> Any:
        raise ZeroDivisionError

    with Live(broken, quiet=False) as live:
        until(lambda: not named_threads("engine-watch-live"))
        live.tell(Stopped(21, "interrupted"))
    assert capsys.readouterr().err.splitlines()[-1] == "R21  stopped: interrupted"


def test_telling_does_not_wait_for_a_terminal_and_says_what_it_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "can_draw", lambda: True)
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    told, looked = threading.Event(), threading.Event()
    tracker = ProgressTracker()

    def progress() -> Any:
        looked.set()
        assert told.wait(PATIENCE)
        return tracker.snapshot()

    with Live(progress, quiet=False) as live:
        assert looked.wait(PATIENCE)
        for number in range(500):
            live.tell(Skipped(number, 0))
        told.set()
        until(lambda: not live._lines)
    said = screen.getvalue()
    assert "… 300 lines left out" in said
    assert said.count("events not shown") == 200


# -- what they use ----------------------------------------------------------------------------------


TERMINAL = """
import sys, time
from tests.telling import STARTED
from engine.cli.live import Live
from engine.watch.events import Stopped
from engine.watch.progress_tracker import ProgressTracker
tracker = ProgressTracker(clock=lambda: 100.0)
tracker.started(STARTED)
tracker.state("live")
looks = []
with Live(lambda: looks.append(1) or tracker.snapshot(), quiet=False) as live:
    live.tell(STARTED)
    deadline = time.monotonic() + 60
    while live._drawing and (live._lines or len(looks) < 2) and time.monotonic() < deadline:
        time.sleep(0.01)  # at its second look it has drawn what it saw at the first
    print("printed by a query", file=sys.stderr)
    live.tell(Stopped(21, "interrupted"))
"""


def on_a_terminal(columns: int, environment: dict[str, str]) -> str:
    """What TERMINAL writes on a terminal of this width."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    clean = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL],
        cwd=CHECKOUT,
        env={**clean, "PYTHONPATH": str(CHECKOUT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        said += piece
    assert process.wait(PATIENCE) == 0
    os.close(master)
    return said.decode().replace("\r\n", "\n")
