"""Audit: compute a table or a fold from its members once more, and compare with what is kept.

Invariants
    Z1  An audit changes nothing: what it computes does not enter the engine.
    Z2  Every difference is told, with the key it belongs to; none is mended quietly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import frozen

from engine.attempt import PATIENCE, Gate, insist
from engine.core import Core
from engine.errors import Closed, CycleError, ForkedEngine, SnapshotLost, StoreError
from engine.failure import Failure, describe
from engine.graph import ERROR, MARKED, TRANSIENT
from engine.key import display, short
from engine.locate import find, locate
from engine.mark import spread
from engine.persist import load, load_readers
from engine.query import QueryInfo
from engine.reach import closure
from engine.request import demand, make_calm
from engine.snapshot import Snapshot
from engine.snapshot_frame import SnapshotFrame
from engine.store.canonical import Unpackable, pack
from engine.store.codec import fingerprint
from engine.tables.collection import Collection
from engine.tables.columns import order, plain
from engine.tables.fold import from_scratch
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import FAILURES, OF
from engine.tables.scratch import keys_of, scratch

if TYPE_CHECKING:
    import random

    from engine.tables.table import CollectionInfo


@frozen
class Difference:
    """Something that is kept, and what it should be; as people read it."""

    where: str
    kept: str
    right: str


@frozen
class Audit:
    """What an audit found. `members` and `lookups` say how many were computed again."""

    name: str
    members: int
    lookups: int
    differences: tuple[Difference, ...]


def audit(core: Core, info: CollectionInfo, sample: int | None, chance: random.Random) -> Audit:
    """Bring a collection up to date, then compare it with its members: all, or `sample` of them."""

    def attempt(gate: Gate) -> Audit:
        for tries in count():
            error = _failure(core, info)
            # Who was overtaken too often makes writers wait: what is compared has to be of one revision.
            with core.patience if tries >= PATIENCE else nullcontext():
                try:
                    if error is not None:
                        found = _failing(core, info)
                    else:
                        found = _compared(core, info, sample, chance)
                except SnapshotLost:  # a file is another one by now: with it, once more
                    continue
                if found is not None:
                    return found
        raise AssertionError("count() ends never")

    return insist(core, attempt)


def glance(core: Core, info: CollectionInfo, sample: int, chance: random.Random) -> Audit | None:
    """Compare `sample` members with what is kept of them, in nobody's way; for who watches.

    Settles nothing, looks at no source key, and computes no lookup and no reduced value. None where the
    collection does not hold now, or the world moved on meanwhile.
    """
    with Snapshot(core, takes_rows=False) as snapshot:
        with core.lock:
            if not _holds(core, info.settle) or core.revision != snapshot.revision:
                return None
            kept = core.collections[locate(core, info.settle, ())]
            members = list(kept.load_members())
            nodes = chance.sample(members, min(sample, len(members)))
            load(core, nodes)
            keys = [core.args_of(node)[0] for node in nodes]
        try:
            found = [one for key in keys for one in _member(core, info, kept, key, snapshot)]
        except SnapshotLost:  # a file is another one by now, and nobody has told yet
            return None
        if core.revision != snapshot.revision:
            return None
    return Audit(info.name, len(keys), 0, tuple(found))


def _compared(core: Core, info: CollectionInfo, sample: int | None, chance: random.Random) -> Audit | None:
    """None where the world moved on meanwhile."""
    with Snapshot(core, takes_rows=False) as snapshot:
        with core.lock:
            if not _holds(core, info.settle) or core.revision != snapshot.revision:
                return None
            kept = core.collections[locate(core, info.settle, ())]
        frame = SnapshotFrame(snapshot)
        keys = list(keys_of(info, frame.fetch))
        found = list(_membership(core, info, kept, keys))
        chosen = keys if sample is None or sample >= len(keys) else chance.sample(keys, sample)
        for key in chosen:
            found += _member(core, info, kept, key, snapshot)
        if isinstance(kept, KeptFold):
            found += _reduced(kept, info, frame)
        elif chosen is keys:
            found += _strays(core, info, kept, keys)
        lookups = _lookups(core, info, sample, chance, None if chosen is keys else chosen)
        if isinstance(kept, KeptTable) and chosen is not keys:
            snapshot.take_rows(info.name, kept.kept)  # to compute all rows is what a sample is to save
        found += [one for node in lookups for one in _lookup(core, node, snapshot)]
        if core.revision != snapshot.revision:
            return None
    return Audit(info.name, len(chosen), len(lookups), tuple(found))


def _failing(core: Core, info: CollectionInfo) -> Audit | None:
    """Compare the error of the whole, of which nothing else is kept. None where the world moved on."""
    with Snapshot(core, takes_rows=False) as snapshot:
        with core.lock:
            if core.revision != snapshot.revision:
                return None
            node = find(core, info.settle, ()) or 0
            held, passes = core.graph.values[node], core.graph.flags[node] & TRANSIENT
        if not isinstance(held, Failure) or passes:
            return Audit(info.name, 0, 0, ())  # nothing of it is kept
        frame = SnapshotFrame(snapshot)
        if info.row is None:
            _, wrong = _outcome(lambda: from_scratch(info, frame))
        else:
            _, wrong = _outcome(lambda: deque(scratch(info, frame.fetch_rows), 0))
        if core.revision != snapshot.revision:
            return None
    kept, right = describe_error(held.error), describe_error(wrong)
    if isinstance(held.error, CycleError) and isinstance(wrong, CycleError):
        right = kept  # which way round a cycle is told is not said
    told = () if kept == right else (Difference(info.name, kept, right or "no error"),)
    return Audit(info.name, 0, 0, told)


def _failure(core: Core, info: CollectionInfo) -> Exception | None:
    make_calm(core)
    with core.lock:
        spread(core)
        if _holds(core, info.settle):
            return None  # asking for it would make it something that was asked for, and write that down
    try:
        demand(core, info.settle, ())
    except (Closed, ForkedEngine, StoreError):
        raise
    except Exception as error:  # of a member or of the whole: compared with that from scratch
        return error
    return None


def _holds(core: Core, info: QueryInfo) -> bool:
    """Whether a memo is known to be right, and not an error. The lock is held."""
    node = find(core, info, ())
    if not node:
        return False
    load(core, (node,))
    graph = core.graph
    reach = closure(core, graph.flags[node]) & core.reach.doubtful
    # But for one that is defined no more: the bits of a collection may say that it rested on that once. See
    # test_an_audit_ends_although_the_table_once_rested_on_one_that_is_no_more.
    rests_on_doubt = reach and any(
        one.bit & reach and one.is_doubtful and one.can_settle for one in core.collections.values()
    )
    right = graph.verified_at[node] and not graph.status[node] & MARKED and not core.torn
    return bool(right and not rests_on_doubt and not graph.flags[node] & (ERROR | TRANSIENT))


def _membership(core: Core, info: CollectionInfo, kept: Collection, keys: list[Any]) -> Iterable[Difference]:
    with core.lock:
        members = kept.load_members()
        load(core, members)
        nodes = [find(core, info.member, (key,)) for key in keys]
        for extra in sorted(members.difference(node for node in nodes if node)):
            yield Difference(core.name_of(extra), "a member", "no source key")
        for key, node in zip(keys, nodes, strict=True):
            if node not in members:
                yield Difference(display(info.member.name, (key,)), "no member", "a source key")


def _member(
    core: Core, info: CollectionInfo, kept: Collection, key: Any, snapshot: Snapshot
) -> Iterable[Difference]:
    with core.lock:
        node = find(core, info.member, (key,))
        if not node:
            return
        load(core, (node,))
        load_readers(core, [node])
        failing = bool(core.graph.flags[node] & ERROR)
        if core.graph.flags[node] & TRANSIENT:  # that was of the memo before, and this one may have caught it
            failing = isinstance(core.graph.values[node], Failure)
        name = core.name_of(node)
    value, error, right = None, None, set()
    try:
        value = snapshot.fresh(info.member, (key,))  # as readers see it
        if isinstance(kept, KeptTable):
            right = set(info.columns_of(value))
    except SnapshotLost:
        raise
    except Exception as failure:  # of the query: compared with that which is kept
        error = failure
    with core.lock:
        if isinstance(kept, KeptTable):
            rows = set(kept.kept.of(node))
            for columns in sorted(rows - right, key=order):
                yield Difference(name, repr(info.columns.decode(columns)), "no such row")
            for columns in sorted(right - rows, key=order):
                yield Difference(name, "no such row", repr(info.columns.decode(columns)))
        elif isinstance(kept, KeptFold) and kept.contribution(node) != _bytes_of(value, error):
            yield Difference(name, "another contribution", "failing" if error else short(value))
        if failing != (error is not None):
            yield Difference(name, "failing" if failing else "a value", repr(error) if error else "a value")


def _bytes_of(value: Any, error: Exception | None) -> bytes:
    try:
        return b"" if error is not None else b"\x01" + pack(value)
    except Unpackable:
        return b""


def _strays(core: Core, info: CollectionInfo, kept: Collection, keys: list[Any]) -> Iterable[Difference]:
    """Rows that belong to no member."""
    assert isinstance(kept, KeptTable)
    with core.lock:
        sources = {plain(key) for key in keys}
        for source, columns in kept.all_rows():
            if source not in sources:
                yield Difference(info.name, repr(info.columns.decode(columns)), "no such row")


def _reduced(kept: KeptFold, info: CollectionInfo, frame: SnapshotFrame) -> Iterable[Difference]:
    """The state, by what it gives."""
    right, wrong = _outcome(lambda: from_scratch(info, frame))
    with kept.core.lock:
        if kept.first_failing():
            if wrong is None:
                yield Difference(info.name, "failing", short(right))
            return
        held, error = _outcome(kept.result)
    if (error, wrong) == (None, None):
        if _bytes_of(held, None) != _bytes_of(right, None):
            yield Difference(info.name, short(held), short(right))
    elif describe_error(error) != describe_error(wrong):
        yield Difference(
            info.name, describe_error(error) or short(held), describe_error(wrong) or short(right)
        )


def _outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return call(), None
    except (StoreError, SnapshotLost):
        raise
    except Exception as error:  # of the query: compared like a value
        return None, error


def describe_error(error: Exception | None) -> str:
    """An error as one line; "": there is none."""
    return "" if error is None else describe(error)


def _lookups(
    core: Core, info: CollectionInfo, sample: int | None, chance: random.Random, chosen: list[Any] | None
) -> list[int]:
    """Lookups whose answers are kept and hold, and can be asked for still; of a fold its value.

    chosen   source keys whose members were computed; None: all
    """
    with core.lock:
        of = info.lookups.get(OF)
        queries = [*info.lookups.values(), *([] if info.value is None else [info.value])]
        if chosen is not None:  # of the others nothing is computed: see below, and to know of all that fail
            queries = [query for query in queries if query not in (of, info.lookups.get(FAILURES))]
        rows = core.queries.rows(query.name for query in queries)
        nodes = [node for row in rows for node in core.nodes_of(row)]
        if of is not None:
            nodes += [node for key in chosen or () if (node := find(core, of, (key,)))]
        load(core, nodes)
        graph = core.graph
        right = [node for node in nodes if graph.verified_at[node] and not graph.status[node] & MARKED]
        right = [node for node in right if not graph.flags[node] & TRANSIENT]
        right = [node for node in right if core.key_of(node) is not None]  # else its class has other fields
    return right if sample is None or sample >= len(right) else chance.sample(right, sample)


def _lookup(core: Core, node: int, snapshot: Snapshot) -> Iterable[Difference]:
    with core.lock:
        info = core.definition_of(node)
        args, before = core.args_of(node), core.graph.fingerprint[node]
        failing = bool(core.graph.flags[node] & ERROR)
        name = core.name_of(node)
    try:
        value = snapshot.fresh(info, args)
    except SnapshotLost:
        raise
    except Exception as error:  # of the query: compared with whether it failed before
        if not failing:
            yield Difference(name, "a value", repr(error))
        return
    if failing or fingerprint(info.codec.freeze(value)[0]) != before:
        yield Difference(name, "an error" if failing else "another answer", short(value))
