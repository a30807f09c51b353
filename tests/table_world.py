"""Table world: an engine under test (`trial`) with random tables, and its model.

After every `get` three things must hold: the answer is the one from scratch, the keys that ran are exactly
those of the model, and the same question again runs and verifies nothing. Values of most lookups are not
stored: one that a running key needs may be computed again, and nothing else.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest import mock

from attrs import frozen

import engine.tables.cycles
import engine.tables.kinds
from tests.expressions import Choose, value_of
from tests.table_live import WORLD, Live, fits, frozen_node, node_of
from tests.table_model import Model
from tests.table_programs import (
    ARGUMENTS,
    CELLS,
    INPUTS,
    LISTS,
    MOST_KEYS,
    TEXTS,
    Definition,
    Node,
    Scratch,
    random_expression,
    random_program,
    random_rows,
    terms_of,
    texts_of,
)
from tests.trial import Held, Opening, Trial

UNSTORED = ("where", "first", "starting", "of", "failures")


@frozen
class Settings(Opening):
    """How the engine of a world is opened."""

    flaky: bool = False  # members may fail for a moment; then only values are compared
    bits: int = 0  # so many tables have a bit of their own, others share; then only values are compared
    unstored: bool = False  # nobody keeps the values of every second query; then only values are compared


class World(Trial, Live):
    """One engine under test and its model."""

    def __init__(self, settings: Settings, program: Sequence[Definition]) -> None:
        Live.__init__(self, program, "world", unstored=settings.unstored)
        self.settings = settings
        self.model = Model(self.program, self.look)
        Trial.__init__(self, settings, program, node_of)
        if settings.bits:
            for module in (engine.tables.kinds, engine.tables.cycles):
                self.cleanup.enter_context(mock.patch.object(module, "REACH_BITS", settings.bits))

    # -- steps ---------------------------------------------------------------------------------

    def take(self, step: list[Any]) -> None:
        WORLD.set(self)
        match step:
            case "get", node:
                self._get(frozen_node(node))
                return
            case "set", changes:
                self._set([((kind, i), tuple(v) if kind == "list" else v) for kind, i, v in changes])
            case "code", d, definition:
                self._recode(d, definition)
                with self.engine.snapshot():
                    pass  # the definition is taken over now: before the next one
            case "forget", pattern:
                self.engine.forget(f"world:{pattern}")
                self.model.force([node for node in self.model.memos if fits(node, pattern)])
            case "restart", changes:
                self._restart(changes, crash=False)
            case "crash", changes:
                self._restart(changes, crash=True)
            case ("gc",):
                if self.directory is not None:
                    self.release()
                    self.engine.gc()
                    self.model.collect()
            case "flaky", nodes:
                if not nodes:
                    self.flaky = set()
                self.flaky |= {frozen_node(node) for node in nodes}
            case ("hold",):
                memos = self.model.memos
                self.hold({node: memo.outcome for node, memo in memos.items() if node[0] in INPUTS})
            case "recall", which, node:
                if self.held:
                    self._recall(self.held[which % len(self.held)], frozen_node(node))
            case ("release",):
                self.release()
            case _:
                raise AssertionError(f"no such step: {step}")
        assert not self.ran, f"{step[0]} ran {self.ran}"

    def _get(self, node: Node) -> None:
        if self.settings.flaky:
            self._get_flaky(node)
            return
        self.probed.clear()
        found = self.ask(self.engine, node)
        ran = list(self.ran)
        self.model.executed.clear()
        self.model.handed.clear()
        for probe in self.probed:
            self.model.ensure(probe)
        self.model.get(node)
        wanted = Scratch(self.program, self._known).outcome(node)
        assert found == wanted, f"{node} is {found}, from scratch it is {wanted}"
        if self.settings.bits or self.settings.unstored:
            return  # a request waits for more than it rests on, or computes again what nobody keeps
        self._check_ran(node, ran)
        if _is_unstored(node):
            return  # kept only while the work that needs it goes on
        before = self.engine.counts()
        self.ran.clear()
        assert self.ask(self.engine, node) == found, f"{node} asked again"
        more = self.engine.counts() - before
        assert not self.ran, f"{node} asked again ran {self.ran}"
        assert (more.executed, more.verified, more.read) == (0, 0, 0), f"{node} asked again: {more}"

    def _get_flaky(self, node: Node) -> None:
        try:
            found = self.ask(self.engine, node)
        except OSError:
            assert self.flaky, "an error that is gone was raised"
            return
        if not self.flaky:
            wanted = Scratch(self.program, self._known).outcome(node)
            assert found == wanted, f"{node} is {found}, from scratch it is {wanted}"

    def _check_ran(self, node: Node, ran: list[Node]) -> None:
        wanted, real = Counter(self.model.executed), Counter(ran)
        assert max(wanted.values(), default=1) == 1, f"the model ran a key twice: {wanted}"
        allowed = self._may_run_again()
        wrong = [one for one in real - wanted if one not in allowed] + list(wanted - real)
        if self.settings.history:  # what the model computed earlier may not have been needed until now
            wrong = [one for one in real - wanted if not _is_unstored(one)]
        assert not wrong, f"{node} ran {ran} instead of {self.model.executed}, which differs in {wrong}"

    def _may_run_again(self) -> set[Node]:
        """Keys whose value nobody keeps, and that a running key needed."""
        found: set[Node] = set()
        waiting = list(self.model.handed)
        while waiting:
            node = waiting.pop()
            if node not in found and _is_unstored(node):
                found.add(node)
                waiting += [read for group in self.model.memos[node].reads for read in group]
        return found

    def _set(self, changes: list[tuple[Node, Any]]) -> None:
        if len(changes) == 1:
            self.engine.set(self.key(changes[0][0]), changes[0][1])
        else:
            with self.engine.batch():
                for node, value in changes:
                    self.engine.set(self.key(node), value)
        self.model.change({node: ("value", value) for node, value in changes})

    def _recode(self, d: int, definition: Definition) -> None:
        old = self.program[d]
        if old == definition:
            return
        self.release()
        self.program[d] = definition
        self._define(d)
        if definition[0] == "query":
            self.model.force([node for node in self.model.memos if node[:2] == ("q", d)])
        else:
            if old[2] != definition[2]:
                self.model.force([node for node in self.model.memos if node[:2] == ("t", d)])
            if old[1] != definition[1]:
                self.model.force([node for node in self.model.memos if node == ("keys", d)])
            renewed = {d}
            for above in range(d + 1, len(self.program)):
                source = self.program[above][1]
                if self.program[above][0] == "table" and source[0] == "column" and source[1] in renewed:
                    renewed.add(above)
                    self._define(above)  # what `each=` names is another object now

    def _restart(self, changes: Sequence[tuple[int, Definition]], *, crash: bool) -> None:
        def meanwhile() -> None:
            for d, definition in changes:
                self._recode(d, definition)

        self.restart(meanwhile, crash=crash)

    def _known(self, node: Node) -> Any:
        memo = self.model.memos.get(node)
        return value_of(memo.outcome if memo is not None else self.look(node))

    def _recall(self, held: Held, node: Node) -> None:
        inputs = held.inputs
        if self.flaky:
            return
        wanted = Scratch(self.program, lambda node: value_of(inputs.get(node) or self.look(node))).outcome(
            node
        )
        found = self.ask(held.view, node)
        assert found == wanted, f"{node} in R{held.view.revision} is {found}, from scratch it is {wanted}"


def _is_unstored(node: Node) -> bool:
    """Whether nobody keeps the value of a key."""
    return node[0] == "t" or (node[0] == "look" and node[2] in UNSTORED)


# -- random steps ----------------------------------------------------------------------------------


def fuzz(seed: int, settings: Settings, steps: int = 40) -> None:
    """A random program and a random timeline, checked at every step."""
    choose = random.Random(seed).randint
    world = World(settings, random_program(choose))
    try:
        for _ in range(steps):
            world.apply(random_step(choose, world))
    finally:
        world.close()


def switch_branches(seed: int, settings: Settings, steps: int = 40) -> int:
    """Go to and fro between states of all inputs, asking a few keys; returns how many memos came back."""
    choose = random.Random(seed).randint
    world = World(settings, random_program(choose))
    restored = 0
    try:
        states = [
            [
                *[["cell", i, choose(0, 2)] for i in range(CELLS)],
                *[["list", i, [choose(0, MOST_KEYS) for _ in range(choose(0, 4))]] for i in range(LISTS)],
            ]
            for _ in range(choose(2, 3))
        ]
        keys = [random_node(choose, world) for _ in range(3)]
        for _ in range(steps // 4):
            world.apply(["set", states[choose(0, len(states) - 1)]])
            for key in keys[: choose(1, 3)]:
                world.apply(["get", key])
            kind = choose(0, 19)
            if kind < 3:
                restored += world.engine.counts().restored
                world.apply([("restart", "crash", "gc")[kind], *([[]] if kind < 2 else [])])
            elif kind < 5:
                world.apply(random_step(choose, world))
        return restored + world.engine.counts().restored
    finally:
        world.close()


def replay(told: str) -> None:
    """Run a recorded timeline again."""
    story = json.loads(told)
    world = World(Settings(**story["settings"]), story["program"])
    try:
        for step in story["timeline"]:
            world.apply(step)
    finally:
        world.close()


def random_step(choose: Choose, world: World) -> list[Any]:
    kind = choose(0, 99)
    if kind < 45:
        return ["get", random_node(choose, world)]
    if kind < 75:
        return random_set(choose, world)
    if kind < 80:
        return ["code", *random_code(choose, world)]
    if kind < 83:
        return random_forget(choose, world)
    if kind < 90:
        if world.settings.flaky and choose(0, 2):
            tables = [d for d, one in enumerate(world.program) if one[0] == "table"]
            some = [["t", d, random_key(choose, world, d)] for d in tables for _ in range(2)]
            return ["flaky", some if choose(0, 1) else []]
        if choose(0, 5) == 0:
            return ["gc"]
        changes = [random_code(choose, world)] if choose(0, 2) == 2 else []
        return [("restart", "crash")[choose(0, 1)], changes]
    if choose(0, 2) == 0 or not world.held:
        return ["hold"]
    return ["recall", choose(0, 3), random_node(choose, world)] if choose(0, 3) else ["release"]


def random_key(choose: Choose, world: World, d: int) -> Any:
    return TEXTS[choose(0, 3)] if texts_of(world.program, d) else choose(0, MOST_KEYS)


def random_node(choose: Choose, world: World) -> Node:
    last = len(world.program) - 1
    d = max(choose(0, last), choose(0, last))
    if world.program[d][0] == "query":
        return "q", d, choose(0, ARGUMENTS - 1) * choose(0, 1)
    mode = ("where", "first", "exists", "count", "starting", "of", "failures", "rows")[choose(0, 7)]
    if mode == "rows":
        return "t", d, random_key(choose, world, d)
    if mode == "of":
        return "look", d, mode, (random_key(choose, world, d),)
    if mode == "failures":
        return "look", d, mode, ()
    columns = ("b",) if mode == "starting" else (("a",), ("b",), ("a", "b"), ())[choose(0, 3)]
    return "look", d, mode, terms_of(columns, [choose(0, 3) for _ in columns])


def random_set(choose: Choose, world: World) -> list[Any]:
    changes: list[list[Any]] = []
    for _ in range(max(1, choose(0, 6) - 3)):
        if choose(0, 2):
            changes.append(["cell", choose(0, CELLS - 1), choose(0, 4)])
        else:
            keys = [choose(0, MOST_KEYS) for _ in range(choose(0, 4))]
            changes.append(["list", choose(0, LISTS - 1), keys])
    return ["set", changes]


def random_code(choose: Choose, world: World) -> list[Any]:
    d = choose(0, len(world.program) - 1)
    below, old = world.program[:d], world.program[d]
    if old[0] == "query":
        return [d, ["query", random_expression(choose, below, choose(1, 3))]]
    source = old[1]
    if source[0] == "keys" and choose(0, 1):
        source = ["keys", source[1], random_expression(choose, below, choose(0, 2))]
    return [d, ["table", source, random_rows(choose, below)]]


def random_forget(choose: Choose, world: World) -> list[Any]:
    d = choose(0, len(world.program) - 1)
    if world.program[d][0] == "query":
        return ["forget", f"q{d}(*"]
    return [
        "forget",
        (f"t{d}(*", f"k{d}(*", f"t{d}.{UNSTORED[choose(0, 4)]}(*", f"t{d}.count(*")[choose(0, 3)],
    ]
