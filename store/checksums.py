"""Checksums: of each row one, and their sum over all rows of the store.

Invariants
    R1  A checksum covers the table's name, the row's id and every stored column but two: `node.key`,
        which follows from `query` and `args`, and `node.value`, which `fingerprint` covers.
    R2  Different rows have different packings: each variable part is preceded by its length.
    R3  A row of the wrong types has no checksum (TypeError or struct.error), so it is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import add
from typing import Any, Final

from blake3 import blake3

from engine.store.rows import StateRow

SUM_BYTES: Final = 16  # 128 bits: damage that keeps a checksum is not to be expected in a lifetime

_NODE = struct.Struct("<4s11q").pack
_READERS = partial(struct.Struct("<7sq").pack, b"readers")
_INPUT = partial(struct.Struct("<5sq").pack, b"input")
_MEMBER = partial(struct.Struct("<6s2q").pack, b"member")
_KEY = struct.Struct("<q").pack
_SIGNED = struct.Struct("<q").unpack
_CHANGE = struct.Struct("<6s4q").pack


def digests(whole: Iterable[bytes], size: int = SUM_BYTES) -> list[bytes]:
    """The digest of each. By one hasher, because to make one takes longer than to hash a row."""
    hasher = blake3()
    reset, update, digest = hasher.reset, hasher.update, hasher.digest
    result: list[bytes] = []
    for data in whole:
        reset()
        update(data)
        result.append(digest(size))
    return result


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
    return digests(map(b"".join, zip(heads, args, fingerprint, dependencies, strict=True)))


def key_hashes(query: Sequence[int], args: Sequence[bytes]) -> Sequence[int]:
    """`key_hash` of many keys."""
    whole = map(add, map(_KEY, query), args)
    return struct.unpack(f"<{len(args)}q", b"".join(digests(whole, 8)))


def key_hash(query: int, args: bytes) -> int:
    """What `node.key` holds. Keys may collide: compare query and arguments as well."""
    number: int = _SIGNED(blake3(_KEY(query) + args).digest(8))[0]
    return number


def fingerprint_of(value: bytes) -> bytes:
    """The fingerprint that a node with this stored value must have."""
    return blake3(value).digest(SUM_BYTES)


def readers_sum(dependency: int, packed: bytes) -> bytes:
    return blake3(_READERS(dependency) + packed).digest(SUM_BYTES)


def readers_sums(dependencies: Sequence[int], packed: Sequence[bytes]) -> list[bytes]:
    """`readers_sum` of many rows, given by column; likewise below."""
    return digests(map(add, map(_READERS, dependencies), packed))


def input_sum(node: int, stamp: bytes) -> bytes:
    return blake3(_INPUT(node) + stamp).digest(SUM_BYTES)


def input_sums(nodes: Sequence[int], stamps: Sequence[bytes]) -> list[bytes]:
    return digests(map(add, map(_INPUT, nodes), stamps))


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
    return blake3(_MEMBER(collection, node) + data).digest(SUM_BYTES)


def member_sums(collections: Sequence[int], nodes: Sequence[int], data: Sequence[bytes]) -> list[bytes]:
    return digests(map(add, map(_MEMBER, collections, nodes), data))


def block_sum(collection: int, level: int, key: bytes, data: bytes) -> bytes:
    head = struct.pack("<5s4q", b"block", collection, level, len(key), len(data))
    return blake3(head + key + data).digest(SUM_BYTES)


def change_sum(id: int, collection: int, revision: int, sign: int, data: bytes) -> bytes:
    return blake3(_CHANGE(b"change", id, collection, revision, sign) + data).digest(SUM_BYTES)


def cursor_sum(collection: int, name: str, position: int, revision: int, data: bytes) -> bytes:
    shown = name.encode(errors="surrogateescape")
    head = struct.pack("<6s5q", b"cursor", collection, position, revision, len(shown), len(data))
    return blake3(head + shown + data).digest(SUM_BYTES)


def part_sum(table: str, id: int, part: int, nodes: bytes, packed: bytes) -> bytes:
    """Checksum of a row of `version` or `earlier`."""
    head = struct.pack("<7s4q", table.encode(), id, part, len(nodes), len(packed))
    return blake3(b"".join((head, nodes, packed))).digest(SUM_BYTES)


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
