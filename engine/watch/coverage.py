"""Coverage: which directories are watched, and which inputs are to be looked at when something happened.

Invariants
    F1  Install, then look: what is looked at after its directory is covered cannot change unnoticed.
    F3  An input whose directory is not covered, or that has no place, is looked at every few seconds.
    F4  Only directories in which inputs look are covered, and those above them (see `places`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable

from engine.core import Core
from engine.errors import CannotWatch
from engine.graph import Graph
from engine.watch.backend import Backend
from engine.watch.events import Trouble, WatchEvent
from engine.watch.places import Places
from engine.watch.scanning import ScanningBackend
from engine.watch.update_scheduler import UpdateScheduler

# Paths told at once: the kernel's queue holds 16,384 events, and a full one loses silently.
HUGE_BATCH = 1_000
SECOND_LOOK_SECONDS = 0.5  # new directories are looked at once more when their makers had time to fill them

log = logging.getLogger("engine.watch")


class Coverage:
    """The places of inputs and the backend that watches them. Thread safe."""

    def __init__(
        self,
        core: Core,
        scheduler: UpdateScheduler[int],
        tell: Callable[[WatchEvent], None],
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._scheduler = scheduler
        self._tell = tell
        self._clock = clock
        self._lock = threading.RLock()  # over places and backend
        self.places = Places(core)
        self.backend: Backend = ScanningBackend("", lambda voice, paths: None, lambda cause: None)
        self._second_looks: list[tuple[float, list[int]]] = []
        # Directories that should be covered and are not; whether they may have been there at the last look.
        self._bare: dict[str, bool] = {}
        self._told: set[str] = set()

    def nodes_of(self, paths: Collection[str]) -> list[int]:
        """The inputs to look at when something happened at these paths, in their order.

        Directories among them that were removed, replaced or made are covered anew.
        """
        found: dict[int, None] = {}
        with self._lock:
            self.cover()  # or what was read lately would have no place yet
            replaced: dict[str, None] = {}
            states = {path: state for path in paths if (state := self.places.state_at(path)) is not None}
            for path in paths:
                found.update(dict.fromkeys(self.places.affected(path)))
                mode = states[path].st_mode if path in states else 0
                if path and (self.places.covers(path) or self.places.becomes_directory(path, mode)):
                    replaced.update(dict.fromkeys(self.places.tree(path)))
            found.update(dict.fromkeys(self.places.by_other_names(states.values())))
            if replaced:
                self.backend.uncover([self.places.full(path) for path in replaced])
                found.update(dict.fromkeys(self._to_look_at(self._cover(replaced))))
        return list(found)

    def differ(self, nodes: Iterable[int], graph: Graph) -> None:
        """These inputs differ: where one of them leads elsewhere than before, all places are listed anew."""
        with self._lock:
            if self.places.any_misfiled(nodes, graph):
                self.places.stale = True
                self.cover()

    def cover(self) -> None:
        """Cover what queries came to read since the last call, and have it looked at once more (F1).

        All of it is handed to the scheduler before anybody else is let in: a `sync` that comes after this
        call takes it from there (`UpdateScheduler.asked_meanwhile`).
        """
        with self._lock:
            filed = self.places.grow()
            if filed is None:
                self.backend.uncover([self.places.full(path) for path in self.places.dropped])
                for path in self.places.dropped:
                    self._bare.pop(path, None)
                self._cover(self.places.directories)
                self._scheduler.crawl("the places of inputs were listed anew")
            elif filed:
                # Those above too: what is moved away with a directory is told in the one above.
                asked = (*self.places.came(), *(directory for _, directory in filed))
                fresh = self._cover(dict.fromkeys(asked))
                # Those too whose directory was covered before: what was told of them until now had no reader.
                self._scheduler.look([*(node for node, _ in filed), *self._to_look_at(fresh)])

    def uncovered(self) -> list[int]:
        """Inputs that no event tells of (F3)."""
        with self._lock:
            places = self.places
            nodes = dict(places.elsewhere)
            if isinstance(self.backend, ScanningBackend):
                nodes.update(dict.fromkeys(places.below("")))
                return list(nodes)
            there = [path for path in self._bare if places.exists(path)]
            gone = [path for path in self._bare.keys() - there if self._bare[path]]
            self._bare.update(dict.fromkeys(gone, False))
            if there:  # made without an event, or the system has room for watches again
                nodes.update(dict.fromkeys(self._to_look_at(self._cover(there))))
            # Listings too: a watch on the directory above tells nothing of them.
            for path in (*there, *gone):
                nodes.update(dict.fromkeys((*places.at(path), *places.inside(path))))
            return list(nodes)

    def directories(self) -> int:
        """How many directories are covered."""
        with self._lock:
            return sum(1 for _ in self.places.directories) - len(self._bare) if self.backend.voices() else 0

    def saved_at(self, path: str) -> float | None:
        """When a file was saved or put in its place, by its own account; None where it is not there."""
        try:
            return os.lstat(self.places.full(path)).st_ctime
        except (OSError, ValueError):
            return None

    def _cover(self, directories: Iterable[str]) -> frozenset[str]:
        """Directories whose watch is new, in the words of the index."""
        places, backend = self.places, self.backend
        asked = list(directories)
        fresh: frozenset[str] = frozenset()
        try:
            fresh = backend.cover([places.full(path) for path in asked])
        except CannotWatch as error:
            cause = f"{error.headline}: {error.fields['cause']}"
            self._once(Trouble(str(self._core.root), cause, f"{error.hint} Until then files are looked at."))
        relative = map(places.relative, fresh)  # not below the root: it was behind a link that was turned
        found = frozenset(path for path in relative if path is not None)
        for path in found.union(asked):
            if backend.covers(places.full(path)):
                self._bare.pop(path, None)
            else:
                self._bare[path] = True
        return found

    def _to_look_at(self, fresh: frozenset[str]) -> list[int]:
        """The inputs in directories whose watch is new: now, and once more when they are filled (F1)."""
        if len(fresh) > HUGE_BATCH:
            self._scheduler.crawl(f"{len(fresh)} directories came to be watched")
            return []
        nodes = [node for path in fresh for node in (*self.places.at(path), *self.places.inside(path))]
        if nodes:
            self._second_looks.append((self._clock() + SECOND_LOOK_SECONDS, nodes))
        return nodes

    def _once(self, trouble: Trouble) -> None:
        if trouble.cause not in self._told:
            self._told.add(trouble.cause)
            log.info("%s: %s", trouble.place, trouble.cause)
            self._tell(trouble)
