"""Unsaved: what one engine knows and its store does not know yet. The next commit writes it (see persist).

Invariants
    U1  What is noted here stays until a commit has written it, or the lists are built anew.
    U2  A node in `ringed` is not in `nodes`: no row of a cycle is written before all its members have theirs.
    U3  `state` is set where the store's list of suspects, or its revision, is not that of now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.graph import ABSENT, PINNED, TRANSIENT, VALUE

if TYPE_CHECKING:
    from engine.graph import Graph
    from engine.store import CursorRow


class Unsaved:
    """The news of an engine, by the tables of the store in which they end."""

    __slots__ = (
        "_passed", "cursors", "disk_full", "earlier_gone", "no_room_for_index", "nodes", "passing", "queries",
        "readers", "revisions", "ringed", "since", "stamps", "state", "value_bytes",
    )  # fmt: skip

    def __init__(self, now: int) -> None:
        # with the bytes of its value; None: the store keeps what it has
        self.nodes: dict[int, bytes | None] = {}
        self.readers: dict[int, None] = {}  # nodes whose readers are others
        self.stamps: dict[int, bytes] = {}  # of observed inputs
        self.queries: dict[int, None] = {}  # rows
        # of consumers of a key's value; None: given up
        self.cursors: dict[tuple[int, str], CursorRow | None] = {}
        self.revisions: list[tuple[int, float, int, str]] = []
        # without a history: nodes whose stored earlier memos have to go
        self.earlier_gone: dict[int, None] = {}
        self.state = False
        self.ringed: dict[int, bytes | None] = {}  # members of rings, as in `nodes`, until all are made
        self.passing: list[int] = []  # values of persist=False queries, dropped after two commits
        self._passed: list[int] = []
        self.value_bytes = 0  # of what is in `nodes`
        self.since = now  # when the first of the rows was made that the next commit writes
        self.disk_full = False  # the last commit found no space
        self.no_room_for_index = False  # tried once: at each commit it would take seconds

    @property
    def has_news(self) -> bool:
        """Whether a commit has something to write, collections aside."""
        return bool(self.nodes or self.readers or self.stamps or self.queries or self.state or self.cursors)

    def let_passing_go(self, graph: Graph) -> None:
        """Let go of values that are not to be kept, two commits after they were made.

        One commit is not enough: a chunk may end between two readers of one value.
        """
        for node in self._passed:
            if graph.values[node] is not ABSENT and not graph.flags[node] & (PINNED | TRANSIENT):
                graph.values[node] = ABSENT
                graph.status[node] &= ~VALUE
        self._passed, self.passing = self.passing, []

    def committed(self) -> None:
        """All of it was written, but for the cycles that are half made."""
        self.nodes.clear()
        self.readers.clear()
        self.stamps.clear()
        self.queries.clear()
        self.cursors.clear()
        self.revisions.clear()
        self.earlier_gone.clear()
        self.state = False
        self.value_bytes = 0
        self.disk_full = False

    def clear(self) -> None:
        """Forget it: the lists are built anew from the store. That there were revisions is still written."""
        for kept in (self.nodes, self.ringed, self.readers, self.stamps, self.queries, self.earlier_gone):
            kept.clear()
        self.cursors.clear()
        self.passing.clear()
        self._passed.clear()
        self.value_bytes = 0

    def check_invariants(self) -> None:
        """Raise AssertionError where one does not hold. For tests, at rest."""
        assert self.nodes.keys().isdisjoint(self.ringed), "U2: a row of a cycle may be written too soon"
