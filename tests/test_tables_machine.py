"""Random programs with tables under random timelines: answers are from scratch, only what must run runs.

Steps: set, batch, changed code, forget, close and open, crash, gc, snapshots held over edits, and members
that fail for a moment. See `table_world` for what is checked after each, `table_model` for what must run.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from attrs import asdict

from tests.table_world import Settings, fuzz, replay, switch_branches

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
VARIANTS = {
    "memory": Settings(),
    "tiny": Settings(tiny=True),
    "tiny-strict": Settings(tiny=True, strict=True),
    "workers": Settings(workers=3),
    "flaky": Settings(flaky=True),
    "stored": Settings(stored=True),
    "shared-bits": Settings(bits=2),
    "stored-shared-bits": Settings(stored=True, bits=1),
    "stored-tiny-workers": Settings(stored=True, tiny=True, workers=3),
    "stored-flaky": Settings(stored=True, tiny=True, flaky=True),
    "unstored": Settings(unstored=True),
    "stored-unstored-history": Settings(stored=True, unstored=True, history=2, tiny=True),
    "history": Settings(history=4),
    "history-flaky": Settings(history=4, flaky=True),
    "stored-history": Settings(stored=True, history=4),
    "stored-history-tiny-workers": Settings(stored=True, history=2, tiny=True, workers=3),
    "small-memory-history-workers": Settings(stored=True, max_memory=1, history=4, workers=3, tiny=True),
    "stored-history-flaky": Settings(stored=True, history=4, tiny=True, flaky=True),
}


@pytest.mark.limit(900)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_random_timeline_with_tables_gives_another_answer_or_runs_more_than_it_must(variant: str) -> None:
    settings = VARIANTS[variant]
    count = (20 if settings.stored else 60) * (100 if NIGHTLY else 1)
    first = random.randrange(1 << 30) if NIGHTLY else 0
    for seed in range(first, first + count):
        fuzz(seed, settings)


@pytest.mark.limit(300)
@pytest.mark.parametrize("variant", [one for one in VARIANTS if "history" in one])
def test_no_timeline_between_branches_with_tables_gives_another_answer(variant: str) -> None:
    settings = VARIANTS[variant]
    count = (20 if settings.stored else 60) * (100 if NIGHTLY else 1)
    assert sum(switch_branches(seed, settings) for seed in range(count)) > count // 4


ZERO, ONE, ARGUMENT = ("constant", 0), ("constant", 1), ("argument",)
KEYS = ("keys", 0, ZERO)
# Timelines that the machine found, or that it finds seldom, made small: settings, program, steps.
FOUND: dict[str, tuple[Settings, list[Any], list[Any]]] = {
    "a failure that is computed again moves nothing": (
        Settings(),
        [
            ("table", KEYS, [[ONE, ("fail", ONE), ONE]]),
            ("query", ("rows", 0, False, ARGUMENT)),
            ("query", ("add", ("rescue", ("call", [1], ZERO, ARGUMENT), ZERO), ("cell", ZERO))),
        ],
        [
            ["get", ["q", 2, 1]],
            *(["set", [["cell", 1, n]]] for n in (1, 2, 3)),
            ["set", [["list", 0, [1]]]],
            ["get", ["look", 0, "where", []]],
            ["get", ["q", 2, 1]],
        ],
    ),
    "an equal failure is not told again by failures": (
        Settings(),
        [("table", KEYS, [[("fail", ("add", ("cell", ZERO), ONE)), ONE, ONE]])],
        [
            ["set", [["list", 0, [1]]]],
            ["get", ["look", 0, "failures", []]],
            ["forget", "t0(*"],
            ["get", ["look", 0, "failures", []]],
        ],
    ),
    "source keys that fail with another error fail the lookups so": (
        Settings(),
        [("table", ("keys", 0, ("fail", ("cell", ZERO))), [[ONE, ONE, ONE]])],
        [
            ["set", [["cell", 0, 1]]],
            ["get", ["look", 0, "count", []]],
            ["set", [["cell", 0, 4]]],
            ["get", ["look", 0, "count", []]],
            ["set", [["cell", 0, 0]]],
            ["get", ["look", 0, "count", []]],
        ],
    ),
    "a table over a column of one that fails follows it": (
        Settings(),
        [
            ("table", ("keys", 0, ("fail", ("cell", ZERO))), [[ONE, ARGUMENT, ONE]]),
            ("table", ("column", 0, "a"), [[ONE, ARGUMENT, ONE]]),
        ],
        [
            ["set", [["list", 0, [1, 2]]]],
            ["get", ["look", 1, "count", []]],
            *(
                step
                for n in (1, 0, 4, 1, 2)
                for step in (["set", [["cell", 0, n]]], ["get", ["look", 1, "count", []]])
            ),
        ],
    ),
    "a probe does not trust a table whose members are not marked yet": (
        Settings(tiny=True),
        [
            ("table", KEYS, [[ONE, ARGUMENT, ("cell", ZERO)]]),
            ("table", ("column", 0, "b"), [[ONE, ("fail", ONE), ARGUMENT]]),
            ("query", ("add", ("failures", 1), ("cell", ONE))),
        ],
        [
            ["set", [["list", 0, [1, 2]]]],
            ["get", ["q", 2, 0]],
            ["set", [["cell", 0, 1]]],
            ["get", ["look", 0, "count", []]],
            ["set", [["cell", 0, 2], ["cell", 1, 1]]],
            ["get", ["look", 1, "failures", []]],
            ["get", ["q", 2, 0]],
        ],
    ),
    "who reads an equal value rests on the table that it rests on now": (
        Settings(),
        [
            ("table", KEYS, [[ONE, ARGUMENT, ONE]]),
            (
                "query",
                ("if", ("cell", ZERO), ("half", ("look", 0, "count", [], ZERO, ZERO)), ZERO),
            ),
            ("query", ("add", ("call", [1], ZERO, ARGUMENT), ONE)),
            ("table", ("keys", 1, ZERO), [[ONE, ("call", [2], ZERO, ARGUMENT), ONE]]),
            ("query", ("look", 3, "count", ["a"], ONE, ZERO)),
        ],
        [
            ["set", [["list", 1, [0]]]],
            ["get", ["q", 4, 0]],
            ["get", ["q", 2, 0]],
            ["set", [["cell", 0, 1]]],
            ["get", ["q", 4, 0]],
            ["get", ["q", 2, 0]],
            ["set", [["list", 0, [1, 2]]]],
            ["get", ["q", 4, 0]],
            ["get", ["q", 2, 0]],
        ],
    ),
    "a member that runs first after its table was defined anew": (
        Settings(),
        [("table", KEYS, [[ONE, ARGUMENT, ONE]])],
        [
            ["set", [["list", 0, [1, 2]]]],
            ["get", ["look", 0, "where", ["b", "x"]]],
            ["code", 0, ["table", KEYS, [[ONE, ARGUMENT, ARGUMENT]]]],
            ["get", ["t", 0, 2]],
            ["get", ["look", 0, "where", ["b", "x"]]],
        ],
    ),
    "a member that runs while tables share bits waits for those that feed the one it looks into": (
        Settings(bits=1),
        [
            ("table", KEYS, [[ARGUMENT, ARGUMENT, ARGUMENT]]),
            ("table", ("column", 0, "b"), [[ONE, ZERO, ZERO]]),
            ("table", ("keys", 0, ONE), [[("of", 1, True, ARGUMENT), ZERO, ZERO]]),
            ("table", KEYS, [[ONE, ("failures", 2), ARGUMENT]]),
        ],
        [
            ["get", ["t", 3, 1]],
            ["set", [["list", 0, [3]]]],
            ["get", ["t", 3, 3]],
            ["get", ["t", 2, 3]],
        ],
    ),
}


def run_again(what: str, settings: Settings) -> None:
    """One of these timelines, with other settings."""
    _, program, timeline = FOUND[what]
    replay(json.dumps({"settings": asdict(settings), "program": program, "timeline": timeline}))


@pytest.mark.parametrize("what", FOUND)
def test_a_timeline_with_tables_that_once_failed(what: str) -> None:
    for settings in (FOUND[what][0], Settings(stored=True, tiny=True)):
        run_again(what, settings)
