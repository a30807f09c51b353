"""Cached: helpers that `functools.cache` keeps although they read through queries.

Who asks such a helper second gets what it kept and has read nothing, so an edit passes its readers by. While
a query runs nobody can see that, as the cache is written in C; but all code that a query reaches is read for
its fingerprint, and there the helper is met.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any, Final

from engine.code.given import held_by, home_of, inside, named_in, query_name
from engine.code.names import as_imported
from engine.code.origin import origin
from engine.code.reach import facts_of

MOST: Final = 2_000  # objects looked at of one helper: 20 ms, at each start


def hidden_reads(helpers: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """The name of each such helper, and of the first query that it reads through."""
    for helper in helpers:
        try:
            read = _read_by(helper)
        except Exception:  # whatever the objects of the user raise: no reason to answer nobody
            continue
        if read is not None:
            # what is kept of a partial, or of an object that can be called, has no name of its own
            name = getattr(helper, "__qualname__", None) or type(helper.__wrapped__).__qualname__
            yield as_imported(f"{helper.__module__}:{name}"), read


def _read_by(helper: Any) -> str | None:
    waiting, met = deque[Any]([helper.__wrapped__]), dict[int, object]()
    while waiting and len(met) < MOST:
        found = waiting.popleft()
        if id(found) in met:
            continue
        met[id(found)] = found
        name = query_name(found)
        if name is not None:
            return name
        if isinstance(found, FunctionType):
            if origin(home_of(found)) == "project":
                chains = facts_of(found.__code__).names
                # to name a key is not to read it
                waiting += (named_in(found.__globals__, chain) for chain in chains if chain[-1] != "key")
                waiting += held_by(found)
        elif not isinstance(found, type):
            waiting += (*inside(found), type(found))
        elif origin(found.__module__) == "project":
            waiting += vars(found).values()
    return None
