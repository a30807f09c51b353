"""Pending: the units that no worker has yet, and which of them make the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from engine.core import Core
from engine.query import QueryInfo

BATCH_SECONDS: Final = 0.05  # how long a batch should take: much longer than the 0.2 ms of its way
LARGEST: Final = 256  # units in a batch, so that the last one does not keep all others waiting


class Pending:
    """Units in the order in which they are sent. The lock is held."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._queue: deque[int] = deque()
        self._size = 1  # units of the next batch
        self.retried: set[int] = set()  # nodes whose worker was lost, in this generation

    def __len__(self) -> int:
        return len(self._queue)

    def start(self) -> None:
        """A new generation."""
        self.retried.clear()

    def add(self, units: Iterable[int]) -> None:
        """These wait too."""
        self._queue.extend(units)

    def clear(self) -> None:
        """Nobody wants them any more."""
        self._queue.clear()

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Leave out those that are not wanted now."""
        self._queue = deque([node for node in self._queue if wanted(node)])

    def took(self, units: int, seconds: float) -> None:
        """A batch of so many took so long: the next ones are sized by it."""
        if seconds:
            self._size = max(1, min(LARGEST, int(units * BATCH_SECONDS / seconds)))

    def is_alone(self, node: int) -> bool:
        """Whether a unit travels alone, or with others of its query where that takes many keys: it is timed,
        counted by slots, or lost its worker once."""
        info = self._core.definition_of(node)
        timed = info.timeout is not None or info.limit is not None
        return timed or info.many is not None or node in self.retried

    def is_plenty(self, slots: int, ahead: int) -> bool:
        """Whether each of so many slots can be given so many batches more."""
        return len(self._queue) > slots * self._size * ahead

    def next_batch(self, slots: int, idle: int, *, ahead: bool) -> list[int]:
        """The units of a batch for one of so many slots. Those that travel alone go to an idle one."""
        found: list[int] = []
        most = min(self._size, -(-len(self._queue) // slots))
        for _ in range(len(self._queue)):
            node = self._queue.popleft()
            info = self._core.definition_of(node)
            alone = self.is_alone(node)
            if ((found or ahead) and alone) or not self._core.limits.has_room(info.limit):
                self._queue.append(node)  # its turn comes
                continue
            if info.many is not None and node not in self.retried:
                return self._together(node, info, idle)
            found.append(node)
            if alone or len(found) == most:
                break
        return found

    def _together(self, node: int, info: QueryInfo, idle: int) -> list[int]:
        """A unit with others of its query, which takes many keys: a fair share of all, not what is quick."""
        query = self._core.graph.query
        same = [one for one in self._queue if query[one] == query[node] and one not in self.retried]
        found = [node, *same[: min(info.batch, -(-(len(same) + 1) // max(idle, 1))) - 1]]
        taken = frozenset(found)
        self._queue = deque([one for one in self._queue if one not in taken])
        return found
