"""Units: what a worker is asked to run, what it asks back, and the memos that come back; as bytes.

Invariants
    U1  A unit names its query, by module and name, and carries its arguments: it runs on any machine that can
        import that module. Nothing is pickled.
    U2  The bytes of a value are made once, by the worker: they are what is stored.
    U3  Records come with their dependencies before them, each once from a worker in one epoch.
    U4  Texts of the system (paths, variables) go as bytes: they need not be UTF-8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from engine.store.beside import Place

COMPUTE, GIVEN, REFUSED = range(3)  # what a reply says: compute it, here it is, give the unit back


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The memo of one node, in the numbers of the worker that made it."""

    node: int
    query: str
    args: bytes
    is_error: bool
    cost: int  # microseconds, without those of waiting for answers
    fingerprint: bytes
    dependencies: tuple[int, ...]  # entries as in `Graph.dependencies`
    data: bytes | None  # of its value, unless nobody keeps it
    stamp: bytes | None


class Setup(NamedTuple):
    """What a worker has to know once."""

    root: bytes
    depth_limit: int
    limits: tuple[str, ...]  # the names of those that the parent counts


class Surroundings(NamedTuple):
    """What code sees of a process without reading it through the engine: as here, so there."""

    path: tuple[bytes, ...]
    directory: bytes
    environment: dict[bytes, bytes]
    recursion_limit: int
    digits_limit: int  # of whole numbers as text


class Unit(NamedTuple):
    """One key to compute."""

    query: str
    args: bytes
    code: bytes  # the fingerprint of its code


class Given(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The value of a key that holds in the parent: whoever reads it need not compute it."""

    node: int  # in the parent's numbers
    query: str
    args: bytes
    fingerprint: bytes
    data: bytes


class Table(NamedTuple):
    """A table that is up to date, all of whose rows are in the store of the parent."""

    settled: Given  # the key that its lookups read
    shape: str  # what the store knows of it


class Stored(NamedTuple):
    """Tables that a worker may look into by itself, and where."""

    place: Place
    tables: tuple[Table, ...]


class Batch(msgspec.Struct, array_like=True, frozen=True, tag="batch"):
    """Some keys to compute. Another epoch: everything that the worker knows is outdated."""

    epoch: int
    surroundings: Surroundings | None  # where they are others than before
    modules: tuple[tuple[str, bytes], ...]  # name and file of each module that has to be imported
    held: dict[str, bytes]  # query -> digests of keys to ask for, besides those named before
    asked: tuple[str, ...]  # queries all of whose keys are asked for
    given: tuple[Given, ...]  # values that its keys will likely read
    stored: Stored | None  # tables, besides those named before
    units: tuple[Unit, ...]


class Refusal(NamedTuple):
    """A unit, by its place in the batch, that the parent has to run."""

    place: int
    why: str
    for_all: bool  # whether that holds for all keys of its query


class Ask(msgspec.Struct, array_like=True, frozen=True, tag="ask"):
    """A worker at work on the unit at `place` reads a key that the parent holds."""

    place: int
    node: int  # in the worker's numbers
    query: str
    args: bytes
    epoch: int = 0  # of its batch


class Answer(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """What became of a batch."""

    records: tuple[Record, ...]
    refused: tuple[Refusal, ...]
    codes: dict[str, bytes]  # fingerprints of the code of queries that records name for the first time
    seconds: float = 0.0  # that the units took
    broken: str = ""  # why what this worker knows is worth nothing from now on: it needs another epoch
    used: tuple[tuple[int, int], ...] = ()  # what was given and read: nodes there, nodes of the parent
    epoch: int = 0  # of its batch; 0: not known


class Reply(msgspec.Struct, array_like=True, frozen=True, tag="reply"):
    """What a worker that asked is told."""

    kind: int
    is_error: bool = False
    fingerprint: bytes = b""
    data: bytes = b""
    stored: Stored | None = None  # tables that it need not ask for from now on


encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_said: Any = msgspec.msgpack.Decoder(Batch | Reply).decode
decode_told: Any = msgspec.msgpack.Decoder(Ask | Answer).decode
