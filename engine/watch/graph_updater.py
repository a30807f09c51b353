"""GraphUpdater: every watched key brought up to date after a batch, committed once, and what became of it.

Invariants
    G1  Inputs are put in place in one revision for each batch, before anything runs.
    G2  A failing key stops no other: its failure is told, and its readers have it as their value.
    G3  What is told is committed (`events` E2), and true at the end of the pass that tells it.
    G4  A batch that comes while keys are refreshed cancels what it makes outdated; whatever else was
        computed stays (the core's own rule: memos are proven, not trusted).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from attrs import define

from engine.core import Core
from engine.errors import escaped
from engine.event import Counts, What
from engine.explain import reason_of
from engine.failure import is_transient
from engine.graph import INPUT
from engine.key import Key
from engine.locate import find
from engine.persist import load_readers
from engine.query import REGISTRY
from engine.request import refresh
from engine.watch.events import Changed, Failed

MOST_KEYS = 10_000  # told of one revision by name; a consumer of more is better off reading the values
AT_ONCE = 200  # records worked on while the core's lock is held: some 2 ms, which a `sync` may have to wait
CLIMB = 4_000  # readers looked at to find which watched keys rest on the last edit (see `mark.BUDGET`)


@define(slots=True)
class Pass:
    """What one refresh found."""

    revision: int
    counts: Counts
    inputs: list[Changed]
    changed: list[Changed]
    omitted: int
    failures: list[Failed]
    retry: list[Key[Any]]
    seconds: float


class GraphUpdater:
    """Refreshes the watched keys of a core. One thread at a time.

    record      is told what ran: (what, query name, path or None, microseconds)
    own         names of queries that the watch asks for itself: they are not told, unless somebody watches
                them
    """

    def __init__(
        self,
        core: Core,
        record: Callable[[What, str, str | None, int], None],
        own: frozenset[str] = frozenset(),
    ) -> None:
        self._core = core
        self._record = record
        self._own = own
        self.watched: dict[Key[Any], None] = {}
        self.failing: dict[Key[Any], str] = {}
        self.telling = False  # the first pass tells figures only: in it, everything is new
        self._counts = core.counts()
        self._collected: dict[int, tuple[What, bytes, bytes]] = {}  # what happened last, fingerprints
        self._graph = core.graph  # what the nodes of the journal belong to
        core.journal = deque()

    def refresh(self, edited: Sequence[int] = (), wanted: Callable[[], bool] = lambda: True) -> Pass:
        """Bring every watched key up to date, those first that rest on what was edited last, and commit.

        Raises KeyboardInterrupt, as a stopped engine does, once it is not `wanted` any more.
        """
        core = self._core
        started = time.perf_counter()
        keys = self.in_order(edited)
        errors = refresh(core, [(REGISTRY.get(key.query.name, key.query), key.args) for key in keys], wanted)
        failures, retry = [], []
        now: dict[Key[Any], str] = {}
        for key, error in zip(keys, errors, strict=True):
            if error is not None:
                now[key] = text_of(error)
                failures.append(Failed(str(key), now[key], watched=True))
                if is_transient(error):
                    retry.append(key)
        self.failing = now
        inputs, changed, omitted, failed = self._drain()
        watched = {failure.key for failure in failures}
        failures += [one for one in failed if one.key not in watched]
        before, self._counts = self._counts, core.counts()
        seconds = time.perf_counter() - started
        return Pass(core.revision, self._counts - before, inputs, changed, omitted, failures, retry, seconds)

    def in_order(self, edited: Sequence[int]) -> list[Key[Any]]:
        """The watched keys: those that rest on the inputs edited last come first, the others as given."""
        watched = list(self.watched)
        if len(watched) < 2 or not edited:
            return watched
        core = self._core
        ahead: dict[Key[Any], None] = {}
        with core.lock:
            known = ((key, find(core, REGISTRY.get(key.query.name, key.query), key.args)) for key in watched)
            wanted = {node: key for key, node in known if node}
            budget = CLIMB
            for node in edited:
                budget = self._climb(node, wanted, ahead, budget)
                if budget <= 0:
                    break
        return [*ahead, *(key for key in watched if key not in ahead)]

    def _climb(self, node: int, wanted: dict[int, Key[Any]], found: dict[Key[Any], None], budget: int) -> int:
        graph = self._core.graph
        waiting, seen = [node], {node}
        for here in waiting:
            budget -= 1
            if budget <= 0:
                break
            if here in wanted:
                found.setdefault(wanted[here])
            load_readers(self._core, [here])
            fresh = [reader for reader in graph.readers[here] or () if reader not in seen]
            seen.update(fresh)
            waiting += fresh
        return budget

    def _drain(self) -> tuple[list[Changed], list[Changed], int, list[Failed]]:
        """What the journal says since the last time: inputs and keys that differ, and what failed."""
        core = self._core
        inputs: list[Changed] = []
        changed: list[Changed] = []
        failed: list[Failed] = []
        omitted = 0
        self.digest()
        with core.lock:
            collected, self._collected = self._collected, {}
            own = {core.rows[name] for name in self._own if name in core.rows}
            own -= {core.rows[key.query.name] for key in self.watched if key.query.name in core.rows}
        nodes = iter(collected.items())
        while some := list(islice(nodes, AT_ONCE)):
            with core.lock:
                if core.graph is not self._graph:
                    break  # the lists were built anew: these numbers mean other keys now
                for node, (what, before, after) in some:
                    if (before == after and what is not What.FAILED) or self._is_own(node, own):
                        continue
                    if len(inputs) + len(changed) >= MOST_KEYS:
                        omitted += 1
                        continue
                    name = core.name_of(node)
                    if before != after or not after:  # what has no bytes is told whenever it ran
                        query = core.name_of_row[core.graph.query[node]]
                        one = Changed(name, query, before.hex(), after.hex(), reason_of(core, node))
                        (inputs if what in _OF_INPUTS else changed).append(one)
                    if what is What.FAILED:
                        failed.append(Failed(name, self._error_of(node)))
        return inputs, changed, omitted, failed

    def digest(self, most: int | None = None) -> None:
        """Fold the journal, all of it or some records, so that it stays short while a long build goes on."""
        core = self._core
        journal = core.journal
        left = len(journal or ()) if most is None else most
        while journal and left > 0:
            left -= AT_ONCE
            with core.lock:
                graph = core.graph
                if graph is not self._graph:
                    self._graph = graph
                    self._collected.clear()
                    journal.clear()
                for _ in range(min(AT_ONCE, len(journal))):
                    what, node, microseconds, before, after = journal.popleft()
                    if not node:
                        continue
                    if self.telling:
                        known = self._collected.get(node)
                        self._collected[node] = (what, before if known is None else known[1], after)
                    name = core.name_of_row[graph.query[node]]
                    self._record(what, name, self._path_of(node), microseconds)

    def _is_own(self, node: int, own: set[int]) -> bool:
        """Whether only the watch itself asks for a node. `own`: rows of its queries."""
        graph = self._core.graph
        if own and graph.flags[node] & INPUT:
            readers = graph.readers[node]
            return bool(readers) and all(graph.query[reader] in own for reader in readers or ())
        return graph.query[node] in own

    def _path_of(self, node: int) -> str | None:
        """The path that a key is about: its first argument, if that is a text."""
        args = self._core.graph.args[node]
        return args[0] if isinstance(args, tuple) and args and isinstance(args[0], str) else None

    def _error_of(self, node: int) -> str:
        value = self._core.graph.values[node]
        error = getattr(value, "error", None)
        return text_of(error) if isinstance(error, Exception) else "it failed"


_OF_INPUTS = (What.READ, What.SET, What.RESET)


def text_of(error: BaseException) -> str:
    """An error in one line."""
    text = str(error).split("\n")
    return escaped(f"{type(error).__name__}: {' '.join(part.strip() for part in text)}", limit=500)
