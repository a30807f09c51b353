"""Roomy: a function whose frame brings a large piece of stack along, for all that it calls.

Python keeps frames in pieces of 16 KiB, asks the system for the next one when a call does not fit, and gives
it back when that call returns. A loop of calls just at the end of a piece does so at each turn, which costs
more than most calls (https://github.com/python/cpython/issues/142183; mended in late releases of 3.13 and
3.14, not in 3.11 and 3.12). Queries call each other through some ten frames each, so that sooner or later
such a loop stands there: half a million of these round trips were a quarter of the time to build the code
graph of 1,800 files.

A frame that does not fit into a piece gets one that is large enough, rounded up to a power of two, and what
is left of it is there for the frames above. So it is enough to say of one function that it needs much: of
what works on a large group. A request for little would take twice as long. See
test_no_loop_of_calls_in_a_large_group_asks_the_system_for_stack_at_any_depth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Final, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

# Values that its frame has room for. With the 1,000 that Python adds they are just more than 256 KiB, so the
# piece is of 512, and half of it is left: for some 1,000 frames. Memory that is not used is not taken.
ROOM: Final = 32 * 1024 - 900


def roomy(function: Callable[P, T]) -> Callable[P, T]:
    """The function with a frame of that size: 10 to 20 microseconds a call, for mapping and unmapping it."""
    assert isinstance(function, FunctionType)
    code = function.__code__.replace(co_stacksize=ROOM)
    found = FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    found.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(cast(Callable[P, T], found), function)
