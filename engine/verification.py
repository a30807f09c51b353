"""Verification: everything once more from scratch, in an engine beside this one, and compared.

Incremental equals from scratch: this is how to have it proven, at any time, for any rules.

Invariants
    V1  The other engine begins with nothing and takes nothing over but what the host set: no memo, no row.
        Where the first has worker processes this one has its own: what kills one, or is late, fails in both.
    V2  What changes in the world while it is at work is seen by both before anything is called a difference.
    V3  What it finds it tells, and mends nothing (comparison P5). Only the keys that it was asked for are
        brought up to date, as any other request would do it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from engine.advance import Change, change_of
from engine.attempt import Gate, insist
from engine.comparison import Compared, KeyDifference, Seen, compare
from engine.core import Core, Request
from engine.durability import Durability
from engine.graph import ABSENT, INPUT, MARKED, PINNED, ROOT, TRANSIENT, entries
from engine.group import ensure_all
from engine.key import Key
from engine.locate import bind, locate
from engine.look import sync
from engine.mark import spread
from engine.persist import load
from engine.query import REGISTRY, QueryInfo
from engine.reach import closure
from engine.recall import recall
from engine.recover import put_in_place
from engine.request import load_all, make_calm, prepare_reset, refresh
from engine.rings import Cycle
from engine.tables.collection import Collection

ROUNDS: Final = 8  # looks at a world that does not stand still

Asked = tuple[QueryInfo, tuple[Any, ...]]


@frozen
class Verification:
    """What a verification found.

    compared      nodes that both engines have: values, inner nodes, lookups, tables, folds
    differences   where they differ; first those where it begins. Empty: everything is as it should be
    moved         inputs that did not stand still, so that what rests on them could not be compared
    left_out      queries of keys that were asked for once and that no loaded module defines
    """

    revision: int
    keys: int
    compared: int
    differences: tuple[KeyDifference, ...]
    moved: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Verifier:
    """One verification of `core`: `run` does it, `scratch` is the engine beside.

    keys      what to compute; default: every key that was ever asked for from outside
    sample    compute only so many nodes from scratch, chosen at random among those that the keys rest on
    """

    def __init__(
        self, core: Core, keys: Sequence[Key[Any]], sample: int | None, chance: random.Random
    ) -> None:
        self.core = core
        self.scratch = Core(
            None, core.root, workers=core.workers, strict=core.strict, depth_limit=core.depth_limit
        )
        self.scratch.relaxes_collector = core.relaxes_collector
        self.scratch.limits = core.limits.of_another(self.scratch.claims.released)
        if core.dispatch is not None:
            self.scratch.dispatch = core.dispatch.of_another(self.scratch)
        self._keys = keys
        self._sample = sample
        self._chance = chance
        self._pinned: dict[tuple[str, object], Asked] = {}
        self._left_out: tuple[str, ...] = ()

    def run(self) -> Verification:
        """Bring the keys up to date in both engines, until no input moves any more, and compare (V2)."""
        try:
            return self._run()
        finally:
            if self.scratch.dispatch is not None:
                self.scratch.dispatch.close()

    def _run(self) -> Verification:
        make_calm(self.core)
        asked = self._asked()
        self._know_the_newest()
        chosen: list[Asked] | None = None
        seen: Seen = {}
        found: Compared | None = None
        for number in range(ROUNDS):
            if number:
                sync(self.core)
                sync(self.scratch)
            refresh(self.core, asked, lambda: True, int)
            if chosen is None:
                chosen = asked if self._sample is None else self._chosen(asked, self._sample)
            self._set_what_the_host_set()
            if not number:
                self._together(chosen)
            refresh(self.scratch, chosen, lambda: True, int)
            again = compare(self.core, self.scratch, seen)
            if again is None:
                continue
            found, seen = again, {**seen, **again.moved}
            if not found.moved:
                break
        if found is None:
            return Verification(self.core.revision, len(asked), 0, (), ("the revision",), self._left_out)
        moved = tuple(sorted(found.moved))
        return Verification(
            self.core.revision, len(asked), found.compared, found.differences, moved, self._left_out
        )

    def stop(self) -> None:
        """Let it unwind. For signal handlers."""
        self.scratch.stopping = True
        self.scratch.outdate()

    # -- what is computed ----------------------------------------------------------------------

    def _asked(self) -> list[Asked]:
        if self._keys:
            return [(key.query, key.args) for key in self._keys]
        core = self.core
        with core.lock:
            for name in tuple(core.queries.by_name):
                if name in REGISTRY:
                    bind(core, REGISTRY[name])
            load_all(core)
            graph = core.graph
            roots = [node for node in range(1, len(graph)) if graph.flags[node] & ROOT]
            keys = {node: core.key_of(node) for node in roots}
            unknown = {core.queries.names[graph.query[node]] for node, key in keys.items() if key is None}
            self._left_out = tuple(sorted(name.removesuffix(".members") for name in unknown))
            return [(key.query, key.args) for key in keys.values() if key is not None]

    def _know_the_newest(self) -> None:
        """Of each query the newest definition. A function that a reload removed would bring older ones."""
        with self.core.lock, self.scratch.lock:
            for name in tuple(self.core.queries.by_name):
                if name in REGISTRY:
                    bind(self.scratch, REGISTRY[name])

    def _together(self, asked: list[Asked]) -> None:
        """Compute keys as a group, so that they go to workers as they may in the engine that is verified."""
        scratch = self.scratch
        if scratch.dispatch is None:
            return

        def attempt(gate: Gate) -> None:
            with gate, scratch.lock:
                nodes = [locate(scratch, info, args) for info, args in asked]
                with suppress(Cycle):  # it is met again when each is asked for
                    ensure_all(scratch, nodes, Request(scratch))

        insist(scratch, attempt)

    def _chosen(self, asked: list[Asked], sample: int) -> list[Asked]:
        """Some nodes that hold, among those that the keys rest on. Inputs come with who reads them."""
        core = self.core
        with core.lock:
            spread(core)
            graph = core.graph
            fit = [
                node
                for node in self._below([locate(core, info, args) for info, args in asked])
                if not graph.flags[node] & (INPUT | TRANSIENT)
                and not graph.status[node] & MARKED
                and not closure(core, graph.flags[node]) & core.reach.doubtful
            ]
            keys = [core.key_of(node) for node in self._chance.sample(fit, min(sample, len(fit)))]
            return [(key.query, key.args) for key in keys if key is not None]

    def _below(self, nodes: list[int]) -> list[int]:
        """Everything that nodes rest on, themselves included."""
        core, seen = self.core, dict.fromkeys(nodes)
        waiting = nodes
        while waiting:
            load(core, waiting)
            found: dict[int, None] = {}
            for node in waiting:
                below = entries(core.graph.below(node))
                one: Collection | None = core.collections.get(node)
                if one is not None:
                    below += one.load_members()
                found.update((other, None) for other in below if other not in seen)
            seen.update(found)
            waiting = list(found)
        return list(seen)

    # -- what the host set ---------------------------------------------------------------------

    def _set_what_the_host_set(self) -> None:
        """Host cells and overlays get the value that they have in the engine that is verified (V1)."""
        core, scratch = self.core, self.scratch
        changes: list[Change] = []
        pinned: dict[tuple[str, object], Asked] = {}
        with core.lock, scratch.lock:
            self._load_host_cells()
            for node in range(1, len(core.graph)):
                if not core.graph.flags[node] & PINNED:
                    continue
                key = core.key_of(node)
                value = ABSENT if key is None else recall(core, node)
                if key is None or value is ABSENT:
                    continue
                level = Durability(core.graph.durability[node])
                there = locate(scratch, key.query, key.args)
                changes.append(change_of(there, key.query, key.args, value, pinned=True, durability=level))
                pinned[key.query.name, key.typed] = key.query, key.args
        gone = [asked for name, asked in self._pinned.items() if name not in pinned]
        changes += [prepare_reset(scratch, info, args) for info, args in gone]
        self._pinned = pinned
        with scratch.lock:
            put_in_place(scratch, changes, "what the host set")

    def _load_host_cells(self) -> None:
        """Bring into memory what the host may have set. Not observed inputs: overlays are in memory only."""
        core = self.core
        for row in sorted(core.queries.stored):
            info = REGISTRY.get(core.queries.names[row])
            if info is not None and info.is_input and not info.observed:
                load(core, core.nodes_of(row))


def verify(
    core: Core, keys: Sequence[Key[Any]], sample: int | None = None, chance: random.Random | None = None
) -> Verification:
    """See `Verifier`."""
    return Verifier(core, keys, sample, chance or random.Random()).run()
