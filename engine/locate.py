"""Locate: from a definition and arguments to a node, in memory or in the store.

Invariants
    L1  One node per key: the table in memory first, the store's key index next, a new node last.
    L2  A query is bound before its first node is touched; binding compares its code with the stored one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from engine.advance import force, start_revision
from engine.code.fingerprint import code_fingerprint
from engine.code.shared import Shared
from engine.core import Core
from engine.errors import BadQuery, QueryTakenOver, TableTakenOver, UnknownQuery
from engine.failure import describe
from engine.graph import (
    ALONE,
    FORCED,
    LOADED,
    SUSPECT,
    kind_of,
)
from engine.loading import is_loading, modules_that_load
from engine.mark import spread
from engine.message import EngineError
from engine.persist import adopt
from engine.query import REGISTRY, QueryInfo
from engine.reason import Reason
from engine.redefined import let_go_of_set, reshape, take_over
from engine.stack import run_on_fresh_stack
from engine.store import canonical
from engine.store.codec import FINGERPRINT_BYTES, fingerprint

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
    their readers run, which imports the module and binds the query. Then its code is known, and if it is what
    it was, the nodes that have not run by then are verified like any other.
    """
    shared = Shared()  # of one moment: no query runs until all are compared
    modules = modules_that_load()
    first = _bind_one(core, info, shared, modules)
    waiting, seen = [first], {first}
    while waiting:
        row = waiting.pop()
        if row not in core.queries.checked or row in core.queries.doubted:
            known = REGISTRY.get(core.queries.names[row])
            if known is not None:
                _bind_one(core, known, shared, modules)
            elif row not in core.queries.checked:
                cause = f"{core.queries.names[row]} is defined in no loaded module"
                core.queries.doubted[row] = _distrust(core, row, cause)
            core.queries.checked.add(row)  # last: an interrupt before must not make old memos look compared
        fresh = core.queries.called_by(row) - seen
        seen |= fresh
        waiting += fresh
    if shared.cached:
        _tell_of_caches(core, shared)
    return first


def _tell_of_caches(core: Core, shared: Shared) -> None:
    from engine.code.cached import hidden_reads

    for helper, read in hidden_reads(shared.cached):
        cause = f"{helper} is kept by functools.cache, and reads through the query {read}"
        cure = "who calls it second does not see edits. Make it a query"
        core.telling.note(f"{cause}: {cure}", once=f"cache {helper}")


def _bind_one(core: Core, info: QueryInfo, shared: Shared, modules: frozenset[str]) -> int:
    if is_loading(info, modules):
        core.queries.leave_unfinished(info.name)  # first: an interrupt below must not make it look compared
    tables = core.graph.tables
    while len(tables) <= info.index:
        tables.append({})
    names = core.limits.names
    if info.limit is not None and names and info.limit not in names:  # where none is named, none is meant
        cause = f"limit={info.limit!r} is none of those that the engine has: {', '.join(names)}"
        core.telling.note(f"{info.name} runs without a limit: {cause}", once=f"limit {info.name}")
    row = core.queries.by_name.get(info.name)
    try:
        code = _code_of(core, info, shared)
    except Exception as error:  # whatever the objects of the user raise that its code names
        if row is None or core.queries.bound[row] is None or isinstance(error, MemoryError):
            raise
        code = _unknown_code(core, info, error)  # else the older definition would go on answering
    if row is None:
        row = core.queries.add(info.name, code, set())
        core.unsaved.queries[row] = None
    before = core.queries.bound[row]
    first = before is None or row not in core.queries.checked  # or the first time was interrupted
    if before is None or before is info:
        core.queries.bound[row] = info
    elif REGISTRY.get(info.name) is info:
        take_over(core, before, info)
    else:
        raise _taken_over(info)
    if code != core.queries.codes[row]:
        is_of_other_values = code[-SHAPE_BYTES:] != core.queries.codes[row][-SHAPE_BYTES:]
        _distrust(core, row, f"the code of {info.name} changed")
        let_go_of_set(core, info, row)
        if is_of_other_values:
            reshape(core, info, row)
        # After its nodes are forced: see test_an_interrupt_while_code_is_compared.
        core.queries.codes[row] = code
        core.unsaved.queries[row] = None
    elif info.observed and core.synced and row in core.queries.stored and first:
        # Its module was not loaded when the world was last looked at: nobody compared these stamps. Once is
        # enough: see test_a_verification_of_what_stands_still_is_no_revision_and_reads_nothing.
        _distrust(core, row, f"{info.name} was not looked at yet")
    elif info.collection is None:
        _trust(core, core.queries.doubted.get(row, ()))
    core.queries.doubted.pop(row, None)
    core.queries.takes_many |= info.many is not None
    core.queries.by_index[info.index] = row
    core.reach.tables.clear()
    core.queries.checked.add(row)
    return row


def _distrust(core: Core, row: int, why: str) -> list[int]:
    """Let all nodes of a query run again: a revision of its own, since code is an input.

    Returns those of them that had not to run before.
    """
    nodes = core.nodes_of(row)
    others = [node for node in nodes if not core.graph.status[node] & FORCED]
    for snapshot in core.snapshots:
        snapshot.code_changed = True
    if nodes:
        before, core.torn = core.torn, True
        start_revision(core, why, all_levels=True)
        force(core, nodes, Reason.CODE)
        if core.claims.held:
            spread(core)  # frames are running: no stale value may look ready to them
        core.torn = before
    return others


def _trust(core: Core, nodes: Sequence[int]) -> None:
    """Let nodes that were forced for want of their code be verified instead: it is what it was."""
    status = core.graph.status
    for node in nodes:
        if status[node] & FORCED and core.care.reasons.get(node) is Reason.CODE:  # not forgotten since
            status[node] = status[node] & ~FORCED | SUSPECT
            core.care.reasons.pop(node, None)


def _code_of(core: Core, info: QueryInfo, shared: Shared) -> bytes:
    """The fingerprint of a definition: of its code, and of what is said of it that its memos depend on.

    One that is untracked or observed by now has to run, one whose `eq` is another may have kept too much, and
    one of other values cannot read what was stored: the last SHAPE_BYTES are those of the shape. See
    test_kinds_change and test_annotations_change.
    """
    try:
        return _code_said(info, shared)
    except (BadQuery, RecursionError):
        # the caller may stand deep: only this answer counts, and nothing that was found out there
        return cast(bytes, run_on_fresh_stack(core, partial(_code_said, info, Shared())))


def _unknown_code(core: Core, info: QueryInfo, error: Exception) -> bytes:
    """A fingerprint that is no other definition's, nor that of this one in another process."""
    cause = f"its code cannot be compared: {describe(error)}"
    core.telling.note(f"what {info.name} gives is kept for this process only: {cause}")
    return os.urandom(FINGERPRINT_BYTES - SHAPE_BYTES) + _shape_said(info)


def _shape_said(info: QueryInfo) -> bytes:
    return fingerprint(info.shape().encode("utf-8", "surrogatepass"))[:SHAPE_BYTES]


def _code_said(info: QueryInfo, shared: Shared) -> bytes:
    code = code_fingerprint(info.function, policy=info.code, version=info.version, shared=shared)
    if info.eq is not None:
        code += code_fingerprint(info.eq, policy=info.code, version=info.version, shared=shared)
    said = (kind_of(info) << 1 | info.pickled).to_bytes(2, "big")
    return fingerprint(code + said)[:-SHAPE_BYTES] + _shape_said(info)


def _taken_over(info: QueryInfo) -> EngineError:
    cause = "another definition has taken this name over"
    if info.collection is None:
        hint = "Queries made in a factory need names of their own: @query(name=...)."
        return QueryTakenOver(query=info.name, cause=cause, hint=hint)
    hint = "Two folds of one query into one kind of value need names of their own: fold(..., name=...)."
    return TableTakenOver(name=info.name, cause=cause, hint=hint)
