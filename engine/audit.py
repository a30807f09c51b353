"""Audit: compute a table or a fold from its members once more, and compare with what is kept.

Invariants
    Z1  An audit changes nothing: what it computes does not enter the engine.
    Z2  Every difference is told, with the key it belongs to; none is mended quietly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from engine.columns import order
from engine.core import Core
from engine.folds import from_scratch
from engine.graph import ERROR, MARKED, TRANSIENT
from engine.kept_fold import KeptFold
from engine.kept_table import KeptTable
from engine.key import short
from engine.locate import find, locate, nodes_of
from engine.persist import load, load_readers
from engine.query import QueryInfo
from engine.request import demand
from engine.snapshot import Snapshot, SnapshotFrame
from engine.store.canonical import Unpackable, pack
from engine.tables import keys_of

if TYPE_CHECKING:
    from engine.tables import CollectionInfo

Fetch = Callable[[QueryInfo, tuple[Any, ...]], Any]


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
    error = _failure(core, info)
    if error is not None:
        return Audit(info.name, 0, 0, ())  # its value is that error, and nothing is kept
    with Snapshot(core) as snapshot:
        fetch = SnapshotFrame(snapshot).fetch
        keys = list(keys_of(info, fetch))
        found = list(_membership(core, info, keys))
        chosen = keys if sample is None or sample >= len(keys) else chance.sample(keys, sample)
        lookups = 0
        with core.lock:
            kept = core.collections[locate(core, info.settle, ())]
        for key in chosen:
            found += _member(core, info, kept, key, snapshot)
        if isinstance(kept, KeptFold):
            found += _reduced(kept, info, fetch)
        else:
            several = _lookups(core, info, sample, chance)
            lookups = len(several)
            found += [one for node in several for one in _lookup(core, node, snapshot)]
    return Audit(info.name, len(chosen), lookups, tuple(found))


def _failure(core: Core, info: CollectionInfo) -> Exception | None:
    try:
        demand(core, info.settle, ())
        if info.value is not None:
            demand(core, info.value, ())
    except Exception as error:
        return error
    return None


def _membership(core: Core, info: CollectionInfo, keys: Iterable[Any]) -> Iterable[Difference]:
    with core.lock:
        kept = core.collections[locate(core, info.settle, ())]
        load(core, kept.load_members())
        wanted = {find(core, info.member, (key,)): key for key in keys}
        for node in sorted(kept.load_members() - wanted.keys()):
            yield Difference(core.name_of(node), "a member", "no source key")
        for node in sorted((node for node in wanted if node and node not in kept.load_members()), key=int):
            yield Difference(core.name_of(node), "no member", "a source key")
        if None in wanted:
            yield Difference(f"{info.member.name}({short(wanted[None])})", "no member", "a source key")


def _member(
    core: Core, info: CollectionInfo, kept: Any, key: Any, snapshot: Snapshot
) -> Iterable[Difference]:
    with core.lock:
        node = find(core, info.member, (key,))
        if not node:
            return
        load(core, (node,))
        load_readers(core, [node])
        failing = bool(core.graph.flags[node] & (ERROR | TRANSIENT))
        name = core.name_of(node)
    try:
        value, error = snapshot.fresh(info.member, (key,)), None
    except Exception as failure:
        value, error = None, failure
    with core.lock:
        if isinstance(kept, KeptTable):
            rows = set(kept.kept.of(node))
            right = set() if error is not None else set(info.columns_of(value))
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


def _reduced(kept: KeptFold, info: CollectionInfo, fetch: Fetch) -> Iterable[Difference]:
    with kept.core.lock:
        if kept.first_failing():
            return
        held = kept.result()
    right = from_scratch(info, fetch)
    if pack(held) != pack(right):
        yield Difference(info.name, short(held), short(right))


def _lookups(core: Core, info: CollectionInfo, sample: int | None, chance: random.Random) -> list[int]:
    """Lookups whose answers are kept and hold."""
    with core.lock:
        rows = [core.rows[query.name] for query in info.lookups.values() if query.name in core.rows]
        nodes = [node for row in rows for node in nodes_of(core, row)]
        load(core, nodes)
        graph = core.graph
        right = [node for node in nodes if graph.verified_at[node] and not graph.status[node] & MARKED]
    return right if sample is None or sample >= len(right) else chance.sample(right, sample)


def _lookup(core: Core, node: int, snapshot: Snapshot) -> Iterable[Difference]:
    with core.lock:
        info = core.bound[core.graph.query[node]]
        assert info is not None
        args, before = core.args_of(node), core.graph.fingerprint[node]
        failing = bool(core.graph.flags[node] & (ERROR | TRANSIENT))
        name = core.name_of(node)
    try:
        value = snapshot.fresh(info, args)
    except Exception as error:
        if not failing:
            yield Difference(name, "a value", repr(error))
        return
    digest = snapshot.fingerprint_of(info, value)
    if failing or digest != before:
        yield Difference(name, "an error" if failing else "another answer", short(value))
