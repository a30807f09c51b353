"""Kinds: from the kind of a collection to its state, made new or taken over from the store."""

from __future__ import annotations

import json
from typing import Final

from engine.core import Core
from engine.graph import FORCED, REACH_BITS, REACH_SHIFT
from engine.persist import load
from engine.query import QueryInfo
from engine.reach import note
from engine.tables.collection import NOBODY, Collection
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import FAILURES, MODES, OF
from engine.tables.table import CollectionInfo

SUFFIXES: Final = ("members", "into", *MODES, OF, FAILURES)  # of the names of a collection's own queries
KINDS: dict[str, type[Collection]] = {KeptTable.kind: KeptTable, KeptFold.kind: KeptFold}


def made(core: Core, kind: str, node: int, name: str, shape: str) -> Collection:
    """The state of a new collection. The lock is held."""
    return KINDS[kind](core, node, _free_bit(core), name, shape)


def shape_of(info: CollectionInfo, code: str) -> str:
    """What the store has to know of a collection, as JSON. Another shape: it is built anew.

    `code`: the fingerprints of what its members are reduced into, and of the members.
    """
    fed = info.each
    return json.dumps({
        "columns": info.columns.names if info.row is not None else (),
        "types": info.columns.shape if info.row is not None else "",
        "index": info.index,
        "identity": info.identity,
        "version": info.version if info.row is None else None,
        "code": code,
        "member": info.member.name,
        "fed": None if isinstance(fed, QueryInfo) else (fed.table.__collection__.name, fed.name),
    })  # fmt: skip


def is_known(one: Collection) -> bool:
    """Whether what is kept is what the definition of now keeps, as far as that shows before it is opened."""
    info = one.definition
    if info is None or info is one.info:
        return info is not None
    kept, wanted = json.loads(one.shape), json.loads(shape_of(info, ""))
    return bool({**kept, "code": ""} == wanted)


def restore_collections(core: Core) -> None:
    """Take over the collections that the store knows. Reads a row for each, none of their members."""
    core.collections.clear()
    core.queries.of_members.clear()
    core.reach.clear()
    core.graph.gathered = core.next_change = 0
    if core.store is None:
        return
    for row in core.store.derived.collections():
        load(core, (row.id,))
        one = KINDS[row.kind].restored(core, row)
        # Key changes are not stored, see `key_changed`; nor those that one that fails did not get to.
        one.complete = not (core.graph.status[row.id] & FORCED or one.failing)
        stand_for(core, one)


def stand_for(core: Core, one: Collection) -> None:
    """Make a node the one that stands for a collection: it has no readers, and a bit of its own."""
    node = one.node
    core.collections[node] = one
    core.graph.readers[node] = NOBODY
    core.graph.flags[node] |= one.bit
    core.reach.tables.clear()
    note(core, core.graph.query[node], one.bit)
    member = core.queries.by_name.get(one.member_query)
    if member is not None:
        core.queries.of_members.setdefault(member, set()).update(own_queries(core, one))
    for other in core.collections.values():
        _connect(other, one)
        if other is not one:
            _connect(one, other)


def of_other_kind(core: Core, one: Collection, kind: str, shape: str) -> Collection:
    """A table whose name is a fold's now, or the other way round: built anew of the same members."""
    _disconnect(core, one)
    found = KINDS[kind](core, one.node, one.bit, one.name, shape)
    for node in one.load_members():
        found.tell(node, b"")  # what is kept of it says nothing to the other kind
    found.members = one.members
    stand_for(core, found)
    return found


def reshape(core: Core, one: Collection, shape: str) -> None:
    """Another definition of a collection: it is built anew, and follows what gives its keys from now on."""
    _disconnect(core, one)
    one.reshape(shape)
    one.rebuild = one.dirty = True
    for other in core.collections.values():
        _connect(other, one)


def own_queries(core: Core, one: Collection) -> set[int]:
    """The rows of a collection's own queries."""
    names = [f"{one.name}.{suffix}" for suffix in SUFFIXES]
    if one.kind == KeptFold.kind:
        names.append(one.name)
    return core.queries.rows(names)


def _connect(table: Collection, fed: Collection) -> None:
    if fed.fed_by is not None and fed.fed_by[0] == table.name:
        table.feeds.setdefault(fed.fed_by[1], []).append(fed)


def _disconnect(core: Core, one: Collection) -> None:
    for other in core.collections.values():
        for fed in other.feeds.values():
            if one in fed:
                fed.remove(one)


def _free_bit(core: Core) -> int:
    """The lowest bit that no other collection has: it is in the memos of whoever rests on it, so it stays.

    Shared where there are very many: then requests wait for more than they rest on (see collect S5).
    """
    taken = 0
    for one in core.collections.values():
        taken |= one.bit
    free = (bit for bit in range(REACH_SHIFT, REACH_SHIFT + REACH_BITS) if not taken & 1 << bit)
    return 1 << next(free, REACH_SHIFT + len(core.collections) % REACH_BITS)
