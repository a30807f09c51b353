"""Lost: keys that no worker can compute. They fail, as if their functions had raised that error here."""

from __future__ import annotations

from engine.core import Core
from engine.graph import MARKED
from engine.outcome import Outcome


class Lost:
    """The keys of one engine that are given up, in one generation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._generation = -1
        self._errors: dict[int, Exception] = {}  # by node, until they are told

    def __contains__(self, node: int) -> bool:
        return node in self._errors

    def start(self) -> None:
        """A new generation."""
        self._generation = self._core.generation
        self._errors.clear()
        self._core.supply = None

    def give_up(self, node: int, error: Exception) -> None:
        """Let a key fail."""
        if self._core.graph.status[node] & MARKED:
            self._errors[node] = error
            self._core.supply = self._tell

    def _tell(self, node: int) -> Outcome | None:
        """Stands in for the functions of keys that are given up."""
        error = self._errors.pop(node, None) if self._generation == self._core.generation else None
        if error is not None:
            raise error
        return None
