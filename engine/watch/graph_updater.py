"""GraphUpdater: every watched key brought up to date after a batch, committed once, and what became of it.

Invariants
    G1  Inputs are put in place in one revision for each batch, before anything runs.
    G2  A failing key stops no other: its failure is told, and its readers have it as their value.
    G3  What is told is committed (events E2), and true at the end of the pass that tells it.
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
from engine.event import Counts, What
from engine.explain import WHILE, annotate, error_of, reason_of
from engine.failure import Failure, is_transient, words_of
from engine.graph import ERROR, INPUT, Graph
from engine.key import Key
from engine.locate import find
from engine.message import EngineError, escaped
from engine.persist import readers_of
from engine.query import REGISTRY
from engine.raising import notes_of
from engine.request import refresh
from engine.usertrace import where
from engine.watch.delta_processor import LISTING_NAME, TEXT_NAMES
from engine.watch.events import Changed, Failed

MOST_KEYS = 10_000  # told of one revision by name; a consumer of more is better off reading the values
AT_ONCE = 200  # records worked on while the core's lock is held: some 2 ms, which a `sync` may have to wait
ERROR_WIDTH = 500  # characters
CLIMB = 4_000  # readers looked at to find which watched keys rest on the last edit (see `mark.BUDGET`)


Collected = dict[int, tuple[What, bytes, bytes]]  # node -> what happened last, fingerprints before and after


@define(slots=True)
class Pass:
    """What one refresh found.

    first_read  files whose content was read for the first time
    listed      directories whose listing is another one, or was read for the first time
    lost        the core's lists were built anew, so that not everything that changed is known
    """

    revision: int
    counts: Counts
    inputs: list[Changed]
    changed: list[Changed]
    omitted: int
    failures: list[Failed]
    retry: list[Key[Any]]
    first_read: list[str]
    listed: set[str]
    lost: bool
    seconds: float


class GraphUpdater:
    """Refreshes the watched keys of a core. One thread at a time.

    record      is told what ran: (what, query name, path or None, microseconds)
    is_file     whether a path is that of an observed file
    own         names of queries that the watch asks for itself: they are not told, unless somebody watches
                them
    """

    def __init__(
        self,
        core: Core,
        record: Callable[[What, str, str | None, int], None],
        is_file: Callable[[str], bool] = bool,
        own: frozenset[str] = frozenset(),
    ) -> None:
        self._core = core
        self._record = record
        self._is_file = is_file
        self._own = own
        self.watched: dict[Key[Any], None] = {}  # by the threads of the host: go through a copy
        self.failing: dict[Key[Any], str] = {}
        self.retrying = False  # whether one of them fails for a reason that may be over any time
        self.telling = False  # the first pass tells figures only: in it, everything is new
        self._lost = False
        self._counts = core.counts()
        self._collected: Collected = {}
        self._graph = core.graph  # what the nodes of the journal belong to

    def begin(self) -> None:
        """Have what runs written down from now on."""
        self._graph = self._core.graph
        self._core.telling.journal = deque()

    def refresh(
        self,
        edited: Sequence[int] = (),
        wanted: Callable[[], bool] = lambda: True,
        graph: Graph | None = None,
    ) -> Pass:
        """Bring every watched key up to date, those first that rest on what was edited last, and commit.

        graph       the lists that `edited` are numbers of, if not those of now
        Raises KeyboardInterrupt, as a stopped engine does, once it is not `wanted` any more.
        """
        core = self._core
        started = time.perf_counter()
        keys = self.in_order(edited, graph)
        asked = [(REGISTRY.get(key.query.name, key.query), key.args) for key in keys]
        errors, (revision, collected, graph, counts) = refresh(core, asked, wanted, self._conclude)
        failures, retry = [], []
        now: dict[Key[Any], str] = {}
        for key, error in zip(keys, errors, strict=True):
            if error is not None:
                now[key] = text_of(error, str(key))
                failures.append(Failed(str(key), now[key], watched=True))
                if is_transient(error):
                    retry.append(key)
        self.failing = now
        self.retrying = bool(retry)
        first_read: list[str] = []
        listed: set[str] = set()
        inputs, changed, omitted, failed = self._told(collected, graph, first_read, listed)
        lost, self._lost = self._lost, False
        watched = {failure.key for failure in failures}
        failures += [one for one in failed if one.key not in watched]
        before, self._counts = self._counts, counts
        seconds = time.perf_counter() - started
        news = (inputs, changed, omitted, failures, retry, first_read, listed, lost)
        return Pass(revision, counts - before, *news, seconds)

    def _conclude(self, revision: int) -> tuple[int, Collected, Graph, Counts]:
        """What belongs to a pass, and the lists whose nodes it names, at the moment of its commit (G3).

        The core's lock is held: no time to tell.
        """
        self.digest()
        collected, self._collected = self._collected, {}
        return revision, collected, self._graph, self._core.counts()

    def in_order(self, edited: Sequence[int], graph: Graph | None = None) -> list[Key[Any]]:
        """The watched keys: those that rest on the inputs edited last come first, the others as given."""
        watched = list(self.watched)
        if len(watched) < 2 or not edited:
            return watched
        core = self._core
        ahead: dict[Key[Any], None] = {}
        with core.lock:
            if graph is not None and core.graph is not graph:
                return watched  # built anew meanwhile: nobody knows which they are
            known = ((key, find(core, REGISTRY.get(key.query.name, key.query), key.args)) for key in watched)
            wanted = {node: key for key, node in known if node}
            budget = CLIMB
            for node in edited:
                budget = self._climb(node, wanted, ahead, budget)
                if budget <= 0:
                    break
        return [*ahead, *(key for key in watched if key not in ahead)]

    def _climb(self, node: int, wanted: dict[int, Key[Any]], found: dict[Key[Any], None], budget: int) -> int:
        waiting, seen = [node], {node}
        for here in waiting:
            budget -= 1
            if budget <= 0:
                break
            if here in wanted:
                found.setdefault(wanted[here])
            fresh = [reader for reader in readers_of(self._core, here) if reader not in seen]
            seen.update(fresh)
            waiting += fresh
        return budget

    def _told(
        self, collected: Collected, graph: Graph, first_read: list[str], listed: set[str]
    ) -> tuple[list[Changed], list[Changed], int, list[Failed]]:
        """What the journal says of a pass: inputs and keys that differ, and what failed."""
        core = self._core
        inputs: list[Changed] = []
        changed: list[Changed] = []
        failed: list[Failed] = []
        omitted = 0
        with core.lock:
            own = core.queries.rows(self._own)
            own -= core.queries.rows([key.query.name for key in list(self.watched)])
        nodes = iter(collected.items())
        while some := list(islice(nodes, AT_ONCE)):
            with core.lock:
                if core.graph is not graph:
                    self._lost = True
                    break  # the lists were built anew: these numbers mean other keys now
                for node, (what, before, after) in some:
                    if (before == after and what is not What.FAILED) or self._is_own(node, own):
                        continue
                    if len(inputs) + len(changed) >= MOST_KEYS:
                        omitted += 1
                        continue
                    name = core.name_of(node)
                    query = core.queries.names[core.graph.query[node]]
                    fresh = what is What.READ and not before and not core.graph.flags[node] & ERROR
                    if what is What.READ and query == LISTING_NAME:
                        listed.add(core.args_of(node)[0])
                    if fresh and query in TEXT_NAMES:
                        first_read.append(core.args_of(node)[0])
                    # What has no bytes is told whenever it ran.
                    if before != after or (not after and what is What.EXECUTED):
                        one = Changed(name, query, before.hex(), after.hex(), reason_of(core, node))
                        (inputs if what in _OF_INPUTS else changed).append(one)
                    restored = what is What.RESTORED and core.graph.flags[node] & ERROR
                    if (what is What.FAILED or restored) and self._is_needed(node):
                        failed.append(Failed(name, self._error_of(node, name)))
        return inputs, changed, omitted, failed

    def discount(self) -> None:
        """What was counted up to now is nobody's news: work of the watch for itself."""
        self._counts = self._core.counts()

    def digest(self, most: int | None = None) -> None:
        """Fold the journal, all of it or some records, so that it stays short while a long build goes on."""
        core = self._core
        journal = core.telling.journal
        left = len(journal or ()) if most is None else most
        while journal and left > 0:
            left -= AT_ONCE
            with core.lock:
                graph = core.graph
                if graph is not self._graph:
                    self._graph = graph
                    self._lost = self.telling
                    self._collected.clear()
                    journal.clear()
                for _ in range(min(AT_ONCE, len(journal))):
                    what, node, microseconds, before, after = journal.popleft()
                    if not node:
                        continue
                    if self.telling:
                        known = self._collected.get(node)
                        self._collected[node] = (what, before if known is None else known[1], after)
                    if node not in core.collections:  # book-keeping: what its members cost counts
                        name = core.queries.names[graph.query[node]]
                        self._record(what, name, self._path_of(node), microseconds)

    def _is_own(self, node: int, own: set[int]) -> bool:
        """Whether only the watch itself asks for a node. `own`: rows of its queries."""
        graph = self._core.graph
        if own and graph.flags[node] & INPUT:
            readers = graph.above(node)
            return bool(readers) and all(graph.query[reader] in own for reader in readers)
        return graph.query[node] in own

    def _is_needed(self, node: int) -> bool:
        """Whether somebody reads a node: a probe may have run what nobody does by now (mark M3)."""
        members = self._core.queries.of_members
        return self._core.graph.query[node] in members or bool(readers_of(self._core, node))

    def _path_of(self, node: int) -> str | None:
        """The file that a key is about: its first argument, if that is one."""
        args = self._core.graph.args[node]
        path = args[0] if isinstance(args, tuple) and args else args
        return path if isinstance(path, str) and self._is_file(path) else None

    def _error_of(self, node: int, name: str) -> str:
        value = self._core.graph.values[node]
        if not isinstance(value, Failure):
            return escaped(error_of(self._core, node), limit=ERROR_WIDTH) or "it failed"
        error = value.raised()
        annotate(self._core, node, error)
        return text_of(error, name)


_OF_INPUTS = (What.READ, What.SET, What.RESET)


def text_of(error: BaseException, key: str = "") -> str:
    """An error in one line: which key failed first, if not `key`; what; and where in the user's code."""
    if isinstance(error, EngineError):
        fields = "; ".join(f"{name} {text}".strip() for name, text in error.fields.items())
        text = f"{error.headline} ({fields})" if fields else error.headline
    else:
        text = " ".join(part.strip() for part in words_of(error).split("\n"))
    chain = next((note.removeprefix(WHILE) for note in notes_of(error) if note.startswith(WHILE)), "")
    first = chain.rpartition(" -> ")[2]
    place = where(error)
    by = f"{first}: " if first and first != key else ""
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return escaped(f"{by}{what}{f', at {place}' if place else ''}", limit=ERROR_WIDTH)
