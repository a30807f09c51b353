"""Asked: what counts only where some code asks for it: docstrings, annotations, the classes below one.

Who asks need not name what it asks about: a report on all rules in a list reads `rule.__doc__`. So where any
code that a walk meets does so, that counts of everything that the walk meets.

Invariants
    A1  What nobody asks for leaves no part, and nothing of it is looked at.
    A2  A class whose name another one took is no subclass of anything: `attrs` makes a second class where
        there are slots, and the first is there until garbage is collected.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING

from engine.code.given import home_of
from engine.code.origin import Source
from engine.code.reach import facts_of, packed
from engine.code.value import peek

if TYPE_CHECKING:
    from engine.code.walk import Walk


def answer(walk: Walk) -> None:
    """Add what some code of those that were met asked for, of all of them."""
    asked = {name for name, kind, _ in walk.parts.values() if kind == "asks"}
    walk.asked = []  # of no part that others share
    for label, known in tuple(walk.met):
        if "docs" in asked:
            code = facts_of(known.__code__).docs if isinstance(known, FunctionType) else b""
            text = known.docs if isinstance(known, Source) else walk.value(peek(known, "__doc__"))
            walk.add("docs", label, packed(b"docs", (code, text)))
        if "notes" in asked and isinstance(known, FunctionType):
            walk.where, annotate = home_of(known), peek(known, "__annotate__")  # of 3.14
            code = facts_of(annotate.__code__).digest if isinstance(annotate, FunctionType) else b""
            walk.add("notes", label, packed(b"notes", (code, walk.value(peek(known, "__annotations__")))))
        if "subclasses" in asked and isinstance(known, type):
            subclasses: list[type] = type.__subclasses__(known)
            below = [one for one in subclasses if not is_replaced(one)]
            walk.add("subclasses", label, packed(b"below", map(walk.value, below)))


def is_replaced(cls: type) -> bool:
    """Whether its module has another class by its name (A2)."""
    found: object = sys.modules.get(cls.__module__)
    for step in cls.__qualname__.split("."):
        found = peek(found, step)
    names = cls.__module__, cls.__qualname__
    return found is not cls and isinstance(found, type) and (found.__module__, found.__qualname__) == names
