"""Redefined: what is kept of a query whose definition is another one by now.

Its nodes go on under the newer one; what was stored or set for the older one may be of another kind or type.

Invariants
    R1  An error leaves the older definition bound to the whole of its nodes: it begins again from there.
    R2  A table that is not empty is that of the definition which its query is bound to: others may get the
        index of one that is gone (numbering N1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from engine.advance import Change, apply, change_of
from engine.core import Core
from engine.durability import Durability
from engine.failure import Failure
from engine.graph import ABSENT, FORCED, INPUT, KIND, MUTABLE, PINNED, UNSTORED, VALUE, kind_of
from engine.mark import suspect
from engine.message import EngineError
from engine.persist import KEEP, load, save, save_made
from engine.query import QueryInfo
from engine.reason import Reason
from engine.recall import recall
from engine.store.codec import DamagedValue


def take_over(core: Core, before: QueryInfo, info: QueryInfo) -> None:
    """A newer definition of the same name serves the nodes of the older one."""
    bound, row = core.queries.bound, core.queries.by_name[info.name]
    old, new = core.graph.tables[before.index], core.graph.tables[info.index]
    bound[row] = info
    try:
        for node in old.values():
            try:
                key = info.memo_key(core.args_of(node))
            except LookupError:  # a class of its arguments has other fields by now: nobody can ask for it
                key = (ABSENT, node)
            new[key] = node
        _renew_values(core, before, info)  # of other code too: what the host set stays, and `eq` compares
    except BaseException:  # of a class of the user, say (R1)
        bound[row] = before
        new.clear()
        raise
    core.queries.by_index.pop(before.index, None)
    core.reach.tables.clear()
    core.graph.tables[before.index] = {}
    old.clear()  # frames that run may have it


def _renew_values(core: Core, before: QueryInfo, info: QueryInfo) -> None:
    """Values in memory are of classes that may have been defined anew: there `isinstance` says no of them.

    So does `except` of errors. What is not made anew here is computed again for who reads it.
    """
    graph = core.graph
    for node in _in_memory(core, info):
        held, flags = graph.values[node], graph.flags[node]
        if isinstance(held, Failure):
            if held.data is not None or held.ring:
                continue
        elif held is ABSENT or flags & MUTABLE:
            continue
        else:
            try:
                if before.codec.has_classes:
                    graph.values[node] = info.codec.decode(before.codec.encode(held))
                continue
            except Exception:  # of an annotation or a class of the user
                if flags & PINNED:
                    continue
        graph.values[node] = ABSENT
        graph.status[node] &= ~VALUE


def _in_memory(core: Core, info: QueryInfo) -> Iterator[int]:
    """The nodes of a query that may have values in memory.

    Of stored ones those too that nobody asked for by their arguments: values are read ahead by id. See
    test_what_was_read_ahead_is_of_the_class_of_now.
    """
    row, node = core.queries.by_name[info.name], 0
    if row not in core.queries.stored:
        yield from core.graph.tables[info.index].values()
        return
    with suppress(ValueError):
        while True:
            node = core.graph.query.index(row, node + 1)
            yield node


def reshape(core: Core, info: QueryInfo, row: int) -> None:
    """What is kept of a query was written for values of another type, and reads as something else by now.

    So equal bytes are no equal values: nothing is cut off, and nothing is read that was stored. What the host
    set is kept, if it is a value of the new type too.
    """
    graph = core.graph
    nodes = core.nodes_of(row)
    load(core, nodes)
    kept: list[Change] = []
    before, core.torn = core.torn, True
    for node in nodes:
        if not graph.verified_at[node]:
            continue
        if graph.flags[node] & PINNED:
            change = _still_set(core, info, node)
            if change is not None:
                kept.append(change)
            else:
                _unpin(core, node)
                core.telling.note(
                    f"what {core.name_of(node)} was set to is no value of its annotation of now"
                )
        graph.values[node] = ABSENT
        graph.status[node] &= ~VALUE
        graph.fingerprint[node] = b""
        graph.flags[node] |= UNSTORED
        save_made(core, node, None)
    core.torn = before
    apply(core, kept, f"{info.name} is of another type")


def _still_set(core: Core, info: QueryInfo, node: int) -> Change | None:
    level = Durability(core.graph.durability[node])
    try:
        value = recall(core, node)
        return change_of(node, info, core.args_of(node), value, pinned=True, durability=level)
    except (EngineError, DamagedValue):  # it cannot be read as such, or is none
        return None


def let_go_of_set(core: Core, info: QueryInfo, row: int) -> None:
    """What the host set of an input that is another kind of input by now, or a query, counts no more."""
    graph = core.graph
    nodes = core.nodes_of(row)
    load(core, nodes[:1])
    if not nodes or not graph.flags[nodes[0]] & INPUT:
        return  # nobody could set it
    load(core, nodes)
    for node in nodes:
        if graph.flags[node] & PINNED and graph.flags[node] & KIND != kind_of(info):
            _unpin(core, node)


def _unpin(core: Core, node: int) -> None:
    graph = core.graph
    graph.flags[node] &= ~PINNED
    suspect(core, node, FORCED)
    core.care.reasons[node] = Reason.CODE
    save(core, node, KEEP)
