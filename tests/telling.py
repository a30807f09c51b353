"""Events of every kind, and what the tests of telling them use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import attrs

from engine.watch.events import (
    Changed,
    Failed,
    Figures,
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

CHECKOUT = Path(__file__).resolve().parent.parent

STARTED = Started(
    revision=7,
    watched=("rules:report()",),
    mode="events",
    files=120,
    directories=9,
    seconds=0.0421,
    failures=(Failed("rules:lines('b.txt')", "FileNotFoundError: b.txt", watched=False, again_in=0.0),),
)
REVISED = Revised(
    revision=8,
    since=7,
    inputs=(
        Changed("engine.rules.files:read_text('a.py')", "engine.rules.files:read_text", "0f", "1e", "edited"),
    ),
    changed=(Changed("rules:report()", "rules:report", "aa", "bb", "a.py"),),
    omitted=0,
    failures=(),
    deltas=(FileDelta("a.py", "changed", ((3, 4), (9, 8)), ("function area",), (), ("method Shape.size",)),),
    figures=Figures(1, 1, 3, 1, 40, 0, 0.8124, 2.25, 14.0),
)
EXAMPLES: dict[WatchEvent, str] = {
    STARTED: (
        '{"directories": 9, "event": "started", "failures": [{"again_in": 0.0, "error": '
        '"FileNotFoundError: b.txt", "key": "rules:lines(\'b.txt\')", "watched": false}], "files": 120, '
        '"mode": "events", "revision": 7, "schema": 1, "seconds": 0.042, "watched": ["rules:report()"]}'
    ),
    REVISED: (
        '{"changed": [{"after": "bb", "before": "aa", "cause": "a.py", "key": "rules:report()", '
        '"query": "rules:report"}], "crawl": "", "deltas": [{"added": ["function area"], '
        '"changed": ["method Shape.size"], "lines": [[3, 4], [9, 8]], "path": "a.py", "removed": [], '
        '"what": "changed"}], "event": "revised", "failures": [], "figures": {"applied": 0.812, '
        '"cut_off": 1, "executed": 3, "failed": 0, "inputs": 1, "latency": 14.0, "looked_at": 1, '
        '"refreshed": 2.25, "verified": 40}, "inputs": [{"after": "1e", "before": "0f", '
        '"cause": "edited", "key": "engine.rules.files:read_text(\'a.py\')", '
        '"query": "engine.rules.files:read_text"}], "omitted": 0, "revision": 8, "schema": 1, "since": 7}'
    ),
    Watching("doubtful", "live", "no tick for 2.1 s"): (
        '{"before": "live", "event": "watching", "reason": "no tick for 2.1 s", "schema": 1, '
        '"state": "doubtful"}'
    ),
    Trouble("src", "the directory cannot be read", "chmod u+rx src"): (
        '{"cause": "the directory cannot be read", "event": "trouble", "gave_up": false, "place": "src", '
        '"remedy": "chmod u+rx src", "schema": 1}'
    ),
    RulesChanged(("rules.py",)): '{"event": "rules_changed", "paths": ["rules.py"], "schema": 1}',
    Skipped(events=12, revision=20): '{"event": "skipped", "events": 12, "revision": 20, "schema": 1}',
    Stopped(21, "interrupted"): (
        '{"event": "stopped", "reason": "interrupted", "revision": 21, "schema": 1}'
    ),
}
HOSTILE = "a\udcff\x1b[31m\r\n\0\u202e\"\\'\u2028é😀"


def skips(*revisions: int) -> list[WatchEvent]:
    """Small events that are told apart by a number."""
    return [Watching("live", "crawling", str(revision)) for revision in revisions]


def revision_of(revision: int) -> Revised:
    """An event with a revision and nothing else."""
    return Revised(revision, revision - 1, (), (), 0, (), (), Figures())


def with_texts(value: Any, text: str) -> Any:
    """The same record with another text in every place for one."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_texts(one, text) for one in value)
    if attrs.has(type(value)):
        names = [field.name for field in attrs.fields(type(value))]
        return type(value)(**{name: with_texts(getattr(value, name), text) for name in names})
    return value


def with_rounded_times(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, tuple):
        return tuple(with_rounded_times(one) for one in value)
    if attrs.has(type(value)):
        names = [field.name for field in attrs.fields(type(value))]
        return type(value)(**{name: with_rounded_times(getattr(value, name)) for name in names})
    return value


def named_threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]
