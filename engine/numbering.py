"""Numbering: the index of each definition, by which every engine finds the table of its keys.

Invariant
    N1  The index of a definition that is gone is given to another one: what goes through all tables of an
        engine must not grow with every module that is loaded again. No two that are alive have the same.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Final

_indexes = itertools.count()
# Of definitions that are gone, unless a finalizer of the user, run after theirs, keeps one.
_given_back: Final[list[tuple[int, weakref.ref[Any]]]] = []


def next_index() -> int:
    """An index that no definition has."""
    try:
        index, of = _given_back.pop()
    except IndexError:
        return next(_indexes)
    if of() is None:
        return index
    _given_back.insert(0, (index, of))
    return next(_indexes)


def give_back(definition: Any) -> None:
    """It is about to go: no engine knows it (redefined R2), no wrapper and no key."""
    if hasattr(definition, "index"):  # else it was interrupted while it was made
        _given_back.append((definition.index, weakref.ref(definition)))
