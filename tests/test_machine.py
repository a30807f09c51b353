"""Random programs under random timelines: every answer is the oracle's, and only what must run runs.

Steps: set, batch, reset, durability, writes to observed inputs and sync, changed code, forget, close and
open, crash, snapshots held over edits. See `worlds.World.apply` for what is checked after each.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import timelines
from tests.expressions import Choose
from tests.live import Program
from tests.timelines import fuzz, random_program
from tests.worlds import Settings, World

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
VARIANTS = {
    "memory": Settings(),
    "strict": Settings(strict=True),
    "workers": Settings(workers=3),
    "tiny": Settings(tiny=True),
    "tiny-strict": Settings(tiny=True, strict=True),
    "tiny-workers": Settings(tiny=True, workers=3),
    "exotic": Settings(exotic=True, tiny=True),
    "cyclic": Settings(cyclic=True),
    "cyclic-workers": Settings(cyclic=True, workers=3),
    "stored": Settings(stored=True),
    "stored-strict-tiny": Settings(stored=True, strict=True, tiny=True),
    "stored-exotic": Settings(stored=True, exotic=True),
    "stored-cyclic": Settings(stored=True, cyclic=True, tiny=True),
    "stored-workers": Settings(stored=True, workers=3, tiny=True),
    "small-memory": Settings(stored=True, max_memory=1),
    "small-memory-workers": Settings(stored=True, max_memory=1, workers=3, tiny=True),
    "small-memory-exotic": Settings(stored=True, max_memory=1, exotic=True, history=4),
    "small-memory-history-cyclic": Settings(stored=True, max_memory=1, history=4, cyclic=True, tiny=True),
    "small-memory-cyclic": Settings(stored=True, max_memory=200, cyclic=True),
    "history": Settings(history=4),
    "history-strict-tiny": Settings(history=1, tiny=True, strict=True),
    "history-workers": Settings(history=4, workers=3, tiny=True),
    "history-exotic": Settings(history=4, exotic=True),
    "history-cyclic": Settings(history=4, cyclic=True),
    "history-cyclic-workers": Settings(history=4, cyclic=True, workers=3),
    "stored-history": Settings(stored=True, history=4),
    "stored-history-tiny": Settings(stored=True, history=2, tiny=True),
    "stored-history-exotic": Settings(stored=True, history=4, exotic=True),
    "stored-history-cyclic": Settings(stored=True, history=4, cyclic=True, tiny=True),
}


class Machine(RuleBasedStateMachine):
    """The rules of Hypothesis around a world; what it finds it also makes small."""

    settings: Settings = Settings()

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.world = World(self.settings, random_program(chooser(data), self.settings))

    def step(self, data: st.DataObject, make: Any) -> None:
        assert self.world is not None
        self.world.apply(make(chooser(data), self.world))

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        self.step(data, lambda choose, world: ["get", *timelines.random_key(choose, world)])

    @rule(data=st.data())
    def get_another(self, data: st.DataObject) -> None:
        self.get(data)  # one rule in ten would be too few

    @rule(data=st.data())
    def set(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_set)

    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_reset)

    @precondition(lambda self: not self.settings.cyclic)
    @rule(data=st.data())
    def write_or_sync(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_write)

    @rule(data=st.data())
    def change_code(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_code_step)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_forget)

    @precondition(lambda self: self.settings.stored)
    @rule(data=st.data())
    def restart_or_crash(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_restart)

    @precondition(lambda self: self.settings.exotic)
    @rule(data=st.data())
    def change_the_untracked_world(self, data: st.DataObject) -> None:
        self.step(data, lambda choose, _: ["wild", choose(0, 4)])

    @rule(data=st.data())
    def hold_or_read_a_snapshot(self, data: st.DataObject) -> None:
        self.step(data, timelines.random_snapshot)

    def teardown(self) -> None:
        if self.world is not None:
            self.world.close()


def chooser(data: st.DataObject) -> Choose:
    return lambda low, high: data.draw(st.integers(low, high))


class Strict(Machine):
    settings = VARIANTS["tiny-strict"]


class WithHistory(Machine):
    settings = VARIANTS["stored-history-tiny"]


class Cyclic(Machine):
    settings = VARIANTS["cyclic"]


class Stored(Machine):
    settings = VARIANTS["stored"]


@pytest.mark.parametrize("machine", [Machine, Strict, Cyclic, Stored, WithHistory])
def test_no_timeline_that_hypothesis_makes_gives_another_answer_or_runs_more_than_it_must(
    machine: type[Machine],
) -> None:
    settings = hypothesis.settings(
        max_examples=2_000 if NIGHTLY else 25,
        stateful_step_count=50 if NIGHTLY else 20,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine, settings=settings)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_random_timeline_gives_another_answer_or_runs_more_than_it_must(variant: str) -> None:
    settings = VARIANTS[variant]
    count = (20 if settings.stored else 80) * (100 if NIGHTLY else 1)
    first = random.randrange(1 << 30) if NIGHTLY else 0
    for seed in range(first, first + count):
        fuzz(seed, settings)


ZERO, ONE, ARGUMENT = ("constant", 0), ("constant", 1), ("argument",)
# Timelines that the machine found, made small: what they show, settings, expressions, steps.
FOUND: dict[str, tuple[Settings, list[Any], list[Any]]] = {
    "a definition is taken over at once": (
        Settings(),
        [ZERO, ("call", [0], ZERO, ONE)],
        [["get", 1, 1], ["code", 0, ONE], ["get", 1, 1]],
    ),
    "a catching key is on a ring wherever a request enters": (
        Settings(cyclic=True),
        [
            ("add", ("rescue", ("call", [1], ZERO, ZERO), ONE), ("call", [2], ZERO, ZERO)),
            ("call", [0], ZERO, ZERO),
            ("rescue", ("call", [1], ZERO, ZERO), ONE),
        ],
        [["get", 0, 0], ["get", 1, 0], ["get", 2, 0], ["get", 2, 0]],
    ),
    "a durability that sinks with a new value reaches indirect readers": (
        Settings(),
        [
            ("cell", ARGUMENT),
            ("call", [0], ZERO, ARGUMENT),
            ("add", ("call", [1], ZERO, ZERO), ("call", [1], ZERO, ONE)),
        ],
        [
            ["set", [["cell", 0, 5, 2], ["cell", 1, 5, 2]]],
            ["get", 2, 0],
            ["set", [["cell", 0, 6, 0], ["cell", 1, 6, 0]]],
            ["get", 2, 0],
        ],
    ),
    "a forgotten key that is equal after a restart stops there": (
        Settings(stored=True),
        [ZERO, ("call", [0], ("call", [0], ZERO, ONE), ARGUMENT)],
        [["get", 1, 0], ["forget", 0], ["restart", []], ["get", 1, 0]],
    ),
    "an overlay ends with its process": (
        Settings(stored=True),
        [("file", ONE)],
        [["get", 0, 0], ["set", [["file", 1, 3, None]]], ["restart", []], ["forget", 0], ["get", 0, 0]],
    ),
    "a snapshot after a restart knows changed code": (
        Settings(stored=True),
        [ZERO, ("call", [0], ZERO, ARGUMENT)],
        [["get", 1, 2], ["restart", [[0, ONE]]], ["hold"], ["recall", 0, 1, 2]],
    ),
    "a snapshot fails a ring member that catches": (
        Settings(cyclic=True),
        [("rescue", ("call", [1], ZERO, ARGUMENT), ZERO), ("call", [0], ("constant", 2), ARGUMENT)],
        [["hold"], ["recall", 0, 0, 0]],
    ),
    "a snapshot gives each reader a list of its own": (
        Settings(exotic=True),
        [ZERO],
        [["hold"], ["recall", 0, 0, 1], ["recall", 0, 0, 1]],
    ),
    "a snapshot after a restart does not see a later overlay": (
        Settings(stored=True),
        [("file", ONE)],
        [["get", 0, 0], ["restart", []], ["hold"], ["set", [["file", 1, 3, None]]], ["recall", 0, 0, 1]],
    ),
    "nothing is suspect after a ring that was checked on workers": (
        Settings(cyclic=True, workers=3),
        [("call", [1], ZERO, ONE), ("each", [0], ("constant", 3))],
        [["get", 0, 0], ["forget", 0], ["get", 1, 0]],
    ),
    "a key that two workers verify runs once": (
        Settings(workers=3, tiny=True),
        [
            ("cell", ZERO),
            ("each", [0], ("constant", 3)),
            ("call", [1], ZERO, ARGUMENT),
            ("call", [1], ZERO, ARGUMENT),
            ("each", [2, 3], ("constant", 4)),
        ],
        [["get", 2, 0], ["set", [["cell", 0, 1, None]]], ["get", 4, 0]],
    ),
    "rings of groups end on workers": (
        Settings(cyclic=True, workers=3),
        [("each", [2, 3], ("constant", 3)), ONE, ("call", [3], ZERO, ONE), ("each", [2, 0], ("constant", 4))],
        [["get", 2, 0], ["forget", 2], ["get", 2, 0]],
    ),
    "nothing is suspect after a ring that was read from the store": (
        Settings(stored=True, cyclic=True, tiny=True),
        [("each", [0], ("cell", ("constant", 2)))],
        [["set", [["cell", 2, 3, None]]], ["get", 0, 0], ["restart", []], ["get", 0, 1]],
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_a_timeline_that_once_failed(what: str) -> None:
    settings, expressions, timeline = FOUND[what]
    kinds = ["list" if settings.exotic else "plain"] * len(expressions)
    world = World(settings, Program(expressions, kinds))
    try:
        for step in timeline:
            world.apply(step)
    finally:
        world.close()


def test_replay(pytestconfig: pytest.Config) -> None:
    """Only with --replay (see conftest): threads may need many tries."""
    told = json.loads(Path(str(pytestconfig.getoption("--replay"))).read_text())
    for _ in range(100):
        world = World(Settings(**told["settings"]), Program(**told["program"]))
        try:
            for step in told["timeline"]:
                world.apply(step)
        finally:
            world.close()
