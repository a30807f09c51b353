"""Rows: what the store keeps, as plain tuples of ints and bytes.

Not here: SQL (sqlite), the rows of a collection (layout), checksums, what flags and dependencies mean (the
core).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from itertools import islice
from operator import lt
from typing import Any, Final, NamedTuple

from attrs import define, field

GROUP_MARKER: Final = 1 << 31  # an entry of `dependencies` with this bit is no node: it marks a group
ROOT_FLAG: Final = 8  # bit of `NodeRow.flags`: somebody asked for this key, gc starts here
PINNED_FLAG: Final = 4  # another: the host has set it, so the stamp is not that of the value


class NodeRow(NamedTuple):
    """A node without its display name. `value` None: not loaded, or when written, see `Store.write`."""

    id: int
    query: int
    args: bytes
    flags: int
    changed_at: int
    verified_at: int
    durability: int
    cost: int  # microseconds of the last execution
    cause: int  # node id
    fingerprint: bytes  # 16 bytes, or empty
    dependencies: bytes  # packed little-endian u32, in order of reading; see GROUP_MARKER
    value: bytes | None = None


class NodeColumns:
    """Node rows by column, in the order of `NodeRow`. While it is written, a batch is most of what is new in
    a process: with a tuple for each row, Python would look for garbage in it.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, nodes: Collection[NodeRow]) -> NodeColumns:
        """The same rows, with the last one for each id, in the order of the ids."""
        if isinstance(nodes, cls):
            ids = nodes.columns[0]
            if all(map(lt, ids, islice(ids, 1, None))):
                return nodes
        newest = {row[0]: row for row in nodes}
        return cls(list(zip(*map(newest.__getitem__, sorted(newest)), strict=True)))

    def some(self, places: Sequence[int]) -> NodeColumns:
        """The rows at these places."""
        return NodeColumns([list(map(column.__getitem__, places)) for column in self.columns])

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[NodeRow]:
        return map(NodeRow._make, zip(*self.columns, strict=True))

    def __contains__(self, row: object) -> bool:
        return row in list(self)


class QueryRow(NamedTuple):
    id: int
    name: str
    code: bytes
    calls: bytes  # packed u32


class InputRow(NamedTuple):
    """The stat stamp of an observed input; its node row holds the rest."""

    id: int
    stamp: bytes


class ObservedInput(NamedTuple):
    """An input row joined with its node."""

    id: int
    query: int
    args: bytes
    flags: int
    durability: int
    fingerprint: bytes
    stamp: bytes


class ObservedRow(NamedTuple):
    """A bundle of inputs as it is stored."""

    part: int
    query: int
    nodes: bytes
    args: bytes
    stamps: bytes


class RevisionRow(NamedTuple):
    number: int
    at: float  # seconds since the epoch
    changed: int  # how many inputs
    note: str


class State(NamedTuple):
    revision: int = 0
    next_node: int = 1
    next_query: int = 1
    suspects: bytes = b""  # packed u32
    last_changed: tuple[int, int, int] = (0, 0, 0)  # revision of the last change, per durability


class CollectionRow(NamedTuple):
    """A derived collection: a table or a fold. Its id is that of the node that stands for it."""

    id: int
    name: str  # of the query, "module:name"
    kind: str  # "table" or "fold"
    shape: str  # JSON: {"columns": [names], "index": [names], ...}
    patterns: bytes


class MemberRow(NamedTuple):
    collection: int
    node: int
    data: bytes


class BlockRow(NamedTuple):
    """A part of the tree of a fold. Written with `data` empty, it goes."""

    collection: int
    level: int
    key: bytes
    data: bytes


class ChangeRow(NamedTuple):
    """An entry of the change log. Ids ascend, whatever the collection."""

    id: int
    collection: int
    revision: int
    sign: int
    data: bytes


class CursorRow(NamedTuple):
    """How far a consumer has come in the changes of a collection, or of a query: then of its key's node."""

    collection: int
    name: str
    position: int
    revision: int
    data: bytes


class MemberRows(NamedTuple):
    """All rows that a member of a table has from now on; what it had and has no more goes.

    The rows are distinct. A value is None, an int of 64 bits, a float but no NaN, a str without lone
    surrogates, or bytes; a bool is none of these. `fresh`: the member has no stored rows.
    `gone`: ids and checksums of stored rows that go, and `rows` are those that come only.
    """

    collection: int
    member: int
    source: Any
    rows: tuple[tuple[Any, ...], ...]
    fresh: bool = False
    gone: Sequence[tuple[int, bytes]] | None = None


class StoredRows(NamedTuple):
    """The rows that a member of a table has: of each, id and checksum."""

    source: Any
    rows: dict[tuple[Any, ...], tuple[int, bytes]]


class VersionRow(NamedTuple):
    """What a node was for a while: from the revision `since` up to, and not in, `until`."""

    node: int
    since: int
    until: int
    was: bytes  # 16 bytes


class EarlierRow(NamedTuple):
    """A memo that a node had before. Written with `value=None`, it takes the value that the node has stored
    under this fingerprint; where there is none, and `valueless` is False, the row is left out.
    """

    node: int
    flags: int
    cost: int
    code: bytes
    fingerprint: bytes
    dependencies: bytes
    seen: bytes
    rows: bytes = b""
    value: bytes | None = None
    valueless: bool = False


class Extent(Enum):
    """Of which nodes a batch says the readers."""

    CHANGED = "those whose readers changed"
    LATER = "none: it is one of a first build, and a later one says them"
    ALL = "all that the store has and gets: a first build ends with it"


@define(eq=False, repr=False)
class Batch:
    """What one transaction writes. `state` None: the state stays as it is.

    Deletions come first, whatever they delete; of several entries for one key, the last one counts.
    """

    nodes: Collection[NodeRow] = field(factory=list)
    readers: Collection[tuple[int, bytes]] = field(factory=list)  # (id, packed u32); empty: no readers left
    inputs: Collection[tuple[int, bytes]] = field(factory=list)  # as InputRow
    deleted_inputs: list[int] = field(factory=list)
    queries: list[QueryRow] = field(factory=list)
    deleted: list[int] = field(factory=list)  # nodes, with their input and readers rows
    revisions: list[RevisionRow] = field(factory=list)
    state: State | None = None
    collections: list[CollectionRow] = field(factory=list)
    dropped: list[int] = field(factory=list)  # collections, with all that is theirs
    members: list[MemberRow] = field(factory=list)
    members_gone: list[tuple[int, int]] = field(factory=list)  # (collection, node); their rows go along
    rows: list[MemberRows] = field(factory=list)
    blocks: list[BlockRow] = field(factory=list)
    changes: list[ChangeRow] = field(factory=list)
    changes_gone: list[int] = field(factory=list)
    cursors: list[CursorRow] = field(factory=list)
    cursors_gone: list[tuple[int, str]] = field(factory=list)  # (collection, name)
    versions: list[VersionRow] = field(factory=list)  # added to those of the node
    earlier: list[EarlierRow] = field(factory=list)  # likewise
    earlier_gone: list[int] = field(factory=list)  # nodes whose earlier memos go
    earlier_kept: int = 4  # of each node
    extent: Extent = Extent.CHANGED  # of `readers`
    goes_on: bool = False  # other batches of the same build follow: see row_index


class StateRow(NamedTuple):
    """The one row of table `state`: the engine's state and what the store needs to trust it."""

    state: State
    total: bytes  # sum modulo 2**128 of the checksums of all other rows
    base: bytes  # first half of the seal's digest below the WAL, or empty
