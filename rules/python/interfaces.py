"""Interfaces: the table of what protocols and interfaces have.

Who takes the place of a method of theirs need not inherit from them: any class may that has one of the name.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from engine import query, table
from engine.rules.python.facts import facts
from engine.rules.python.hierarchy import Base, bases, resolution_order
from engine.rules.python.project import project_files

INTERFACES = frozenset(["typing.Protocol", "typing_extensions.Protocol", "zope.interface.Interface"])


@frozen
class Promise:
    """A method or attribute "path:C.name" that a protocol or interface has, and its plain name."""

    symbol: str
    name: str


@table(each=project_files.column("path"), index=("name",), identity=("symbol",))
def promises(path: str) -> Iterable[Promise]:
    """What protocols and interfaces have. `promises.where(name="close")`."""
    # Not `bases(path)`: that is kept as rows alone, and would run again to be read here.
    owners = {row.symbol for row in bases.starting(symbol=f"{path}:") if _is_interface(row)}
    if owners:
        members = {f"{path}:{one.qualified}": one.name for one in facts(path).definitions}
        for symbol, name in members.items():
            if symbol.rpartition(".")[0] in owners:
                yield Promise(symbol, name)


def _is_interface(row: Base) -> bool:
    """Whether this base makes one of its class. What inherits from a protocol is none unless it says so."""
    return row.detail in INTERFACES if row.base is None else _inherits_one(row.base)


@query
def _inherits_one(symbol: str) -> bool:
    """Whether a class inherits from one of these. A query of its own: most changes of orders are others."""
    return any(detail in INTERFACES for _, detail in resolution_order(symbol).others)
