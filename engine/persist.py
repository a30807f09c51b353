"""Persist: rows from the store into the graph on demand, and the graph's news back, one transaction.

Invariants
    P1  A commit holds whole memos: a row's dependencies have rows of their own, in it or before it.
    P2  Suspects are stored with the revision, so that a restart walks nothing but them.
    P3  After a failed commit nothing is forgotten: the next one writes it.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress, count
from struct import Struct
from typing import Final

from engine.core import Core
from engine.errors import StoreDamaged, StoreFull
from engine.event import What
from engine.graph import (
    ALONE,
    FORCED,
    GROUP,
    LOADED,
    MARKED,
    OBSERVED,
    PINNED,
    REACH,
    SUSPECT,
    UNTRACKED,
    Graph,
    compact,
)
from engine.query import REGISTRY
from engine.reach import note
from engine.store import Batch, Extent, NodeColumns, NodeRow, QueryRow, RevisionRow, State
from engine.store.canonical import canonicals as _canonicals

KEEP: Final = None  # data of a row whose value did not change: the store keeps what has this fingerprint
CHUNK_NODES = 32_768  # rows per commit of a long build: about 0.3 s of writing; smaller ones cost more a row
CHUNK_NS = 2_000_000_000  # and no later than this after the first of them: what a kill costs at most
CHUNK_BYTES = 16 << 20  # bytes of values, so that memory stays bounded
_PACK_ONE = Struct("=I").pack
FORCED_BIT = GROUP  # in the stored list of suspects


def open_graph(core: Core) -> None:
    """Take over what the store knows: sizes, revision, suspects and query names. Loads no node."""
    store = core.store
    assert store is not None
    state = store.state
    core.graph = graph = Graph(max(state.next_node, 1))
    core.revision = max(state.revision, core.revision)  # it never goes back, also when a store is lost
    core.last_changed = list(state.last_changed)
    for row in sorted(store.queries(), key=lambda row: row.id):
        while len(core.queries.bound) < row.id:  # a gap that a collection left
            core.queries.add(f"\x00{len(core.queries.bound)}", b"", set())
        calls = array("I")
        calls.frombytes(row.calls)
        core.queries.add(row.name, row.code, set(calls))
        core.queries.stored.add(row.id)
    listed = array("I")
    listed.frombytes(state.suspects)
    for entry in listed:
        node = entry & ~FORCED_BIT
        graph.status[node] |= MARKED | (FORCED if entry & FORCED_BIT else SUSPECT)
        graph.suspects[node] = None
        graph.marked.append(node)
        graph.frontier.append(node)
        core.care.reopened |= bool(entry & FORCED_BIT)


def load(core: Core, nodes: Iterable[int]) -> None:
    """Bring rows into memory, without their values."""
    status = core.graph.status
    missing = [node for node in nodes if not node & GROUP and not status[node] & LOADED]
    if missing:
        assert core.store is not None, f"nodes {missing[:5]} are nowhere"
        rows = core.store.nodes(missing)
        for node in missing:
            if node not in rows:
                raise StoreDamaged(row=f"node {node} is missing")
            adopt(core, rows[node])
            core.graph.adopted[rows[node].query, rows[node].args] = node


def adopt(core: Core, row: NodeRow) -> None:
    """Put a stored row into the lists."""
    graph, node = core.graph, row.id
    dependencies = array("I")
    dependencies.frombytes(row.dependencies)
    graph.query[node] = row.query
    graph.args[node] = row.args
    overlay = row.flags & PINNED and row.flags & OBSERVED  # of an earlier process: the world counts again
    graph.flags[node] = row.flags & ~PINNED if overlay else row.flags
    graph.changed_at[node] = row.changed_at
    graph.verified_at[node] = row.verified_at
    graph.durability[node] = row.durability
    graph.cost[node] = row.cost
    graph.cause[node] = row.cause
    graph.fingerprint[node] = row.fingerprint
    graph.dependencies[node] = compact(dependencies)
    graph.status[node] |= LOADED
    if row.flags & REACH:
        note(core, row.query, row.flags)
    if row.flags & UNTRACKED:
        core.care.untracked[node] = None
    if core.queries.bound[row.query] is None and row.query not in core.queries.doubted:
        known = REGISTRY.get(core.queries.names[row.query])
        if known is not None and row.query in core.queries.checked:
            core.queries.bound[row.query] = known


def readers_of(core: Core, node: int, then: Iterable[int] = ()) -> Sequence[int]:
    """The readers of a node. Where the store is asked, those of the nodes `then` are read at once."""
    if core.graph.readers[node] is None:
        load_readers(core, [node, *then])
    return core.graph.above(node)


def load_readers(core: Core, nodes: Iterable[int]) -> None:
    """Bring the readers of nodes into memory."""
    readers = core.graph.readers
    missing = [node for node in nodes if readers[node] is None]
    packed = core.store.readers(missing) if missing and core.store is not None else {}
    for node in missing:
        back = array("I")
        back.frombytes(packed.get(node, b""))
        readers[node] = compact(back)


def save(core: Core, node: int, data: bytes | None) -> None:
    """Queue the row of a node for the next commit; `KEEP` leaves its stored value."""
    if core.saves:
        unsaved = core.unsaved
        if node in unsaved.ringed or (data is None and unsaved.nodes.get(node) is not None):
            return
        if not unsaved.nodes:
            unsaved.since = core.clock()
        unsaved.nodes[node] = data
        unsaved.value_bytes += len(data) if data else 0


def save_made(core: Core, node: int, data: bytes | None) -> None:
    """Queue the row of a node that got a value; None: the store is not to hold it.

    Bytes of the value before may be queued still, where a commit failed: they are not those of this one.
    """
    unsaved = core.unsaved
    if node in unsaved.ringed:
        unsaved.ringed[node] = data  # see test_a_key_of_a_ring_that_is_made_twice
    elif core.saves:
        if not unsaved.nodes:
            unsaved.since = core.ran_at
        unsaved.nodes[node] = data
        if data:
            unsaved.value_bytes += len(data)


def chunk(core: Core) -> None:
    """Commit in the middle of a long build, when enough has come together."""
    if is_due(core):
        commit(core, goes_on=True)


def is_due(core: Core, nodes: int | None = None) -> bool:
    """Whether so much waits that it is to be committed in the middle of a long build, `nodes` rows say."""
    unsaved = core.unsaved
    if unsaved.ringed or not unsaved.nodes:  # a cycle is half made: rows would name dependencies without one
        return False
    large = not unsaved.disk_full and (
        len(unsaved.nodes) >= (nodes or CHUNK_NODES)
        or unsaved.value_bytes >= CHUNK_BYTES
        or (core.memory is not None and core.memory.unsaved_bytes > core.memory.most_unsaved)
    )
    return large or core.ran_at - unsaved.since >= CHUNK_NS


def commit(core: Core, *, goes_on: bool = False) -> None:
    """Write everything that is new in one transaction. The lock is held.

    goes_on  it is a part of a long build, and others will come

    A full disk is noted, not raised: answers stay right from memory, and the next commit tries again.
    """
    unsaved, store = core.unsaved, core.store
    unsaved.let_passing_go(core.graph)
    has_news = unsaved.has_news or any(one.has_news for one in core.collections.values())
    if store is None or store.read_only or not has_news:
        return
    batch = _news(core, goes_on)
    try:
        store.write(batch)
    except StoreFull as error:
        if batch.extent is Extent.ALL:  # what is new needs less room than the index of all
            unsaved.no_room_for_index = True
            core.telling.note("the store has no room for its index: the next opening makes it", once="index")
            commit(core, goes_on=goes_on)
            return
        core.telling.note(str(error), once="full")
        unsaved.disk_full = True
        unsaved.since = core.clock()  # else all rows would be tried again after every key
        return
    core.telling.over("full")
    if store.notes:  # of a log that could not be merged
        core.telling.notes += store.hand_over()
    core.written += len(batch.nodes)
    unsaved.committed()
    unsaved.state = goes_on  # else a build whose last key is committed amid it has no end: index, row_index
    for one in core.collections.values():
        one.committed()
    if core.history is not None:
        core.history.committed()
    if core.memory is not None:
        core.memory.committed(core)
    core.tally.commits += 1
    core.tell(What.COMMITTED, 0)


def _news(core: Core, goes_on: bool) -> Batch:
    """All that the store does not know yet."""
    unsaved, queries = core.unsaved, core.queries
    batch = Batch(goes_on=goes_on)
    if unsaved.nodes:
        batch.nodes = _rows(core)
    batch.extent = _extent(core, goes_on)
    if batch.extent is not Extent.LATER:
        batch.readers = _readers(core, batch.extent)
    batch.inputs = unsaved.stamps.items()
    for row in unsaved.queries:
        calls = array("I", sorted(queries.calls[row])).tobytes()
        batch.queries.append(QueryRow(row, queries.names[row], queries.codes[row], calls))
    for one in core.collections.values():
        one.into(batch)
    for (node, name), cursor in unsaved.cursors.items():
        if cursor is None:
            batch.cursors_gone.append((node, name))
        else:
            batch.cursors.append(cursor)
    batch.earlier_gone.extend(unsaved.earlier_gone)
    if core.history is not None:
        core.history.into(batch)
    batch.revisions.extend(RevisionRow(*note) for note in unsaved.revisions)
    batch.state = State(
        revision=core.revision,
        next_node=len(core.graph),
        next_query=len(queries.bound),
        suspects=_listed(core),
        last_changed=(core.last_changed[0], core.last_changed[1], core.last_changed[2]),
    )
    return batch


def _rows(core: Core) -> NodeColumns:
    """The rows of all dirty nodes, column by column: a loop in C costs a third of one in Python."""
    graph = core.graph
    nodes = sorted(core.unsaved.nodes)
    columns = (
        graph.query, graph.flags, graph.changed_at, graph.verified_at, graph.durability, graph.cost,
        graph.cause, graph.fingerprint,
    )  # fmt: skip
    query, *rest = (list(map(column.__getitem__, nodes)) for column in columns)
    dependencies = list(map(_packed, map(graph.dependencies.__getitem__, nodes)))
    values = list(map(core.unsaved.nodes.__getitem__, nodes))
    return NodeColumns([nodes, query, _args(core, nodes), *rest, dependencies, values])


def _args(core: Core, nodes: list[int]) -> list[bytes]:
    """The canonical bytes of the arguments of nodes."""
    found = list(map(core.graph.args.__getitem__, nodes))
    called = [(one,) if isinstance(one, ALONE) else one or () for one in found if not isinstance(one, bytes)]
    made = _canonicals(called)
    if len(made) == len(found):
        return made
    left = iter(made)
    return [one if isinstance(one, bytes) else next(left) for one in found]


def _extent(core: Core, goes_on: bool) -> Extent:
    """Of which nodes a commit says the readers. While a store is being filled for the first time, that is
    left to the end: it takes half of the writing, and all of them are in memory.
    """
    store = core.store
    assert store is not None
    if core.queries.stored:
        return Extent.CHANGED
    indexed = store.is_indexed
    later = goes_on and (not indexed or len(core.unsaved.nodes) > store.state.next_node)
    if later or (core.unsaved.no_room_for_index and not indexed):
        return Extent.LATER
    return Extent.CHANGED if indexed else Extent.ALL


class _Readers(Collection[tuple[int, bytes]]):
    """The packed readers of nodes, made one by one as they are written: they are half of a first build."""

    def __init__(self, core: Core, nodes: Sequence[int], others: Mapping[int, bytes]) -> None:
        self._readers = core.graph.readers
        self._nodes = nodes
        self._others = others  # of these nodes it is something else

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        others, readers = self._others, self._readers
        for node in self._nodes:
            yield node, others[node] if node in others else _packed(readers[node])

    def __contains__(self, pair: object) -> bool:
        return any(pair == one for one in self)


def _readers(core: Core, extent: Extent) -> _Readers:
    """The readers of all dirty nodes, or of all there are, without the collections that wait for them."""
    readers = core.graph.readers
    if extent is Extent.CHANGED:
        nodes = [node for node in core.unsaved.readers if readers[node] is not None]
    else:
        nodes = list(compress(count(), readers))
    others: dict[int, bytes] = {}
    for one in core.collections.values():
        missed = one.missed.keys()
        for node in missed & core.unsaved.readers.keys() if extent is Extent.CHANGED else missed:
            waiting = {other.node for other in core.collections.values() if other.waits_for(node)}
            if waiting and readers[node]:
                left = array("I", [reader for reader in core.graph.above(node) if reader not in waiting])
                # Without a value it has no row at all yet.
                others[node] = left.tobytes() if core.graph.verified_at[node] else b""
    return _Readers(core, nodes, others)


def _packed(entries: array[int] | int | None) -> bytes:
    """Readers or dependencies as they are stored."""
    if isinstance(entries, int):
        return _PACK_ONE(entries) if entries else b""
    assert entries is not None, "it was dirty and is not in memory"
    return entries.tobytes()


def _listed(core: Core) -> bytes:
    """Suspects as stored. What rests on a transient failure, or is untracked, runs again after a restart."""
    graph, status = core.graph, core.graph.status
    listed = [
        node | FORCED_BIT if status[node] & FORCED else node
        for node in graph.suspects
        if not status[node] & LOADED or graph.verified_at[node]
    ]
    listed += [node | FORCED_BIT for node in core.care.run_again() if node not in graph.suspects]
    return array("I", listed).tobytes()
