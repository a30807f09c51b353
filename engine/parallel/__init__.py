"""Parallel: work of one engine that other processes do. See docs/parallel.md."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.core import Core
    from engine.parallel.dispatch import Dispatch
    from engine.parallel.executor import Executor


def for_engine(core: Core, processes: int | str, executor: Executor | None) -> Dispatch | None:
    """Let an executor work for an engine, or up to so many processes. None is started before it pays."""
    from engine.parallel.dispatch import Dispatch

    count = cores() if isinstance(processes, str) else processes
    if executor is None and not count:
        return None

    def opened() -> Executor:
        from engine.parallel.guarded import Guarded
        from engine.parallel.processes import Processes
        from engine.parallel.units import Setup, encode

        made: Executor = Processes(count) if executor is None else Guarded(executor)
        made.open(encode(Setup(os.fsencode(core.root), core.depth_limit, core.limits.names)))
        return made

    # An executor of the host is open for one engine: what is computed beside that one is computed here.
    return Dispatch(
        core, opened, partial(for_engine, processes=count, executor=None) if executor is None else None
    )


def cores() -> int:
    """How many processes can run at the same time; 0 where that is one: then others would not help."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable if usable > 1 else 0
