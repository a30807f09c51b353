"""A code graph that is edited: an engine over a generated repository, beside what a new one says of it.

Invariants
    H1  After `edit`, everything was asked once more, what ran had to run (`necessity.py`), and asking again
        runs nothing.
    H2  `check` compares every table and every answer with those of an engine that starts from empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.mutations import Edit, applied, write
from benchmarks.questions import TABLES, digests
from benchmarks.repository import plant
from engine import Engine, Table
from engine.tables.kept_table import KeptTable
from tests.necessity import Necessity

Tree = Mapping[str, str]


class Graph:
    """A project in a directory, its tree as it should lie there, and an engine that keeps up with it.

    `questions` is what it is asked after each edit; default: all tables, and nothing of them. Without a
    `history`, so that what runs for an edit runs for it whatever was before.
    """

    def __init__(
        self,
        place: Path,
        tree: Tree,
        *,
        questions: Callable[[Engine], dict[str, object]] = digests,
        stored: bool = True,
        history: int = 0,
    ) -> None:
        self.root = place / "project"
        self.store = place / "store" if stored else None
        self.history = history
        self.tree = dict(tree)
        self.questions = questions
        self.necessity: Necessity | None = None
        self.root.mkdir()
        plant(self.root, tree.items())
        self.open()

    def open(self) -> None:
        self.db = Engine(self.store, root=self.root, history=self.history)
        self.necessity = Necessity(self.db, self.necessity)

    def reopen(self) -> None:
        self.db.close()
        self.open()

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def edit(self, edit: Edit) -> list[str]:
        """Do it, ask everything; the keys that ran, sorted, without their modules."""
        self.tree = applied(self.tree, edit)
        write(self.root, edit)
        self.db.sync()
        return self.ask()

    def write(self, changes: Mapping[str, str | None], kind: str = "by hand") -> list[str]:
        """The same with texts by path, None for one that goes."""
        return self.edit(Edit(kind, next(iter(changes)), tuple(changes.items())))

    def ask(self) -> list[str]:
        """Ask everything; what ran (H1)."""
        assert self.necessity is not None
        self.said = self.questions(self.db)
        ran = self.necessity.check()
        assert self.questions(self.db) == self.said
        assert self.necessity.check() == []
        return sorted(name.partition(":")[2] for name in ran)

    def check(self) -> None:
        """Compare with an engine that starts from empty (H2)."""
        with Engine(None, root=self.root) as fresh:
            right = self.questions(fresh)
            wrong = {
                name: (self.said[name], value) for name, value in right.items() if self.said[name] != value
            }
            assert not wrong, "\n".join(
                f"{name}: {kept}\nfrom scratch: {new}" for name, (kept, new) in wrong.items()
            )
            for name, table in TABLES.items():
                assert rows(self.db, table) == rows(fresh, table), f"rows of {name}"
        on_disk = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        assert on_disk == self.tree.keys()
        self.db.check_invariants()


def rows(db: Engine, table: Table[Any, Any]) -> list[object]:
    """All rows of a table as they are kept, without a lookup that would be a node from then on."""
    name = table.__collection__.name
    with db._core.lock:
        one = next(one for one in db._core.collections.values() if one.name == name)
        assert isinstance(one, KeptTable)
        return list(one.all_rows())


def own(path: str, *names: str) -> list[str]:
    """Queries of one file, as `Graph.edit` tells them: `own(path, "parse", "facts")`."""
    return sorted(f"{name}({path!r})" for name in names)


def of_query(ran: list[str], name: str) -> set[str]:
    """The paths for which a query of one file ran."""
    return {one[len(name) + 2 : -2] for one in ran if one.startswith(f"{name}('")}
