"""Small stores: their rows, all that they hold, copies of them, and other processes that open them."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.store import (
    Batch,
    InputRow,
    NodeRow,
    QueryRow,
    RevisionRow,
    State,
    fingerprint_of,
    open_store,
    seal,
)
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store

if TYPE_CHECKING:
    import pytest  # children import this module, and do without

ROOT = Path(__file__).resolve().parent.parent


def packed(*ids: int) -> bytes:
    return struct.pack(f"<{len(ids)}I", *ids)


def node(id: int, *dependencies: int, revision: int = 1, value: bytes = b"", flags: int = 0) -> NodeRow:
    value = value or b"value %d" % id
    return NodeRow(
        id, id % 3 + 1, b"args %d" % id, flags, revision, revision, 0, 10 * id, 0,
        fingerprint_of(value), packed(*dependencies), value,
    )  # fmt: skip


def graph(count: int, revision: int = 1) -> Batch:
    """Nodes 1..count, each reading the two before it; three queries; node 1 is an observed input."""
    nodes = [node(i, *range(max(1, i - 2), i), revision=revision) for i in range(1, count + 1)]
    readers = [(i, packed(*range(i + 1, min(count, i + 2) + 1))) for i in range(1, count)]
    return Batch(
        nodes=nodes,
        readers=readers,
        inputs=[InputRow(1, b"stamp")],
        queries=[QueryRow(i, f"m:q{i}", bytes(16), packed(1)) for i in (1, 2, 3)],
        revisions=[RevisionRow(revision, 1e9, 1, "start")],
        state=State(revision, count + 1, 4, packed(2), (revision, 0, 0)),
    )


def dump(store: Store) -> tuple[object, ...]:
    """Everything a store can be asked for."""
    ids = list(range(1, 400))
    return (
        store.state, store.nodes(ids), store.values(ids), store.readers(ids), store.inputs(),
        store.queries(), store.revisions(),
    )  # fmt: skip


def closed_store(directory: Path, revisions: int = 1, count: int = 60) -> tuple[object, ...]:
    """Make a store, close it, and return all that it holds."""
    with open_store(directory) as store:
        for revision in range(1, revisions + 1):
            store.write(graph(count, revision=revision))
        return dump(store)


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    target.chmod(0o700)
    return target


def database(directory: Path) -> Path:
    return directory / "store.db"


def unsealed(directory: Path) -> tuple[object, ...]:
    """A closed store that has to be audited; all that is in it."""
    expected = closed_store(directory)
    (directory / "store.seal").unlink()
    return expected


def set_aside(directory: Path) -> list[str]:
    found = [one.name for stem in ("corrupt", "stray") for one in directory.glob(f"store.{stem}-*")]
    return [name for name in found if not name.endswith(("-wal", "-shm"))]


def connect_by(monkeypatch: pytest.MonkeyPatch, kind: type[sqlite3.Connection]) -> None:
    real = sqlite3.connect

    def connect(*args: Any, **named: Any) -> sqlite3.Connection:
        return real(*args, factory=kind, **named)

    monkeypatch.setattr(sqlite3, "connect", connect)


PRELUDE = """\
from engine.errors import StoreInUse, StoreReadOnly
from engine.store.inspect import tables
from tests.stores import *
"""


def command(code: str, *args: object) -> list[str]:
    """The command of a child process that runs `code` with what is in this module at hand."""
    prelude = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n{PRELUDE}"
    return [sys.executable, "-c", prelude + code, *map(str, args)]


def run(code: str, *args: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(code, *args), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def sql(directory: Path, script: str, *, renew_seal: bool = False) -> None:
    """Change a closed store by hand; with a new seal, as somebody would who means it."""
    with sqlite3.connect(database(directory), isolation_level=None) as connection:
        connection.executescript(script)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if renew_seal:
        raw = RawFile.open(database(directory))
        old = seal.read_seal(directory / "store.seal")
        assert old is not None
        seal.write_seal(directory / "store.seal", old._replace(size=raw.size(), digest=raw.digest()))
        raw.close()
