"""Units: what a worker is asked to run, and the memos that come back; as bytes.

Invariants
    U1  A unit names its query, by module and name, and carries its arguments: it runs on any machine that can
        import that module. Nothing is pickled.
    U2  The bytes of a value are made once, by the worker: they are what is stored.
    U3  Records come with their dependencies before them, each once from a worker in one generation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

KEEP_OUT = "keep out"  # what a worker answers where a key cannot be computed outside


class Record(NamedTuple):
    """The memo of one node, in the numbers of the worker that made it."""

    node: int
    query: str
    args: bytes
    flags: int
    durability: int
    cost: int  # microseconds
    fingerprint: bytes
    dependencies: tuple[int, ...]  # entries as in `Graph.dependencies`
    data: bytes | None
    stamp: bytes | None


class Setup(NamedTuple):
    """What a worker has to know once."""

    root: str
    path: tuple[str, ...]  # for `sys.path`
    depth_limit: int


class Batch(NamedTuple):
    """Some keys to compute. Another epoch: everything that the worker knows is outdated."""

    epoch: int
    modules: tuple[tuple[str, str], ...]  # name and file of each module that has to be imported
    pinned: tuple[
        tuple[str, bytes, bytes, int], ...
    ]  # inputs that the host set: query, arguments, data, durability
    units: tuple[tuple[str, bytes, bytes], ...]  # query, arguments, code fingerprint


class Answer(NamedTuple):
    """What became of a batch. `refused`: units, by place, that the parent has to run, and why."""

    records: tuple[Record, ...]
    done: tuple[int, ...]  # nodes, in the worker's numbers, of the units that were computed; 0 where refused
    refused: tuple[tuple[int, str, bool], ...]  # place, why, whether it holds for all keys of that query


encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def framed(message: Any) -> bytes:
    """A message with its length before it."""
    data = encode(message)
    return len(data).to_bytes(4, "little") + data
