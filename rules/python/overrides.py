"""Overrides: what takes the place of a method or class attribute, and what it takes the place of.

Invariant
    O1  A definition takes the place of those that Python finds after it in the order of some class:
        of one above, and also of one beside it, where a subclass of both mixes it in.
"""

from __future__ import annotations

from attrs import frozen

from engine import query
from engine.rules.python.definitions import Symbol, definitions, split
from engine.rules.python.hierarchy import is_private, resolution_order, subclasses


@frozen
class Override:
    """A definition that takes the place of another one. `over` is what it overrides."""

    definition: Symbol
    over: Symbol


@frozen
class Mixed:
    """The classes that subclasses of a class inherit from besides, sorted: before it and after it in their
    orders, without the subclasses themselves and what the class itself inherits from."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@query
def mixed(symbol: str) -> Mixed:
    """What subclasses of a class mix in."""
    own, below = resolution_order(symbol).classes, subclasses(symbol)
    before: set[str] = set()
    after: set[str] = set()
    for one in below:
        order = resolution_order(one).classes
        if symbol in order:  # not where a class inherits from itself, and the circle is cut before it
            at = order.index(symbol)
            before.update(order[:at])
            after.update(order[at + 1 :])
    return Mixed(tuple(sorted(before.difference(below))), tuple(sorted(after.difference(own))))


@query
def overrides(symbol: str) -> tuple[Override, ...]:
    """What takes the place of a method or class attribute "path:C.name" in subclasses, sorted."""
    found = _classes(symbol)
    if found is None:
        return ()
    owner, name, over = found
    places = (*subclasses(owner), *mixed(owner).before)
    below = [Override(one, over) for place in places for one in _symbols(f"{place}.{name}")]
    return tuple(sorted(below, key=lambda one: one.definition))


@query
def overridden(symbol: str) -> tuple[Override, ...]:
    """What a method or class attribute "path:C.name" takes the place of, nearest first.

    What is above it comes first, then what subclasses mix in.
    """
    found = _classes(symbol)
    if found is None:
        return ()
    owner, name, own = found
    places = (*resolution_order(owner).classes[1:], *mixed(owner).after)
    return tuple(Override(own, one) for place in places for one in _symbols(f"{place}.{name}"))


def _classes(symbol: str) -> tuple[str, str, Symbol] | None:
    """The class of a method or class attribute, its name there, and itself; None: nothing can override it."""
    path, qualified = split(symbol)
    owner, _, name = qualified.rpartition(".")
    own = _symbols(symbol)
    return (f"{path}:{owner}", name, own[0]) if owner and own and not is_private(name) else None


def _symbols(symbol: str) -> list[Symbol]:
    return [row.identity for row in definitions.where(symbol=symbol)]
