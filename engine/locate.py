"""Locate: from a definition and arguments to a node, in memory or in the store.

Invariants
    L1  One node per key: the table in memory first, the store's key index next, a new node last.
    L2  A query is bound before its first node is touched; binding compares its code with the stored one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

from engine.advance import Change, apply, change_of, force, start_revision
from engine.code.fingerprint import code_fingerprint
from engine.core import Core
from engine.durability import Durability
from engine.errors import BadQuery, QueryTakenOver, TableTakenOver, UnknownQuery
from engine.failure import Failure
from engine.graph import (
    ABSENT,
    ALONE,
    FORCED,
    INPUT,
    KIND,
    LOADED,
    MUTABLE,
    PINNED,
    UNSTORED,
    VALUE,
    kind_of,
)
from engine.mark import spread, suspect
from engine.message import EngineError
from engine.persist import KEEP, adopt, load, save, save_made
from engine.query import REGISTRY, QueryInfo
from engine.reason import Reason
from engine.recall import recall
from engine.stack import run_on_fresh_stack
from engine.store import canonical
from engine.store.codec import DamagedValue, fingerprint

SHAPE_BYTES = 6  # at the end of the fingerprint of a definition


def locate(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> int:
    """The node of a key, made if there is none. The lock is held."""
    row = core.queries.by_index.get(info.index)
    if row is None:
        row = bind(core, info)
    key = info.memo_key(args)
    table = core.graph.tables[info.index]
    node = table.get(key)
    if node is None:
        if row in core.queries.stored:
            node = _stored(core, row, args)
        if not node:
            kept: Any = args
            if isinstance(key, ALONE):
                kept = key
            elif isinstance(key, tuple) and len(key) == 1:
                kept = key[0]  # canonical bytes: the caller may change what it passed
            node = core.graph.new(info, row, kept)
        elif isinstance(key, ALONE):
            core.graph.args[node] = key  # instead of its bytes: the table has it in any case
        table[key] = node
    return node


def find(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> int | None:
    """The node of a key, or None. Makes nothing."""
    row = core.queries.by_index.get(info.index)
    if row is None:
        row = bind(core, info)
    table, key = core.graph.tables[info.index], info.memo_key(args)
    node = table.get(key) or _stored(core, row, args)
    if node:
        table[key] = node  # it is asked for again: by each row that changes, say
    return node


def find_named(core: Core, name: str, args: tuple[Any, ...]) -> int | None:
    """The node of a key whose query need not be defined here. Raises `UnknownQuery`."""
    row = (
        core.queries.by_name.get(name)
        if args
        else core.queries.by_name.get(f"{name}.members", core.queries.by_name.get(name))
    )
    if row is None:
        raise UnknownQuery(query=name, known=", ".join(sorted(core.queries.by_name)) or "none")
    return _stored(core, row, args)


def _stored(core: Core, row: int, args: tuple[Any, ...]) -> int | None:
    if core.store is None or row not in core.queries.stored:
        return None
    key = canonical.canonical(args)
    node = core.graph.adopted.pop((row, key), 0)
    if node:
        return node
    found = core.store.find(row, key)
    if found is None:
        return None
    if not core.graph.status[found.id] & LOADED:
        adopt(core, found)
    return found.id


def bind(core: Core, info: QueryInfo) -> int:
    """Give a definition its row and table, and compare its code with the stored one (L2).

    Every query that it reached when it last ran is compared too, so that changed code below is noticed. A
    stored query that no loaded module defines may have changed unseen: its nodes are forced, which makes
    their readers run, which imports the module and binds the query.
    """
    first = _bind_one(core, info)
    waiting, seen = [first], {first}
    while waiting:
        row = waiting.pop()
        if row not in core.queries.checked:
            known = REGISTRY.get(core.queries.names[row])
            if known is not None:
                _bind_one(core, known)
            else:
                _distrust(core, row, f"{core.queries.names[row]} is defined in no loaded module")
            core.queries.checked.add(row)  # last: an interrupt before must not make old memos look compared
        fresh = core.queries.called_by(row) - seen
        seen |= fresh
        waiting += fresh
    return first


def _bind_one(core: Core, info: QueryInfo) -> int:
    tables = core.graph.tables
    while len(tables) <= info.index:
        tables.append({})
    names = core.limits.names
    if info.limit is not None and names and info.limit not in names:  # where none is named, none is meant
        cause = f"limit={info.limit!r} is none of those that the engine has: {', '.join(names)}"
        core.telling.note(f"{info.name} runs without a limit: {cause}", once=f"limit {info.name}")
    code = _code_of(core, info)
    row = core.queries.by_name.get(info.name)
    if row is None:
        row = core.queries.add(info.name, code, set())
        core.unsaved.queries[row] = None
    before, core.queries.bound[row] = core.queries.bound[row], info
    first = before is None or row not in core.queries.checked  # or the first time was interrupted
    if before is not None and before is not info:
        if REGISTRY.get(info.name) is not info:
            core.queries.bound[row] = before
            raise _taken_over(info)
        _take_over(core, before, info)
        if code == core.queries.codes[row]:
            _renew_values(core, before, info)
    if code != core.queries.codes[row]:
        is_of_other_values = code[-SHAPE_BYTES:] != core.queries.codes[row][-SHAPE_BYTES:]
        _distrust(core, row, f"the code of {info.name} changed")
        _let_go_of_set(core, info, row)
        if is_of_other_values:
            _reshape(core, info, row)
        # After its nodes are forced: see test_an_interrupt_while_code_is_compared.
        core.queries.codes[row] = code
        core.unsaved.queries[row] = None
    elif info.observed and core.synced and row in core.queries.stored and first:
        # Its module was not loaded when the world was last looked at: nobody compared these stamps. Once is
        # enough: see test_a_verification_of_what_stands_still_is_no_revision_and_reads_nothing.
        _distrust(core, row, f"{info.name} was not looked at yet")
    core.queries.takes_many |= info.many is not None
    core.queries.by_index[info.index] = row
    core.reach.tables.clear()
    core.queries.checked.add(row)
    return row


def _distrust(core: Core, row: int, why: str) -> None:
    """Let all nodes of a query run again: a revision of its own, since code is an input."""
    nodes = nodes_of(core, row)
    for snapshot in core.snapshots:
        snapshot.code_changed = True
    if nodes:
        before, core.torn = core.torn, True
        start_revision(core, why, all_levels=True)
        force(core, nodes, Reason.CODE)
        if core.claims.held:
            spread(core)  # frames are running: no stale value may look ready to them
        core.torn = before


def _let_go_of_set(core: Core, info: QueryInfo, row: int) -> None:
    """What the host set of an input that is another kind of input by now, or a query, counts no more."""
    graph = core.graph
    nodes = nodes_of(core, row)
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


def _reshape(core: Core, info: QueryInfo, row: int) -> None:
    """What is kept of a query was written for values of another type, and reads as something else by now.

    So equal bytes are no equal values: nothing is cut off, and nothing is read that was stored. What the host
    set is kept, if it is a value of the new type too.
    """
    graph = core.graph
    nodes = nodes_of(core, row)
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


def _take_over(core: Core, before: QueryInfo, info: QueryInfo) -> None:
    """A newer definition of the same name serves the nodes of the older one."""
    core.queries.by_index.pop(before.index, None)
    core.reach.tables.clear()
    tables = core.graph.tables
    for node in tables[before.index].values():
        try:
            key = info.memo_key(core.args_of(node))
        except LookupError:  # a class of its arguments has other fields by now: nobody can ask for it
            key = (ABSENT, node)
        tables[info.index][key] = node
    tables[before.index] = {}


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
        elif held is ABSENT or flags & MUTABLE or not before.codec.has_classes:
            continue
        else:
            try:
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


def _code_of(core: Core, info: QueryInfo) -> bytes:
    """The fingerprint of a definition: of its code, and of what is said of it that its memos depend on.

    One that is untracked or observed by now has to run, one whose `eq` is another may have kept too much, and
    one of other values cannot read what was stored: the last SHAPE_BYTES are those of the shape. See
    test_kinds_change and test_annotations_change.
    """
    compute = partial(_code_said, info)
    try:
        return compute()
    except (BadQuery, RecursionError):
        # the caller may stand deep: only this answer counts
        return cast(bytes, run_on_fresh_stack(core, compute))


def _code_said(info: QueryInfo) -> bytes:
    code = code_fingerprint(info.function, policy=info.code, version=info.version)
    if info.eq is not None:
        code += code_fingerprint(info.eq, policy=info.code, version=info.version)
    said = (kind_of(info) << 1 | info.pickled).to_bytes(2, "big")
    shape = fingerprint(info.shape().encode("utf-8", "surrogatepass"))
    return fingerprint(code + said)[:-SHAPE_BYTES] + shape[:SHAPE_BYTES]


def nodes_of(core: Core, row: int) -> list[int]:
    """All nodes of a query, in memory and in the store: what is in memory is in the table, or in both."""
    info, tables = core.queries.bound[row], core.graph.tables
    nodes = set(tables[info.index].values()) if info is not None and info.index < len(tables) else set()
    if core.store is not None and row in core.queries.stored:
        nodes.update(core.store.nodes_of(row))
    return sorted(nodes)


def _taken_over(info: QueryInfo) -> EngineError:
    cause = "another definition has taken this name over"
    if info.collection is None:
        hint = "Queries made in a factory need names of their own: @query(name=...)."
        return QueryTakenOver(query=info.name, cause=cause, hint=hint)
    hint = "Two folds of one query into one kind of value need names of their own: fold(..., name=...)."
    return TableTakenOver(name=info.name, cause=cause, hint=hint)
