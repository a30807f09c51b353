"""Worker: a process that computes keys for an engine in another one. `python -m engine.worker`.

It reads batches from standard input and writes answers to what was standard output; whatever queries print
goes to standard error. It ends when its input ends, so it cannot outlive its parent by more than one batch.

Invariants
    W1  A key is computed whole, with all that it reads, and nothing is told of it but its memos.
    W2  What only the parent knows (tables, values without a source here, queries whose code differs) is refused,
        and the parent computes that key itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from engine.core import Core
from engine.durability import Durability
from engine.graph import (
    ERROR,
    INPUT,
    LOADED,
    PINNED,
    REACH,
    TRANSIENT,
    UNSTORED,
    UNTRACKED,
    entries,
)
from engine.locate import locate
from engine.query import REGISTRY
from engine.recall import recall
from engine.request import commit_changes, demand, prepare
from engine.store import canonical
from engine.units import Answer, Batch, Record, Setup, decode_batch, decode_setup, framed


class Worker:
    """One generation of inputs, computed on demand."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.epoch = -1
        self.core: Core
        self.sent: set[int] = set()

    def run(self, batch: Batch) -> Answer:
        """Compute a batch."""
        for name, file in batch.modules:
            _import(name, file)
        if batch.epoch != self.epoch:
            self._begin(batch)
        records: list[Record] = []
        done, refused = [], []
        for place, (name, args, code) in enumerate(batch.units):
            try:
                node = self._compute(name, args, code)
                found = self._records(node)
            except Refused as why:
                refused.append((place, str(why), why.for_all))
                done.append(0)
            else:
                records += found
                self.sent.update(record.node for record in found)
                done.append(node)
        return Answer(tuple(records), tuple(done), tuple(refused))

    def _begin(self, batch: Batch) -> None:
        self.epoch = batch.epoch
        self.core = Core(None, Path(self.setup.root), depth_limit=self.setup.depth_limit)
        self.sent = set()
        changes = []
        for name, args, data, durability in batch.pinned:
            info = REGISTRY.get(name)
            if info is None:
                continue  # nobody here reads it, or its reader is refused
            info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
            value = info.codec.decode(data)
            changes.append(prepare(self.core, info, canonical.restore(args), value, Durability(durability)))
        if changes:
            commit_changes(self.core, changes, "set by the host")

    def _compute(self, name: str, args: bytes, code: bytes) -> int:
        info = REGISTRY.get(name)
        if info is None:
            raise Refused(f"{name} is not defined by the import of its module", for_all=True)
        core = self.core
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
        arguments = canonical.restore(args)
        try:
            demand(core, info, arguments)
        except Exception:
            pass
        if core.codes[core.rows[name]] != code:
            raise Refused(f"the code of {name} is another one in a fresh interpreter", for_all=True)
        return locate(core, info, arguments)

    def _records(self, target: int) -> list[Record]:
        """The memos below a node that were not sent yet, dependencies first. Depth is data."""
        graph = self.core.graph
        found: list[Record] = []
        stack, seen = [target], set(self.sent)
        while stack:
            node = stack[-1]
            if node in seen:
                stack.pop()
                continue
            missing = [read for read in entries(graph.dependencies[node] or ()) if read not in seen]
            if missing and not graph.flags[node] & INPUT:
                stack += reversed(missing)
                if len(stack) > len(graph) * 2 + 2:
                    raise Refused("it stands on a cycle")
                continue
            seen.add(node)
            stack.pop()
            found.append(self._record(node))
        return found

    def _record(self, node: int) -> Record:
        core, graph = self.core, self.core.graph
        flags = graph.flags[node]
        if flags & REACH or node in core.collections:
            raise Refused("it looks into a table", for_all=True)
        if flags & (TRANSIENT | UNTRACKED) or not graph.verified_at[node] or not graph.status[node] & LOADED:
            raise Refused("it rests on a failure that is not kept, or is untracked")
        info = core.bound[graph.query[node]]
        assert info is not None
        data = None
        held = graph.values[node]
        if flags & ERROR:
            data = getattr(held, "data", None)
            if data is None or getattr(held, "ring", ()):
                raise Refused("it fails in a way that only one process can hold")
        elif not flags & UNSTORED and not flags & PINNED:
            data = info.codec.encode(recall(core, node))
        return Record(
            node,
            info.name,
            canonical.canonical(core.args_of(node)),
            flags,
            graph.durability[node],
            graph.cost[node],
            graph.fingerprint[node],
            tuple(graph.dependencies[node] or ()),
            data,
            core.observed.get(node),
        )


class Refused(Exception):
    """The parent has to compute this itself; `for_all`: all keys of this query."""

    def __init__(self, why: str, *, for_all: bool = False) -> None:
        super().__init__(why)
        self.for_all = for_all


def _import(name: str, file: str) -> None:
    """Import a module by name, or where that brings another file, from its file under that name."""
    if name in sys.modules:
        return
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is not None and found.origin is not None and os.path.samefile(found.origin, file):
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def read_message(source: BinaryIO) -> bytes | None:
    """The next message; None at the end."""
    head = source.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "little")
    data = source.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent decides
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what queries print must not get between the messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    data = read_message(source)
    if data is None:
        return
    setup = decode_setup(data)
    sys.path[:] = list(setup.path)
    os.chdir(setup.root)
    worker = Worker(setup)
    while (data := read_message(source)) is not None:
        answer: Any
        try:
            answer = worker.run(decode_batch(data))
        except Exception as error:  # of an import, say: told, and the parent does the work
            count = len(decode_batch(data).units)
            why = f"{type(error).__name__}: {error}"
            answer = Answer((), (0,) * count, tuple((at, why, True) for at in range(count)))
        sink.write(framed(answer))
        sink.flush()


if __name__ == "__main__":
    main()
