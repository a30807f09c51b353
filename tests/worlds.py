"""World: an engine under test (`trial`), its model, and the state of everything outside.

After every `get` three things must hold: the answer is the oracle's, the keys that ran are exactly those of
the model, and the same question again runs and verifies nothing.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from attrs import asdict, frozen

from engine import Durability, Engine, View, each, input, query
from engine.key import Key
from tests.expressions import Choose, Expression, Outcome, outcome_of, value_of
from tests.model import Model
from tests.oracle import Oracle
from tests.programs import (
    ARGUMENTS,
    CELLS,
    FILES,
    Node,
    evaluate,
    random_expression,
)
from tests.trial import Held, Opening, Trial

# How inputs find the world. A closure cell would count as their code, and change with the world.
WORLD: ContextVar[Live] = ContextVar("world")


@frozen
class Settings(Opening):
    """How the engine of a world is opened, and what its programs may hold."""

    cyclic: bool = False  # queries may call any query; then only values are compared
    exotic: bool = False  # lists, values that are not stored, untracked queries


@frozen
class Program:
    """Expressions and the kind of each query: "plain", "list", "memory" (not stored) or "untracked"."""

    expressions: Sequence[Expression]
    kinds: Sequence[str]
    durability: int = 0  # of cells that are set without saying one


def random_program(choose: Choose, settings: Settings) -> Program:
    size = choose(1, 6 if settings.cyclic else choose(2, 12))
    kinds = ["plain", "list", "memory", "untracked"] if settings.exotic else ["plain"]
    chosen = [kinds[choose(0, len(kinds) - 1)] for _ in range(size)]
    durability = max(0, choose(0, 3) - 1)
    code = [random_code(choose, settings, q, size, chosen[q], durability) for q in range(size)]
    return Program(code, chosen, durability)


def random_code(
    choose: Choose, settings: Settings, q: int, size: int, kind: str, durability: int
) -> Expression:
    below = range(size if settings.cyclic else q)
    leaves = "cells" if settings.cyclic else "switches" if durability else "cells and files"
    code = random_expression(choose, below, choose(1, 3), leaves)
    return ("add", code, ("wild",)) if kind == "untracked" else code


class NotLookedAt(Exception):
    """A snapshot would need an input that nobody looked at while it was current."""


class Live:
    """A program as the engine runs it: `cell`, `file` and a query for each expression."""

    def __init__(self, program: Program, name: str = "world") -> None:
        self.name = name  # queries of one name take each other over
        self.expressions: list[Any] = json.loads(json.dumps(program.expressions))
        self.kinds = list(program.kinds)
        self.durability = program.durability
        self.files: list[tuple[int | None, int]] = [(0, 0)] * FILES  # content, stamp; None: it is missing
        self.wild = 0
        self.cell, self.file = self._inputs(Durability(self.durability))
        self.queries: list[Any] = [None] * len(self.expressions)
        for q in range(len(self.expressions)):
            self._define(q)

    def ask(self, db: Engine | View, node: Node) -> Outcome:
        """What an engine answers."""
        WORLD.set(self)
        return outcome_of(lambda: self._plain(db.get(self.key(node))))

    def look(self, node: Node) -> Outcome:
        """What an input is that nobody has set."""
        if node[0] != "file":
            return "value", 0
        content = self.files[node[1]][0]
        return ("error", "ValueError", ("missing", node[1])) if content is None else ("value", content)

    def key(self, node: Node) -> Key[Any]:
        kind, n = node
        made = self.cell if kind == "cell" else self.file if kind == "file" else self.queries[kind]
        key: Key[Any] = made.key(n)
        return key

    def _inputs(self, durability: Durability) -> tuple[Any, Any]:
        @input(name=f"{self.name}:cell", durability=durability)
        def cell(i: int) -> int:
            return 0

        @input(name=f"{self.name}:file", stamp=lambda i: b"%d" % WORLD.get().files[i][1])
        def file(i: int) -> int:
            content = WORLD.get().files[i][0]
            if content is None:
                raise ValueError("missing", i)
            return content

        return cell, file

    def _define(self, q: int) -> None:
        kind, code = self.kinds[q], self.expressions[q]

        def compute(n: int) -> int:
            return evaluate(code, n, self)

        def compute_list(n: int) -> list[int]:
            return [evaluate(code, n, self)]

        make = query(
            name=f"{self.name}:q{q}",
            code="version",
            version=json.dumps(code),
            persist=kind != "memory",
            untracked=kind == "untracked",
        )
        self.queries[q] = make(compute_list) if kind == "list" else make(compute)

    def read(self, node: Node) -> int:
        """A read of a running query (see `programs.Reader`)."""
        kind, n = node
        if kind == "cell":
            return int(self.cell(n))
        if kind == "file":
            return int(self.file(n))
        if kind == "wild":
            return self.wild
        return self._plain(self.queries[kind](n))

    def group(self, nodes: Sequence[Node]) -> list[int]:
        queries = {q for q, _ in nodes}
        if len(queries) == 1:
            return [self._plain(value) for value in each(self.queries[queries.pop()], [n for _, n in nodes])]
        return [self._plain(value) for value in each([self.queries[q].key(n) for q, n in nodes])]

    def _plain(self, value: Any) -> int:
        if isinstance(value, list):
            number = int(value[0])
            value[0] = 777  # what a reader does to its copy must reach nobody else
            return number
        return int(value)


class World(Trial, Live):
    """One engine under test and its model."""

    def __init__(self, settings: Settings, program: Program) -> None:
        Live.__init__(self, program)
        self.settings = settings
        self.pinned: set[Node] = set()
        self.model = Model(list(self.expressions), self.look)
        Trial.__init__(self, settings, asdict(program), node_of)

    def open(self) -> None:
        super().open()
        self.synced = self.directory is None

    # -- steps ---------------------------------------------------------------------------------

    def take(self, step: list[Any]) -> None:
        WORLD.set(self)
        match step:
            case "get", q, n:
                self._get((q, n))
                return
            case "set", changes:
                self._set([((kind, i), value, durability) for kind, i, value, durability in changes])
            case "reset", kind, i:
                self._settle()
                self.engine.reset(self.key((kind, i)))
                self.pinned.discard((kind, i))
                self.model.change({(kind, i): self.look((kind, i))})
            case "write", i, content:
                self.files[i] = content, self.files[i][1] + 1
            case ("sync",):
                self._settle()
                self.engine.sync()
                self.synced = True
                self._model_sync()
            case "wild", value:
                self.wild = value
                self._set([(("cell", 0), self._known(("cell", 0)) + 1, None)])
                self.model.change({("wild", 0): ("value", value)})
            case "code", q, code:
                self._recode(q, code)
            case "forget", q:
                self.engine.forget(f"world:q{q}(*")
                self.model.force([node for node in self.model.memos if node[0] == q])
            case "restart", changes:
                self._restart(changes, crash=False)
            case "crash", changes:
                self._restart(changes, crash=True)
            case ("hold",):
                self._hold()
            case "recall", which, q, n:
                if self.held:
                    self._recall(self.held[which % len(self.held)], (q, n))
            case ("release",):
                self.release()
            case _:
                raise AssertionError(f"no such step: {step}")
        assert not self.ran, f"{step[0]} ran {self.ran}"

    def _get(self, node: Node) -> None:
        self._settle()
        self.probed.clear()
        found = self.ask(self.engine, node)
        ran = list(self.ran)
        if not self.settings.cyclic:
            self.model.executed.clear()
            for probe in self.probed:
                self.model.get(probe)
            self.model.get(node)
        wanted = Oracle(self.expressions, self._known).outcome(node)
        assert found == wanted, f"{node} is {found}, from scratch it is {wanted}"
        self._check_ran(node, ran)
        if self.kinds[node[0]] == "memory":
            return  # kept only while the work that needs it goes on
        if self.settings.cyclic and self.settings.workers > 1:
            return  # which member of a ring comes first is up to the threads: some may run a second time
        before = self.engine.counts()
        self.ran.clear()
        assert self.ask(self.engine, node) == found, f"{node} asked again"
        more = self.engine.counts() - before
        assert not self.ran, f"{node} asked again ran {self.ran}"
        if not self.settings.cyclic:
            assert (more.executed, more.verified, more.read) == (0, 0, 0), f"{node} asked again: {more}"

    def _check_ran(self, node: Node, ran: list[Node]) -> None:
        if self.settings.cyclic or "untracked" in self.kinds:
            return
        wanted = Counter(self.model.executed)
        assert max(wanted.values(), default=1) == 1, f"the model ran a key twice: {wanted}"
        if "memory" in self.kinds:
            missing = wanted - Counter(ran)
            assert not missing, f"{node} did not run {sorted(missing)}"
        else:
            assert Counter(ran) == wanted, f"{node} ran {sorted(ran)} instead of {sorted(wanted)}"

    def _set(self, changes: list[tuple[Node, int, int | None]]) -> None:
        self._settle()
        levels = [None if level is None else Durability(level) for _, _, level in changes]
        if len(changes) == 1:
            self.engine.set(self.key(changes[0][0]), changes[0][1], durability=levels[0])
        else:
            with self.engine.batch():
                for (node, value, _), level in zip(changes, levels, strict=True):
                    self.engine.set(self.key(node), value, durability=level)
        self.pinned.update(node for node, _, _ in changes)
        self.model.change({node: ("value", value) for node, value, _ in changes})

    def _recode(self, q: int, code: Expression) -> None:
        if self.expressions[q] == code:
            return
        self.release()
        self.expressions[q] = self.model.program[q] = code
        self._define(q)
        self.model.force([node for node in self.model.memos if node[0] == q])

    def _restart(self, changes: Sequence[tuple[int, Expression]], *, crash: bool) -> None:
        def meanwhile() -> None:
            for q, code in changes:
                self._recode(q, code)

        self.restart(meanwhile, crash=crash)

    # -- what is known outside -----------------------------------------------------------------

    def _known(self, node: Node) -> int:
        memo = self.model.memos.get(node)
        return int(value_of(memo.outcome if memo is not None else self.look(node)))

    def _settle(self) -> None:
        """The first request after opening looks at the world."""
        if not self.synced:
            self.synced = True
            self.pinned = {node for node in self.pinned if node[0] != "file"}
            self._model_sync()

    def _model_sync(self) -> None:
        known = [node for node in self.model.memos if node[0] == "file" and node not in self.pinned]
        self.model.change({node: self.look(node) for node in known})

    # -- snapshots -----------------------------------------------------------------------------

    def _hold(self) -> None:
        self._settle()
        inputs = {node: memo.outcome for node, memo in self.model.memos.items() if isinstance(node[0], str)}
        self.hold(inputs)

    def _recall(self, held: Held, node: Node) -> None:
        def inputs(node: Node) -> int:
            if node not in held.inputs and node[0] == "file":
                raise NotLookedAt
            return int(value_of(held.inputs.get(node) or self.look(node)))

        try:
            wanted = Oracle(self.expressions, inputs).outcome(node)
        except NotLookedAt:
            return
        if "untracked" in self.kinds:
            return  # a snapshot cannot know what an untracked query would have seen
        found = self.ask(held.view, node)
        assert found == wanted, f"{node} in R{held.view.revision} is {found}, from scratch it is {wanted}"


def node_of(key: Key[Any]) -> Node:
    """The node of an engine's key: its query's number, or the kind of input."""
    name = key.query.name.partition(":")[2]
    return (int(name[1:]) if name[0] == "q" else name), key.args[0]


# -- random steps --------------------------------------------------------------------------------


def fuzz(seed: int, settings: Settings, steps: int = 40) -> None:
    """A random program and a random timeline, checked at every step."""
    choose = random.Random(seed).randint
    world = World(settings, random_program(choose, settings))
    try:
        for _ in range(steps):
            world.apply(random_step(choose, world))
    finally:
        world.close()


def random_step(choose: Choose, world: World) -> list[Any]:
    """One step, made of small integers; the smallest of them make the simplest step."""
    kind = choose(0, 99)
    if kind < 40:
        return ["get", *random_key(choose, world)]
    for share, make in ((62, random_set), (66, random_reset), (79, random_write), (83, random_code_step)):
        if kind < share:
            return make(choose, world)
    if kind < 86:
        return random_forget(choose, world)
    if kind < 91:
        return random_restart(choose, world)
    if kind < 93:
        return ["wild", choose(0, 4)]
    return random_snapshot(choose, world)


def random_key(choose: Choose, world: World) -> list[int]:
    last = len(world.queries) - 1  # more often the upper ones, and the same argument again
    return [max(choose(0, last), choose(0, last)), choose(0, ARGUMENTS - 1) * choose(0, 1)]


def random_input(choose: Choose, world: World) -> list[Any]:
    if not world.settings.cyclic and choose(0, 9) == 9:
        return ["file", choose(0, FILES - 1)]
    return ["cell", choose(0, CELLS - 1)]


def random_set(choose: Choose, world: World) -> list[Any]:
    count = max(1, choose(0, 8) - 4)
    changes: list[list[Any]] = []
    for _ in range(count):
        level = max(-1, choose(0, 22) - 20)
        changes.append([*random_input(choose, world), choose(0, 4), None if level < 0 else level])
    return ["set", changes]


def random_reset(choose: Choose, world: World) -> list[Any]:
    return ["reset", *random_input(choose, world)]


def random_write(choose: Choose, world: World) -> list[Any]:
    if choose(0, 1):
        return ["sync"]
    content = choose(0, 4)
    return ["write", choose(0, FILES - 1), None if content > 2 else content]


def random_code_step(choose: Choose, world: World) -> list[Any]:
    return ["code", *random_new_code(choose, world)]


def random_forget(choose: Choose, world: World) -> list[Any]:
    return ["forget", choose(0, len(world.queries) - 1)]


def random_new_code(choose: Choose, world: World) -> list[Any]:
    size = len(world.queries)
    q = choose(0, size - 1)
    return [q, random_code(choose, world.settings, q, size, world.kinds[q], world.durability)]


def random_restart(choose: Choose, world: World) -> list[Any]:
    changes = [random_new_code(choose, world)] if choose(0, 2) == 2 else []
    return [("restart", "crash")[choose(0, 1)], changes]


def random_snapshot(choose: Choose, world: World) -> list[Any]:
    kind = choose(0, 3)
    if kind == 0 or not world.held:
        return ["hold"]
    return ["release"] if kind == 1 else ["recall", choose(0, 3), *random_key(choose, world)]
