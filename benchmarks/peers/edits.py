"""Edits: what happens to the repository between two builds, one scenario each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.mutations import Edit, Tree, applied, most_imported, mutate, write

ORDINARY = 0.25  # a quarter of all files is imported more often than an ordinary one
AMONG = 200  # files there are chosen from
COLD, RESTART = "cold build", "nothing changed"
EDITS = (
    "comment", "body", "signature", "hub comment", "hub signature", "new", "delete", "rename", "storm",
)  # fmt: skip
SCENARIOS = (COLD, RESTART, *EDITS)


class Repository:
    """The files on the disk, and what they are, so that edits can be made and taken back."""

    def __init__(self, root: Path, tree: Tree, seed: int = 1) -> None:
        self.root = root
        self.tree = dict(tree)
        self._chance = Random(seed)
        self._next: Edit | None = None
        ranked = most_imported(self.tree)
        self.hub = next(path for path in ranked if self._fits(path))
        middle = ranked[int(len(ranked) * ORDINARY) :][:AMONG]
        self._ordinary = [path for path in middle if self._fits(path)]

    def _fits(self, path: str) -> bool:
        return not path.endswith("__init__.py") and all(
            mutate(self.tree, kind, Random(1), path) is not None for kind in ("comment", "body", "signature")
        )

    def edit(self, name: str) -> Edit:
        """Make an edit, and write it."""
        self.prepare(name)
        return self.carry_out()

    def prepare(self, name: str) -> None:
        """Think of an edit."""
        kind = name.removeprefix("hub ")
        for _ in range(100):
            path = self.hub if name != kind else self._chance.choice(self._ordinary)
            self._next = mutate(self.tree, kind, self._chance, path) if path in self.tree else None
            if self._next is not None:
                return
        raise AssertionError(f"no place for an edit: {name}")

    def carry_out(self) -> Edit:
        """Write it."""
        assert self._next is not None
        write(self.root, self._next)
        self.tree = applied(self.tree, self._next)
        return self._next

    def edits(self) -> Iterator[tuple[str, Edit]]:
        """One of each; each is made when it is asked for."""
        for name in EDITS:
            yield name, self.edit(name)
