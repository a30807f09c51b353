"""Opening: from what the host says of an engine to a core over an open store.

Invariants
    O1  Settings are checked before a store is touched.
    O2  Where the graph cannot be read from it, the store is let go.
    O3  What is read here are rows whose checksums hold; that none is missing is known later (see proven).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.core import Core
from engine.errors import BadSettings, StoreDamaged, StoreFull, StoreReadOnly
from engine.history import HISTORY, History
from engine.limits import Limits
from engine.memory import LIMIT, Memory
from engine.persist import open_graph
from engine.recover import start_over
from engine.store import open_store
from engine.tables.kinds import restore_collections

if TYPE_CHECKING:
    from engine.parallel.executor import Executor
    from engine.store.sqlite import Store


def open_core(
    path: str | os.PathLike[str] | None,
    *,
    root: str | os.PathLike[str] | None,
    workers: int,
    processes: int | str,
    executor: Executor | None,
    limits: Mapping[str, int] | None,
    strict: bool,
    read_only: bool,
    depth_limit: int,
    history: int | None,
    max_memory: int | None,
    synchronous: str,
    relax_collector: bool,
) -> Core:
    """The core of an engine with these settings; `Engine` says what they mean."""
    _check_counts(workers=workers, depth_limit=depth_limit)
    if processes not in ("auto", 0):
        _check_counts('It is a whole number, 0 for none, or "auto".', processes=processes)
    if not isinstance(limits or {}, Mapping) or not all(map(_is_count, (limits or {}).values())):
        raise BadSettings(limits=limits, hint='Whole numbers, at least 1, by name: {"gpu": 1}.')
    if path is not None and not os.fspath(path):  # as a path it would be the working directory
        raise BadSettings(store=repr(path), cause="no directory is named", hint="Engine(None) keeps nothing.")
    if history is None:
        history = HISTORY if path is not None else 0
    if not isinstance(history, int) or history < 0:
        raise BadSettings(history=history, hint="It is a whole number, 0 for none.")
    if max_memory is not None:
        _check_counts(max_memory=max_memory)
        if path is None:
            raise BadSettings(max_memory=max_memory, hint="Values that go are read from a store: name one.")
    if root is not None and not os.path.isdir(root):
        cause = "it is not a directory" if os.path.exists(root) else "there is no such directory"
        raise BadSettings(root=Path(root).absolute(), cause=cause, hint="Make it, or name another one.")
    if processes and executor is not None:
        raise BadSettings(processes=processes, executor=executor, hint="One of them computes.")
    if synchronous not in ("NORMAL", "FULL"):
        raise BadSettings(synchronous=synchronous, hint='Say "NORMAL" or "FULL".')
    store = None if path is None else _opened(Path(path), read_only, synchronous)
    place = Path(root) if root is not None else Path(path).absolute().parent if path else Path.cwd()
    place = place.absolute()
    if ".." in place.parts:  # as it is written, no absolute path would seem to be below it
        place = Path(os.path.realpath(place))
    core = Core(store, place, workers=workers, strict=strict, depth_limit=depth_limit)
    core.relaxes_collector = relax_collector
    if core.saves:  # else nobody could read again what was computed here
        core.memory = Memory(LIMIT if max_memory is None else max_memory)
    core.history = History(history) if history else None
    core.limits = Limits(limits or {}, core.claims.released)
    if processes or executor is not None:
        from engine.parallel import for_engine  # late: most engines have no processes

        core.dispatch = for_engine(core, processes, executor)
    if store is not None:
        try:
            _read_graph(core, store)
        except BaseException:
            store.close()
            raise
        core.telling.notes += store.hand_over()
    return core


def _opened(path: Path, read_only: bool, synchronous: str) -> Store:
    full: Literal["FULL", "NORMAL"] = "FULL" if synchronous == "FULL" else "NORMAL"
    try:
        return open_store(path, read_only=read_only, synchronous=full, proves_later=True)
    except (StoreFull, StoreReadOnly) as error:
        cure = "Make room" if isinstance(error, StoreFull) else "Check the permissions"
        error.hint = f"{cure}, or name another store; Engine(None) works without one."
        raise


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _check_counts(hint: str = "It is a whole number, at least 1.", **counts: object) -> None:
    for name, count in counts.items():
        if not _is_count(count):
            raise BadSettings(**{name: count}, hint=hint)


def _read_graph(core: Core, store: Store) -> None:
    try:
        with store.early():
            open_graph(core)
            restore_collections(core)
    except StoreDamaged as damage:
        if store.read_only:
            raise
        # Found by reading, sooner than by the proof. Or it was damaged under the engine that sealed it: see
        # test_a_store_that_was_sealed_with_damage_in_it_is_set_aside.
        start_over(core, damage, core.started_over)
