"""Choose: from the members of a group to the keys that certainly have to run, and which of them go elsewhere.

Invariants
    H1  Only what in-order verification would run is chosen: what has no memo or is forced, and what read
        something that changed, with nothing doubtful read before it, unless an earlier memo holds again.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import engine.restore as restore
from engine.core import Core
from engine.errors import NotImportable
from engine.graph import FORCED, GROUP, MARKED, PINNED, RUNNING, SUSPECT, TRANSIENT
from engine.persist import load
from engine.query import QueryInfo
from engine.script import module_name
from engine.verify import is_undefined

WORTH_US: Final = 150  # what one has to cost: sending it and taking its memos over costs some 60 us
AT_LEAST: Final = 8  # keys, where nobody said that they are to run in a process
START_US: Final = 500_000  # work that pays for starting processes, 0.2 s each on a busy machine
OF_THE_SCRIPT: Final = (
    "queries that are defined in the script itself run in its process: workers import them from a module"
)
INLINE, THREAD, PROCESS, AUTO = "inline", "thread", "process", "auto"


def next_of(core: Core, node: int) -> int:
    """The key that verification of `node` would run next, itself or one below; 0: it would run none.

    Negative: one of which it would put an earlier memo back. The marks are complete. Depth is data.
    """
    graph = core.graph
    status = graph.status
    entered: set[int] = set()
    while status[node] & MARKED and not status[node] & RUNNING and node not in core.collections:
        load(core, (node,))
        if node in entered or graph.flags[node] & PINNED:
            return 0
        if status[node] & FORCED:
            waits = core.care.reopened and graph.verified_at[node]  # for a revision, see `advance.renew`
            return 0 if waits or is_undefined(core, node) else node
        quiet = (
            not core.care.reopened and core.last_changed[graph.durability[node]] <= graph.verified_at[node]
        )
        if quiet and not status[node] & SUSPECT:
            return 0
        entered.add(node)
        below = _decisive(core, node)
        if below and not status[below] & MARKED:
            below = restore.next_wanted(core, node, below)
            if not below:
                return -node
        if below in (0, node):
            return 0 if below and is_undefined(core, node) else below
        node = below
    return 0


def must_run(core: Core, node: int) -> bool:
    """Whether in-order verification of a marked node would run it at once."""
    return next_of(core, node) == node


def _decisive(core: Core, node: int) -> int:
    """The first thing that a memo read and that is doubtful, or changed."""
    graph = core.graph
    verified_at = graph.verified_at[node]
    dependencies = graph.below(node)
    load(core, dependencies)
    for read in dependencies:
        if read & GROUP:
            continue
        if graph.status[read] & MARKED:
            return read
        changed = graph.changed_at[read] > verified_at or graph.flags[read] & TRANSIENT
        if changed and read not in core.collections:
            return read
    return 0


def is_sendable(core: Core, node: int, info: QueryInfo | None) -> bool:
    """Whether the query of a node can run elsewhere, and its author does not say otherwise.

    Raises `NotImportable` where the author says that it has to.
    """
    if info is None or info.is_input or info.untracked or info.quiet or info.workers in (INLINE, THREAD):
        return False
    if info.collection is not None and info is not info.collection.member:
        return False
    if info.many is not None and info.workers != PROCESS:
        return False  # many keys at once here are better than some of them there, unless its author knows
    if info.eq is not None and core.graph.verified_at[node]:
        return False  # it compares values: with the old one, which is here
    if is_importable(info):
        return True
    if info.workers == PROCESS:
        raise NotImportable(
            query=info.name,
            cause="a worker process cannot import it",
            hint='Define it at the top of a module with a file of its own, or say workers="inline".',
        )
    if info.function.__module__ == "__main__":
        core.telling.note(OF_THE_SCRIPT, once=OF_THE_SCRIPT)
    return False


def is_importable(info: QueryInfo) -> bool:
    """Whether another interpreter finds a query by importing its module."""
    function = info.function
    module: Any = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    named = module_name(function.__module__) == function.__module__  # not `__main__`
    return named and str(file).endswith((".py", ".pyc")) and "<locals>" not in function.__qualname__
