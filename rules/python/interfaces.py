"""Interfaces: the table of what protocols and interfaces have.

Who takes the place of a method of theirs need not inherit from them: any class may that has one of the name.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from engine import query, table
from engine.rules.python.facts import facts
from engine.rules.python.hierarchy import Base, bases, resolution_order
from engine.rules.python.meanings import CLASS
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
    found = facts(path).definitions
    classes = dict.fromkeys(f"{path}:{one.qualified}" for one in found if one.kind == CLASS and one.bases)
    owners = {one for one in classes if any(map(_is_interface, bases.where(symbol=one)))}
    if owners:
        members = {f"{path}:{one.qualified}": one.name for one in found}
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
