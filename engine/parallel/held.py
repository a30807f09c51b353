"""Held: which keys a worker asks for instead of computing them, and their bytes.

Invariants
    B1  What the host set, and what runs here now, is asked for: a worker could only get it wrong.
    B2  So are keys that have a memo here and cost more than asking: nothing expensive is computed twice, but
        for what two workers need within one batch. While this process commits it answers nobody, and what
        that costs a question on average is a part of its price.
"""

from __future__ import annotations

from typing import Final

from engine.core import Core
from engine.failure import Failure
from engine.graph import ABSENT, ERROR, MUTABLE, PINNED, entries
from engine.query import REGISTRY
from engine.recall import recall, recall_bytes
from engine.store import canonical
from engine.store.codec import fingerprint

DIGEST: Final = 8  # bytes of a key's digest: two of 100,000 keys are taken for each other once in 10^9 runs
ASK_US: Final = 500  # what a key costs that is asked for: an answer takes 200 us, more when others ask too


class Held:
    """What workers are told of the memos of one engine."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._digests: dict[str, bytearray] = {}  # query -> of its expensive keys with a memo
        self._now: dict[str, bytes] = {}  # the same of what is held in this generation only
        self._asked: set[str] = set()  # queries with expensive keys in the store, that are not listed above
        self._ask_us = ASK_US
        self._answering = 0  # since when questions are answered, by the clock of the core

    def silent(self, began: int, ended: int) -> None:
        """Nobody was answered between these times (ns). What does that cost a question?

        One that comes at any time meets such a silence as often as that is a part of all time, and waits for
        half of it then: 9 ms on average in a build that commits for 0.2 s every 2.2 s. Without this two
        workers stood still for most of each commit, as one of some 400 keys was worth asking for.
        See test_a_key_is_asked_for_if_it_costs_more_than_a_question_waits_for_commits.
        """
        silence, all_time = ended - began, ended - self._answering
        self._ask_us = ASK_US + silence * silence // max(2 * all_time, 1) // 1000
        self._answering = ended

    def made(self, node: int, microseconds: int) -> None:
        """A memo is made. The fingerprint of before is still in place."""
        graph = self._core.graph
        if microseconds >= self._ask_us and not graph.fingerprint[node]:
            name = self._core.queries.names[graph.query[node]]
            self._digests.setdefault(name, bytearray()).extend(self._digest(node))

    def start(self) -> None:
        """A new generation."""
        core = self._core
        self._ask_us, self._answering = ASK_US, core.clock()
        now: dict[str, bytes] = {}
        pinned = [node for node, flags in enumerate(core.graph.flags) if flags & PINNED]
        for node in {*pinned, *core.claims.held}:
            if core.info_of(node) is not None:
                name = core.queries.names[core.graph.query[node]]
                now[name] = now.get(name, b"") + self._digest(node)
        self._now = now
        for name in (core.queries.names[row] for row in core.queries.stored):
            info = REGISTRY.get(name)  # it need not be bound yet
            if info is not None and info.is_input and not info.observed:
                self._asked.add(name)  # a cell that was set in an earlier process may not be in memory

    def look_at(self, node: int) -> None:
        """A key goes out: what it read last time it will likely read again."""
        core, graph = self._core, self._core.graph
        for read in entries(graph.below(node)):
            row = graph.query[read]
            if row in core.queries.stored and graph.cost[read] >= self._ask_us:
                self._asked.add(core.queries.names[row])

    def news(self, told: dict[str, int]) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Digests beyond those that were told, and queries all of whose keys are asked for."""
        found = {} if told else dict(self._now)
        told.setdefault("", 0)  # something was told
        for name, digests in self._digests.items():
            start = told.get(name, 0)
            if start < len(digests):
                found[name] = found.get(name, b"") + bytes(digests[start:])
                told[name] = len(digests)
        return found, tuple(self._asked)

    def _digest(self, node: int) -> bytes:
        return digest(canonical.canonical(self._core.args_of(node)))


def digest(args: bytes) -> bytes:
    """What stands for a key of a known query, in `Batch.held`."""
    return fingerprint(args)[:DIGEST]


def bytes_of(core: Core, node: int) -> bytes | None:
    """The bytes of the value or failure of a node that holds; None where they are not to be had."""
    graph = core.graph
    held = graph.values[node]
    if graph.flags[node] & ERROR:
        failure = held if isinstance(held, Failure) else recall(core, node)
        return failure.data if isinstance(failure, Failure) and not failure.ring else None
    queued = core.unsaved.nodes.get(node)
    if queued is not None:
        return queued
    if held is ABSENT:
        return recall_bytes(core, node)  # as they are: whether they can be read here is nobody's question
    if graph.flags[node] & MUTABLE and isinstance(held, bytes):
        return held
    info = core.info_of(node)
    if info is None or not info.codec.storable or not graph.fingerprint[node]:
        return None  # without a fingerprint it has no bytes, whatever its annotation says, or does not say
    return info.codec.encode(held)
