"""A code graph that is edited: an engine over a generated repository, beside what a new one says of it.

Invariants
    H1  After `edit`, everything was asked once more, what ran had to run (`necessity.py`), and asking again
        runs nothing.
    H2  `check` compares every table and every answer with those of an engine that starts from empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.mutations import Edit, applied, write
from benchmarks.questions import TABLES, answers
from benchmarks.repository import plant
from engine import Engine
from tests.necessity import Necessity

Tree = Mapping[str, str]

MODULES = {
    "parse_error": "parse", "import_targets": "imports", "imported_files": "imports", "bases": "hierarchy",
    "verdicts": "dead", "file_summary": "graph",
}  # fmt: skip


class Graph:
    """A project in a directory, its tree as it should lie there, and an engine that keeps up with it."""

    def __init__(
        self,
        place: Path,
        tree: Tree,
        *,
        paths: Iterable[str] = (),
        symbols: Iterable[str] = (),
        stored: bool = True,
    ) -> None:
        self.root = place / "project"
        self.store = place / "store" if stored else None
        self.tree = dict(tree)
        self.paths, self.symbols = list(paths), list(symbols)
        self.necessity: Necessity | None = None
        self.root.mkdir()
        plant(self.root, tree.items())
        self.open()

    def open(self) -> None:
        self.db = Engine(self.store, root=self.root)
        self.necessity = Necessity(self.db, self.necessity)

    def reopen(self) -> None:
        self.db.close()
        self.open()

    def close(self) -> None:
        self.db.close()

    def edit(self, edit: Edit) -> list[str]:
        """Do it, ask everything; the keys that ran, as display names, sorted."""
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
        self.said = answers(self.db, self.paths, self.symbols)
        ran = self.necessity.check()
        assert answers(self.db, self.paths, self.symbols) == self.said
        assert self.necessity.check() == []
        return ran

    def check(self) -> None:
        """Compare with an engine that starts from empty (H2)."""
        with Engine(None, root=self.root) as fresh:
            right = answers(fresh, self.paths, self.symbols)
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


def rows(db: Engine, table: object) -> list[object]:
    """All rows of a table as they are kept, without a lookup that would be a node from then on."""
    name = table.__collection__.name  # type: ignore[attr-defined]
    with db._core.lock:
        one = next(one for one in db._core.collections.values() if one.name == name)
        return list(one.all_rows())  # type: ignore[attr-defined]


def own(path: str, *names: str) -> list[str]:
    """Display names of queries of one file: `own(path, "parse", "facts")`."""
    return sorted(f"engine.rules.python.{MODULES.get(name, name)}:{name}({path!r})" for name in names)
