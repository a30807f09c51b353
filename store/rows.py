"""Rows: what the store keeps, as plain tuples of ints and bytes, and the checksum of each.

Invariants
    R1  A checksum covers the table's name, the row's id and every stored column but two: `node.key`,
        which follows from `query` and `args`, and `node.value`, which `fingerprint` covers.
    R2  Different rows have different packings: each variable part is preceded by its length.
    R3  A row of the wrong types has no checksum (TypeError or struct.error), so it is damaged.

Not here: SQL (sqlite), the rows of a collection (layout), what flags and dependencies mean (the core).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import add
from typing import Any, Final, NamedTuple

from attrs import define, field
from blake3 import blake3

SUM_BYTES: Final = 16  # 128 bits: damage that keeps a checksum is not to be expected in a lifetime
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


class InputBlock(NamedTuple):
    """Observed inputs of one query. Either `texts` or `args` is there."""

    query: int
    nodes: tuple[int, ...]
    texts: list[str] | None  # the arguments, where each is called with one text
    args: list[bytes] | None  # canonical bytes of the arguments of any others
    stamps: list[bytes]  # empty: of no use


class ObservedRow(NamedTuple):
    """A block of inputs as it is stored."""

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
    """

    collection: int
    member: int
    source: Any
    rows: tuple[tuple[Any, ...], ...]
    fresh: bool = False


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


@define(eq=False, repr=False)
class Batch:
    """What one transaction writes. `state` None: the state stays as it is.

    Deletions come first, whatever they delete; of several entries for one key, the last one counts.
    """

    nodes: list[NodeRow] = field(factory=list)
    readers: list[tuple[int, bytes]] = field(factory=list)  # (id, packed u32); empty: no readers left
    inputs: list[InputRow] = field(factory=list)
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


class StateRow(NamedTuple):
    """The one row of table `state`: the engine's state and what the store needs to trust it."""

    state: State
    total: bytes  # sum modulo 2**128 of the checksums of all other rows
    base: bytes  # first half of the seal's digest below the WAL, or empty


_NODE = struct.Struct("<4s11q").pack
_KEY = struct.Struct("<q").pack
_SIGNED = struct.Struct("<q").unpack
_MEMBER = struct.Struct("<6s2q").pack
_CHANGE = struct.Struct("<6s4q").pack


def node_sum(
    id: int,
    query: int,
    args: bytes,
    flags: int,
    changed_at: int,
    verified_at: int,
    durability: int,
    cost: int,
    cause: int,
    fingerprint: bytes,
    dependencies: bytes,
) -> bytes:
    """Checksum of a node row. One packed buffer, one hash: about 1 us."""
    head = _NODE(
        b"node", id, query, flags, changed_at, verified_at, durability, cost, cause,
        len(args), len(fingerprint), len(dependencies),
    )  # fmt: skip
    return blake3(head + args + fingerprint + dependencies).digest(SUM_BYTES)


def node_sums(columns: Sequence[Sequence[Any]]) -> list[bytes]:
    """`node_sum` of many rows, given by column."""
    (
        ids,
        query,
        args,
        flags,
        changed_at,
        verified_at,
        durability,
        cost,
        cause,
        fingerprint,
        dependencies,
        *_,
    ) = columns
    heads = map(
        _NODE, repeat(b"node"), ids, query, flags, changed_at, verified_at, durability, cost, cause,
        map(len, args), map(len, fingerprint), map(len, dependencies),
    )  # fmt: skip
    whole = map(b"".join, zip(heads, args, fingerprint, dependencies, strict=True))
    return [hash.digest(SUM_BYTES) for hash in map(blake3, whole)]


def key_hashes(query: Sequence[int], args: Sequence[bytes]) -> Sequence[int]:
    """`key_hash` of many keys."""
    whole = map(add, map(_KEY, query), args)
    return struct.unpack(f"<{len(args)}q", b"".join([hash.digest(8) for hash in map(blake3, whole)]))


def key_hash(query: int, args: bytes) -> int:
    """What `node.key` holds. Keys may collide: compare query and arguments as well."""
    number: int = _SIGNED(blake3(_KEY(query) + args).digest(8))[0]
    return number


def fingerprint_of(value: bytes) -> bytes:
    """The fingerprint that a node with this stored value must have."""
    return blake3(value).digest(SUM_BYTES)


def readers_sum(dependency: int, packed: bytes) -> bytes:
    return blake3(struct.pack("<7sq", b"readers", dependency) + packed).digest(SUM_BYTES)


def input_sum(node: int, stamp: bytes) -> bytes:
    return blake3(struct.pack("<5sq", b"input", node) + stamp).digest(SUM_BYTES)


def observed_sum(part: int, query: int, nodes: bytes, args: bytes, stamps: bytes) -> bytes:
    head = struct.pack("<8s5q", b"observed", part, query, len(nodes), len(args), len(stamps))
    return blake3(b"".join((head, nodes, args, stamps))).digest(SUM_BYTES)


def query_sum(id: int, name: str, code: bytes, calls: bytes) -> bytes:
    shown = name.encode(errors="surrogateescape")
    head = struct.pack("<5s4q", b"query", id, len(shown), len(code), len(calls))
    return blake3(head + shown + code + calls).digest(SUM_BYTES)


def revision_sum(number: int, at: float, changed: int, note: str) -> bytes:
    head = struct.pack("<8sqdq", b"revision", number, at, changed)
    return blake3(head + note.encode(errors="surrogateescape")).digest(SUM_BYTES)


def collection_sum(id: int, name: str, kind: str, shape: str, patterns: bytes) -> bytes:
    texts = [text.encode(errors="surrogateescape") for text in (name, kind, shape)]
    head = struct.pack("<10s5q", b"collection", id, *map(len, texts), len(patterns))
    return blake3(b"".join((head, *texts, patterns))).digest(SUM_BYTES)


def member_sum(collection: int, node: int, data: bytes) -> bytes:
    return blake3(_MEMBER(b"member", collection, node) + data).digest(SUM_BYTES)


def block_sum(collection: int, level: int, key: bytes, data: bytes) -> bytes:
    head = struct.pack("<5s4q", b"block", collection, level, len(key), len(data))
    return blake3(head + key + data).digest(SUM_BYTES)


def change_sum(id: int, collection: int, revision: int, sign: int, data: bytes) -> bytes:
    return blake3(_CHANGE(b"change", id, collection, revision, sign) + data).digest(SUM_BYTES)


def cursor_sum(collection: int, name: str, position: int, revision: int, data: bytes) -> bytes:
    shown = name.encode(errors="surrogateescape")
    head = struct.pack("<6s5q", b"cursor", collection, position, revision, len(shown), len(data))
    return blake3(head + shown + data).digest(SUM_BYTES)


def version_sum(node: int, packed: bytes) -> bytes:
    return blake3(struct.pack("<7sq", b"version", node) + packed).digest(SUM_BYTES)


def earlier_sum(
    id: int,
    node: int,
    flags: int,
    cost: int,
    code: bytes,
    fingerprint: bytes,
    dependencies: bytes,
    seen: bytes,
    rows: bytes,
) -> bytes:
    """Checksum of a row of `earlier`. The value is covered by the fingerprint."""
    parts = code, fingerprint, dependencies, seen, rows
    head = struct.pack("<7s9q", b"earlier", id, node, flags, cost, *map(len, parts))
    return blake3(b"".join((head, *parts))).digest(SUM_BYTES)


def state_sum(row: StateRow) -> bytes:
    state, total, base = row
    head = struct.pack(
        "<5s9q", b"state", state.revision, state.next_node, state.next_query, *state.last_changed,
        len(state.suspects), len(total), len(base),
    )  # fmt: skip
    return blake3(head + state.suspects + total + base).digest(SUM_BYTES)


def added(sums: Iterable[bytes]) -> int:
    """The sum of checksums as numbers, so that a row can be taken out again by subtraction."""
    number = int.from_bytes
    return sum([number(one, "little") for one in sums])


def total_bytes(total: int) -> bytes:
    return (total % (1 << 8 * SUM_BYTES)).to_bytes(SUM_BYTES, "little")
