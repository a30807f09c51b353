"""Held: what attributes of instances hold, which may be what others hold, each found out once.

Invariants
    L1  What an attribute holds is the same in whatever order attributes are asked for: what was not found out
        to its end is not kept. See test_what_attributes_hold_does_not_depend_on_the_order_of_their_uses.
    L2  One that holds what it holds itself may hold anything.
    L3  Depth is data: where the way is long, its end is found out first, on a stack that is short.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.rules.python.meanings import Meanings

LONGEST_WAY = 20  # attributes on the stack at a time

Attribute = tuple[str, str]  # its symbol, and as which attribute of instances it was found, see `Meaning.of`


class _Far(Exception):
    """There are more than `LONGEST_WAY` attributes on the way to this one."""

    def __init__(self, attribute: Attribute) -> None:
        self.attribute = attribute


class Held:
    """`find` says what an attribute holds, and asks here what others hold; () where one says nothing."""

    def __init__(self, find: Callable[[str, str], Meanings]) -> None:
        self._find = find
        self._known: dict[Attribute, Meanings] = {}  # () while it is looked for (L2)
        self._open = 0

    def by(self, attribute: Attribute) -> Meanings:
        """What an attribute holds; () where that is not known."""
        if self._open:
            if attribute not in self._known and self._open == LONGEST_WAY:
                raise _Far(attribute)
            return self._found(attribute)
        waiting = [attribute]
        while True:
            try:
                found = self._found(waiting[-1])
            except _Far as far:
                if far.attribute in waiting:
                    self._known[far.attribute] = ()  # L2
                else:
                    waiting.append(far.attribute)
                continue
            waiting.pop()
            if not waiting:
                return found

    def _found(self, attribute: Attribute) -> Meanings:
        known = self._known.get(attribute)
        if known is not None:
            return known
        self._known[attribute] = ()
        self._open += 1
        try:
            found = self._known[attribute] = self._find(*attribute)
        except _Far:
            del self._known[attribute]
            raise
        finally:
            self._open -= 1
        return found
