"""A random program as an engine runs it: its inputs find the world, its queries are its expressions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from attrs import frozen

from engine import Durability, Engine, View, each, input, query
from engine.key import Key
from tests.expressions import Expression, Outcome, outcome_of
from tests.programs import FILES, Node, evaluate

# How inputs find the world. A closure cell would count as their code, and change with the world.
WORLD: ContextVar[Live] = ContextVar("world")


@frozen
class Program:
    """Expressions and the kind of each query: "plain", "list", "memory" (not stored) or "untracked"."""

    expressions: Sequence[Expression]
    kinds: Sequence[str]
    durability: int = 0  # of cells that are set without saying one


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
