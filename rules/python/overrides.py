"""Overrides: what takes the place of a method or class attribute, and what it takes the place of.

Invariant
    O1  A definition takes the place of those that Python finds after it in the order of some class:
        of one above, and also of one beside it, where a subclass of both mixes it in.
"""

from __future__ import annotations

from attrs import frozen

from engine import query
from engine.rules.python.definitions import Symbol, definitions, split
from engine.rules.python.hierarchy import resolution_order, subclasses
from engine.rules.python.private import is_private

# Up to so many classes are asked for a name one by one. Beyond, all that the project defines under the name
# is read: a lookup is a node, and there would be one for each class and each method of a mixin they share.
# See test_one_more_class_beside_a_mixin_costs_the_same_however_many_methods_that_has.
FEW = 12


@frozen
class Override:
    """A definition that takes the place of another one. `over` is what it overrides."""

    definition: Symbol
    over: Symbol


@frozen
class Mixed:
    """What subclasses of a class inherit from besides, sorted.

    before, after  classes before it and after it in their orders, without the subclasses themselves and
                   what the class itself inherits from
    others         all that are not of the project, those with a name first, see `Order.others`
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    others: tuple[tuple[str, str], ...]


@query
def mixed(symbol: str) -> Mixed:
    """What subclasses of a class mix in."""
    own, below = resolution_order(symbol).classes, subclasses(symbol)
    before: set[str] = set()
    after: set[str] = set()
    others: set[tuple[str, str]] = set()
    for one in below:
        found = resolution_order(one)
        order = found.classes
        others.update(found.others)
        if symbol in order:  # not where a class inherits from itself, and the circle is cut before it
            at = order.index(symbol)
            before.update(order[:at])
            after.update(order[at + 1 :])
    return Mixed(
        tuple(sorted(before.difference(below))), tuple(sorted(after.difference(own))), tuple(sorted(others))
    )


@query
def overrides(symbol: str) -> tuple[Override, ...]:
    """What takes the place of a method or class attribute "path:C.name" in subclasses, sorted."""
    found = _classes(symbol)
    if found is None:
        return ()
    owner, name, over = found
    below = [Override(one, over) for one in _defined(name, (*subclasses(owner), *mixed(owner).before))]
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
    return tuple(Override(own, one) for one in _defined(name, places))


def _classes(symbol: str) -> tuple[str, str, Symbol] | None:
    """The class of a method or class attribute, its name there, and itself; None: nothing can override it."""
    path, qualified = split(symbol)
    owner, _, name = qualified.rpartition(".")
    own = _symbols(symbol)
    return (f"{path}:{owner}", name, own[0]) if owner and own and not is_private(name) else None


def _defined(name: str, places: tuple[str, ...]) -> list[Symbol]:
    """What classes themselves define under a name, in the order of the classes."""
    if len(places) <= FEW:
        return [one for place in places for one in _symbols(f"{place}.{name}")]
    found: dict[str, list[Symbol]] = {}
    for row in definitions.where(name=name):
        found.setdefault(row.symbol, []).append(row.identity)
    return [one for place in places for one in found.get(f"{place}.{name}", ())]


def _symbols(symbol: str) -> list[Symbol]:
    return [row.identity for row in definitions.where(symbol=symbol)]
