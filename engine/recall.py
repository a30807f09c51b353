"""Recall: the value of a memo from memory or the store, in the form in which readers get it.

Invariants
    A1  What readers see is the same before and after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from engine.core import Core
from engine.failure import Failure
from engine.graph import ABSENT, ERROR, MARKED, MUTABLE, TRANSIENT, UNSTORED, VALUE
from engine.memory import OVERHEAD, PER_BYTE
from engine.query import QueryInfo
from engine.store.codec import DamagedValue

AT_ONCE: Final = 256  # values; more gain nothing
SHARE: Final = 8  # of the memory for values, what is read at once may take: what is in use has to stay


def recall(core: Core, node: int) -> Any:
    """The value of a node from memory or the store; ABSENT where neither has it. Never raises its error."""
    graph = core.graph
    held = graph.values[node]
    info = core.info_of(node)
    if held is not ABSENT or info is None:
        if graph.flags[node] & MUTABLE and held is not ABSENT and info is not None:
            return info.codec.decode(held)
        return held
    data = recall_bytes(core, node)
    return ABSENT if data is None else _take(core, node, info, data)


def value_before(core: Core, info: QueryInfo, node: int) -> Any:
    """The value of the memo, where the new one is compared with it by `eq`, or by `==` without bytes."""
    asks = info.eq is not None or not core.graph.fingerprint[node]
    if not asks or core.graph.flags[node] & (ERROR | TRANSIENT):
        return ABSENT
    try:
        return recall(core, node)
    except DamagedValue:  # a class of it has other fields by now: no value of now is like it
        return ABSENT


def recall_bytes(core: Core, node: int) -> bytes | None:
    """The bytes of the value of a node as the store has them, or gets them; None: it has none."""
    graph = core.graph
    if graph.flags[node] & UNSTORED or core.store is None:
        return None
    data = core.unsaved.nodes.get(node)
    if not isinstance(data, bytes):
        data = core.store.value(node, graph.fingerprint[node])
        core.tally.loaded += data is not None
    return data


def recall_all(core: Core, nodes: Iterable[int]) -> bool:
    """Bring the values of nodes that hold into memory, where the store has them: at once, not one by one.

    No more than a part of what memory may hold: else the first would be gone again before they are read.
    False: that was too little for them all.
    """
    graph, store = core.graph, core.store
    if store is None:
        return True
    missing = {
        node: graph.fingerprint[node]
        for node in nodes
        if graph.values[node] is ABSENT
        and not graph.flags[node] & UNSTORED
        and not graph.status[node] & MARKED
        and core.info_of(node) is not None
        and node not in core.unsaved.nodes
    }
    if not missing:
        return True
    room = None if core.memory is None else core.memory.limit // SHARE
    for node, data in store.values_of(missing).items():
        if room is not None:
            room -= OVERHEAD + PER_BYTE * len(data)
            if room < 0:
                return False
        info = core.definition_of(node)
        core.tally.loaded += 1
        try:
            _take(core, node, info, data)
        except DamagedValue:  # a class of it is not loaded here, say: that concerns who reads it, if anybody
            continue
    return True


def recall_group(core: Core, nodes: Sequence[int]) -> Iterator[int]:
    """The nodes, each with its value at hand when it comes, as far as the store has it."""
    start, size = 0, AT_ONCE
    while start < len(nodes):
        piece = nodes[start : start + size]
        if size > 1 and not recall_all(core, piece):
            size //= 2
            continue
        yield from piece
        start += size


def may_be_stored(core: Core) -> bool:
    """Whether there can be values that are in the store and not in memory."""
    return bool(core.queries.stored) or (core.memory is not None and core.memory.evicted > 0)


def _take(core: Core, node: int, info: QueryInfo, data: bytes) -> Any:
    """Hold the value that these bytes are of, and return it as readers get it; ABSENT: it cannot be made."""
    graph = core.graph
    if graph.flags[node] & ERROR:
        failure = Failure.restored(data)
        if failure is not None:
            graph.values[node] = failure
        return ABSENT if failure is None else failure
    value = info.codec.decode(data)
    if info.codec.shareable:
        graph.values[node] = value
        graph.status[node] |= VALUE
    else:
        graph.flags[node] |= MUTABLE
        graph.values[node] = data
    if core.memory is not None:
        core.memory.loaded(core, node, data)
    return value
