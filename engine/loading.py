"""Loading: whose definitions cannot be relied on yet, since the modules they are in are being loaded.

Invariant
    L1  Where somebody asks for a definition while its module is loaded, it is compared with what is kept once
        more after that: what comes later in the module, like a function that it calls, is still of before.
        No request is answered before, also one that began earlier: its own queries may import the module.
"""

from __future__ import annotations

import gc
import sys
from types import FrameType

from engine.query import QueryInfo


def is_loading(info: QueryInfo, modules: frozenset[str]) -> bool:
    """Whether a definition, or what makes the values of a fold, is in one of the modules that are loading."""
    return bool(modules) and any(getattr(one, "__module__", "") in modules for one in info.made_by())


def modules_that_load() -> frozenset[str]:
    """The names of modules whose bodies run now, in any thread."""
    found: set[str] = set()
    waiting = _innermost()
    while waiting:  # in the end no variable holds one: ours would be garbage that holds its callers
        frame: FrameType | None = waiting.pop()
        while frame is not None:
            if frame.f_code.co_name == "<module>":
                found.add(frame.f_globals.get("__name__", ""))
            frame = frame.f_back
    return frozenset(found - {"__main__"})  # a program: its body runs as long as it does


def _innermost() -> list[FrameType]:
    """The innermost frame of each thread.

    Python 3.11 has its list of threads locked meanwhile, and waits for ever where garbage is collected then
    that needs it, like a `threading.local` (gh-106883). See test_garbage_of_threads_holds_nobody_up.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return list(sys._current_frames().values())
    finally:
        if collects:
            gc.enable()
