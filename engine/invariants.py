"""Invariants: what the modules of the core state of their data, compared with it. For tests, at rest.

Not here: what costs more to check than to look at once (`audit`, `verification`), and the rows of the store
(`Store.check_invariants`).
"""

from __future__ import annotations

from engine.core import Core
from engine.graph import LOADED, MARKED, REACH, entries


def check_invariants(core: Core) -> None:
    """Raise AssertionError where one does not hold. The lock is held, and nothing runs."""
    assert not core.torn, "core C3: a change is half done"
    core.claims.check_invariants()
    assert core.limits.is_free, "limits N4: a place is taken, and nothing runs"
    core.queries.check_invariants()
    core.unsaved.check_invariants()
    core.care.check_invariants(core.graph)
    core.graph.check_invariants(cyclic=any(one.cyclic for one in core.collections.values()))
    _check_keys(core)
    _check_reach(core)
    if core.memory is not None:
        core.memory.check_invariants()
    if core.history is not None:
        core.history.check_invariants()
    for one in core.collections.values():
        if not core.graph.frontier and one.looked and one.is_doubtful:
            assert one.bit & core.reach.doubtful, f"collect S1: nobody waits for {one.name}, which is marked"
        one.check_invariants()


def _check_keys(core: Core) -> None:
    for index, table in enumerate(core.graph.tables):
        if table:
            assert len(set(table.values())) == len(table), "locate L1: a node stands for two keys"
            assert index in core.queries.by_index, "redefined R2: nobody has the table of these keys"


def _check_reach(core: Core) -> None:
    graph = core.graph
    for node in range(1, len(graph)):
        if not graph.status[node] & LOADED:
            continue
        reach = graph.flags[node] & REACH
        known = core.reach.of_query.get(graph.query[node], 0)
        assert not reach & ~known, f"reach R1: {node} rests on more than its query"
        if graph.status[node] & MARKED or not graph.verified_at[node] or node in core.collections:
            continue
        for read in entries(graph.below(node)):
            one = core.collections.get(read)
            below = (graph.flags[read] & REACH) if one is None else one.bit
            loaded = graph.status[read] & LOADED
            assert not loaded or not below & ~reach, f"collect S2: {node} does not rest on what {read} does"
