"""A random program with tables as an engine runs it, and the nodes that its keys are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from engine import Engine, View, each, input, query, table
from engine.key import Key
from engine.tables.lookup import MemberFailure
from tests.expressions import Outcome, outcome_of
from tests.table_programs import INPUTS, Definition, Node, Row, evaluate, keys_of, rows_of

WORLD: ContextVar[Live] = ContextVar("table_world")


class Live:
    """A program as the engine runs it."""

    def __init__(self, program: Sequence[Definition], name: str, *, unstored: bool = False) -> None:
        self.name = name  # queries of one name take each other over
        self.unstored = unstored
        self.program: list[Any] = json.loads(json.dumps(program))
        self.flaky: set[Node] = set()
        self.cell, self.list = self._inputs()
        self.made: list[Any] = [None] * len(self.program)
        self.keys: list[Any] = [None] * len(self.program)
        for d in range(len(self.program)):
            self._define(d, whole=True)

    def ask(self, db: Engine | View, node: Node) -> Outcome:
        """What an engine answers."""
        WORLD.set(self)
        return outcome_of(lambda: plain(db.get(self.key(node))))

    def look(self, node: Node) -> Outcome:
        """What an input is that nobody has set."""
        return "value", 0 if node[0] == "cell" else ()

    def key(self, node: Node) -> Key[Any]:
        key: Key[Any]
        match node:
            case (("cell" | "list"), i):
                key = getattr(self, node[0]).key(i)
            case "keys", d:
                key = self.keys[d].key()
            case "look", d, mode, terms:
                key = getattr(self.made[d], mode).key(*terms)
            case _:
                key = self.made[node[1]].key(node[2])
        return key

    def _inputs(self) -> tuple[Any, Any]:
        @input(name=f"{self.name}:cell")
        def cell(i: int) -> int:
            return 0

        @input(name=f"{self.name}:list")
        def listed(i: int) -> tuple[int, ...]:
            return ()

        return cell, listed

    def _define(self, d: int, whole: bool = False) -> None:
        definition = self.program[d]
        if definition[0] == "query":
            kept = not self.unstored or d % 2 == 0
            version = json.dumps(definition)
            make = query(name=f"{self.name}:q{d}", code="version", version=version, persist=kept)

            def compute(n: int) -> int:
                return evaluate(definition[1], n, WORLD.get())

            self.made[d] = make(compute)
            return
        source = definition[1]
        fed: Any
        if source[0] == "keys":

            def keys() -> tuple[int, ...]:
                return keys_of(definition, WORLD.get())

            named = query(name=f"{self.name}:k{d}", code="version", version=json.dumps(source))
            fed = self.keys[d] = named(keys)
        else:
            fed = self.made[source[1]].column(source[2])

        def members(key: int | str) -> Iterable[Row]:
            if WORLD.get().flaky and ("t", d, key) in WORLD.get().flaky:
                raise OSError("busy")
            return rows_of(definition, key, WORLD.get())

        version = json.dumps(definition[2])
        named_table = table(each=fed, index=("a", "b"), name=f"{self.name}:t{d}", version=version)
        self.made[d] = named_table(members)

    def read(self, node: Node) -> Any:
        """A read of a running query."""
        match node:
            case "look", d, mode, terms:
                return plain(getattr(self.made[d], mode)(*terms))
            case "cell", i:
                return self.cell(i)
            case "list", i:
                return self.list(i)
        return self.made[node[1]](node[2])

    def group(self, nodes: Sequence[Node]) -> Sequence[Any]:
        return each([self.key(node) for node in nodes])


def plain(answer: Any) -> Any:
    """An answer as the model has it."""
    if isinstance(answer, tuple) and not isinstance(answer, Row):
        return tuple(map(plain, answer))
    return (answer.source, answer.error) if isinstance(answer, MemberFailure) else answer


def frozen_node(node: Any) -> Node:
    return tuple(tuple(part) if isinstance(part, list) else part for part in node)


def node_of(key: Key[Any]) -> Node:
    """The node of an engine's key."""
    name, _, mode = key.query.name.partition(":")[2].partition(".")
    if name in INPUTS:
        return name, key.args[0]
    d = int(name[1:])
    if mode:
        return "look", d, mode, key.args
    return ("keys", d) if name[0] == "k" else (name[0], d, key.args[0])


def fits(node: Node, pattern: str) -> bool:
    """Whether a key's name fits one of the patterns of `random_forget`."""
    kind, d, mode = pattern[0], int(pattern[1]), pattern[2:-1]
    if node[0] == "look":
        return kind == "t" and node[1] == d and mode == f".{node[2]}("
    return mode == "(" and node[:2] == ("keys" if kind == "k" else kind, d)
