"""Timelines with tables that once failed, and how one is run again."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict

from tests.table_world import Settings, replay

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
