"""Definitions: the table of everything that the files of a project give a name to.

Invariants
    D1  A symbol is (path, qualified name, kind, ordinal), never a position: moving lines moves nothing here.
    D2  `symbol` is "path:qualified". A qualified name has no ":", so the last one divides the two.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from engine import query, table
from engine.rules.python.facts import Definition, facts
from engine.rules.python.project import project_files


@frozen(order=True)
class Symbol:
    """The identity of a definition. A module is a symbol too: qualified "", kind "module"."""

    path: str
    qualified: str
    kind: str
    ordinal: int = 0

    @property
    def text(self) -> str:
        """ "path:qualified", what the tables call `symbol`."""
        return f"{self.path}:{self.qualified}"

    @property
    def name(self) -> str:
        """The plain name."""
        return self.qualified.rpartition(".")[2]

    def __str__(self) -> str:
        return self.text if not self.ordinal else f"{self.text}#{self.ordinal}"


@frozen
class Defined:
    """A row of `definitions`.

    symbol      "path:qualified"; with `kind` and `ordinal` the identity
    name        the plain name
    public, decorators, bases, value   as in `facts.Definition`
    """

    symbol: str
    kind: str
    ordinal: int
    name: str
    public: bool
    decorators: tuple[str, ...] = field(default=())
    bases: tuple[str, ...] = field(default=())
    value: str = ""

    @property
    def identity(self) -> Symbol:
        """The symbol that is defined."""
        path, qualified = split(self.symbol)
        return Symbol(path, qualified, self.kind, self.ordinal)


def split(symbol: str) -> tuple[str, str]:
    """Path and qualified name of "path:qualified"."""
    path, _, qualified = symbol.rpartition(":")
    return path, qualified


@table(each=project_files.column("path"), index=("symbol", "name"), identity=("symbol", "kind", "ordinal"))
def definitions(path: str) -> Iterable[Defined]:
    """All definitions of the project. `definitions.where(name="greet")`, `definitions.starting(name="gr")`,
    `definitions.where(symbol="lib.py:Shape.area")`, `definitions.of("lib.py")`."""
    for one in facts(path).definitions:
        yield Defined(
            f"{path}:{one.qualified}",
            one.kind,
            one.ordinal,
            one.name,
            one.public,
            one.decorators,
            one.bases,
            one.value,
        )


@frozen
class Site:
    """A definition and the file it is in."""

    path: str
    definition: Definition


@query
def definitions_of(name: str) -> tuple[Site, ...]:
    """All definitions with a plain name, whatever it is a member of, sorted. () is an answer too."""
    return _sites(definitions.where(name=name))


@query
def definitions_starting(prefix: str) -> tuple[Site, ...]:
    """The same for all plain names that begin so."""
    return _sites(definitions.starting(name=prefix))


@query
def definitions_at(symbol: str) -> tuple[Site, ...]:
    """The definitions of a symbol "path:qualified": several where a name is defined more than once."""
    return _sites(definitions.where(symbol=symbol))


def _sites(rows: Iterable[Defined]) -> tuple[Site, ...]:
    found = []
    for row in rows:
        path, qualified = split(row.symbol)
        definition = Definition(
            row.name, qualified, row.kind, row.ordinal, row.decorators, row.bases, row.public, row.value
        )
        found.append((path, qualified, row.kind, row.ordinal, Site(path, definition)))
    return tuple(site for *_, site in sorted(found, key=lambda one: one[:4]))


@query
def names_in(path: str) -> tuple[str, ...]:
    """The plain names that a file defines, sorted. Equal however their definitions change."""
    return tuple(sorted({definition.name for definition in facts(path).definitions}))
