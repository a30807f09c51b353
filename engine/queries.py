"""Queries: the queries that one engine knows, by their rows in the store.

Invariants
    Q1  Rows are dense from 1, and a name keeps its row. The lists by row are equally long; row 0 is nobody's.
    Q2  A row in `checked` has the code of its definition of now compared with the stored one, and so have all
        that it called.
    Q3  A definition whose module is being loaded is `unfinished`, and compared again after that (loading L1).
    Q4  `calls` of a row has every query that one of its nodes read. It may have more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.loading import is_loading, modules_that_load
from engine.query import REGISTRY, TAKEN_OVER, QueryInfo
from engine.store.canonical import renew


class Queries:
    """What an engine knows of each query: its name, definition, code, and the queries that it calls."""

    __slots__ = (
        "_waits_for", "bound", "by_index", "by_name", "calls", "checked", "codes", "comparisons", "doubted",
        "names", "of_members", "stored", "taken_over", "takes_many", "unfinished",
    )  # fmt: skip

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.by_index: dict[int, int] = {}  # by the index of a definition that was bound
        # by row
        self.names: list[str] = [""]
        self.bound: list[QueryInfo | None] = [None]  # definitions; None: no loaded module has one
        self.codes: list[bytes] = [b""]  # fingerprints
        self.calls: list[set[int]] = [set()]
        self.of_members: dict[int, set[int]] = {}  # of a member's query: the collections' own queries
        self.stored: set[int] = set()  # have nodes in the store since it was opened
        self.checked: set[int] = set()  # their code was compared in this process
        self.doubted: dict[int, list[int]] = {}  # the nodes that are forced since nobody defines their query
        self.taken_over = len(TAKEN_OVER)  # redefinitions that were seen: those of before are no news here,
        if TAKEN_OVER:  # but their classes may be
            renew()
        self.unfinished: set[str] = set()  # names
        self._waits_for: frozenset[str] | None = None  # modules: while these load, none of those is finished
        self.comparisons = 0  # how often what was defined again was compared
        self.takes_many = False  # whether a query with `batch=` is bound

    def add(self, name: str, code: bytes, calls: set[int]) -> int:
        """Give a name the next row."""
        row = self.by_name[name] = len(self.bound)
        self.names.append(name)
        self.bound.append(None)
        self.codes.append(code)
        self.calls.append(calls)
        return row

    def rows(self, names: Iterable[str]) -> set[int]:
        """The rows of names, of those that have one."""
        return {self.by_name[name] for name in names if name in self.by_name}

    def called_by(self, row: int) -> set[int]:
        """The queries that have to be compared with a query, since its answers rest on them."""
        return self.calls[row] | self.of_members.get(row, set())

    @property
    def are_newest(self) -> bool:
        """Whether `redefined` has nothing to tell. Quick, too, where a module that loads is the program."""
        return self.taken_over == len(TAKEN_OVER) and (
            not self.unfinished or modules_that_load() == self._waits_for
        )

    def can_compare(self) -> bool:
        """Whether a definition is unfinished whose module is loaded by now."""
        if not self.unfinished or (modules := modules_that_load()) == self._waits_for:
            return False
        return not all(is_loading(REGISTRY[name], modules) for name in self.unfinished)

    def leave_unfinished(self, name: str) -> None:
        """Note a name whose definition is to be compared once more when its module is loaded."""
        self._waits_for = None
        self.unfinished.add(name)

    def redefined(self) -> Iterator[str]:
        """The names that were defined again since all of these were taken last, and can be compared now."""
        end = len(TAKEN_OVER)
        names = dict.fromkeys([*self.unfinished, *TAKEN_OVER[self.taken_over : end]])
        modules = modules_that_load()
        loaded = [name for name in names if not is_loading(REGISTRY[name], modules)]
        if loaded:
            renew()  # what no annotation names is made of the classes of now, too
        self.unfinished.update(names)
        self._waits_for = None if loaded else modules
        yield from loaded
        self.unfinished.difference_update(loaded)
        self.comparisons += bool(loaded)
        self.taken_over = max(self.taken_over, end)  # last: who is interrupted goes through them again

    def clear(self) -> None:
        """Forget all that the store knows, or will not know."""
        for by_row in (self.names, self.bound, self.codes, self.calls):
            del by_row[1:]
        for kept in (self.by_name, self.by_index, self.of_members, self.stored, self.checked, self.doubted):
            kept.clear()
        self.unfinished.clear()

    def check_invariants(self) -> None:
        """Raise AssertionError where one does not hold. For tests, at rest."""
        for by_row in (self.bound, self.codes, self.calls):
            assert len(by_row) == len(self.names), "Q1: the lists by row differ in length"
        for name, row in self.by_name.items():
            assert self.names[row] == name, f"Q1: row {row} is not that of {name}"
        for index, row in self.by_index.items():
            info = self.bound[row]
            assert info is not None, f"Q1: row {row} lost its definition"
            assert info.index == index, f"Q1: row {row} has another definition"
        for row in self.checked:
            assert row < len(self.names), f"Q2: there is no row {row}"
