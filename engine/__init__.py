"""Incremental computation: queries whose values are recomputed only when their inputs really changed.

Queries are plain typed functions; what they read is recorded while they run. Values, revisions and edges
live in one SQLite file. After a change only the queries that it reaches run again, and an equal value stops
it there. Incremental equals from-scratch.

General layout: `key`, `event`, `errors` and their like are nouns and import nothing of ours; `store` maps
ids to bytes; `query` and `core` with its verbs (locate, mark, verify, execute, advance, persist) are the
engine; `database` is the face; `rules` and `cli` use the face only.
"""

import os as _os
from typing import TYPE_CHECKING, Any

if _os.name != "posix":  # locks, descriptors and signals of Windows are others
    raise ImportError("engine runs on Linux and macOS; on Windows, use it inside WSL")

# A checkout without symlinks (git on Windows) has text files where `store` and `rules` should be linked in;
# then both are found beside this folder. See test_a_checkout_without_symlinks_works.
if not _os.path.isdir(_os.path.join(__path__[0], "store")):
    __path__.append(_os.path.dirname(__path__[0]))

from engine.define import input, query
from engine.durability import Durability
from engine.errors import (
    BadArguments,
    BadCursor,
    BadFold,
    BadLookup,
    BadModule,
    BadQuery,
    BadSettings,
    BadTable,
    Cancelled,
    ChangedInsideQuery,
    ChangedWhileRead,
    Closed,
    CycleError,
    DepthLimit,
    EmptyFold,
    ForkedEngine,
    NotAnInput,
    NotImportable,
    RootGone,
    SnapshotLost,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreInUse,
    StoreReadOnly,
    StoreTooNew,
    StoreUnsafe,
    TimedOut,
    Transient,
    UnfoldableValue,
    UnkeyableArgument,
    UnknownQuery,
    UnstorableValue,
    WorkerLost,
    WrongCount,
    WrongValue,
)
from engine.frame import root
from engine.key import Key
from engine.message import EngineError
from engine.query import Input, Query, each

if TYPE_CHECKING:
    from engine.database import Engine
    from engine.event import Counts, Event, What
    from engine.explain import Why
    from engine.reader import View
    from engine.subscribe import Subscription
    from engine.tables.accumulate import Associative, Count, Invertible, Max, Merge, Min, Set, Sum
    from engine.tables.audit import Audit
    from engine.tables.changes import Delta
    from engine.tables.fold import Fold, fold
    from engine.tables.lookup import MemberFailure
    from engine.tables.table import Table, table
    from engine.value_changes import NewValue
    from engine.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "Associative",
    "Audit",
    "BadArguments",
    "BadCursor",
    "BadFold",
    "BadLookup",
    "BadModule",
    "BadQuery",
    "BadSettings",
    "BadTable",
    "Cancelled",
    "ChangedInsideQuery",
    "ChangedWhileRead",
    "Closed",
    "Count",
    "Counts",
    "CycleError",
    "Delta",
    "DepthLimit",
    "Durability",
    "EmptyFold",
    "Engine",
    "EngineError",
    "Event",
    "Fold",
    "ForkedEngine",
    "Input",
    "Invertible",
    "Key",
    "Max",
    "MemberFailure",
    "Merge",
    "Min",
    "NewValue",
    "NotAnInput",
    "NotImportable",
    "Query",
    "RootGone",
    "Set",
    "SnapshotLost",
    "StoreDamaged",
    "StoreError",
    "StoreForeign",
    "StoreFull",
    "StoreInUse",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnsafe",
    "Subscription",
    "Sum",
    "Table",
    "TimedOut",
    "Transient",
    "UnfoldableValue",
    "UnkeyableArgument",
    "UnknownQuery",
    "UnstorableValue",
    "Verification",
    "View",
    "What",
    "Why",
    "WorkerLost",
    "WrongCount",
    "WrongValue",
    "__version__",
    "each",
    "fold",
    "input",
    "query",
    "root",
    "table",
]

# Where these live: modules that define rules are imported without the engine that runs them (60 ms less).
_LATE = {
    "Associative": "engine.tables.accumulate",
    "Audit": "engine.tables.audit",
    "Count": "engine.tables.accumulate",
    "Counts": "engine.event",
    "Delta": "engine.tables.changes",
    "Engine": "engine.database",
    "Event": "engine.event",
    "Fold": "engine.tables.fold",
    "Invertible": "engine.tables.accumulate",
    "Max": "engine.tables.accumulate",
    "MemberFailure": "engine.tables.lookup",
    "Merge": "engine.tables.accumulate",
    "Min": "engine.tables.accumulate",
    "NewValue": "engine.value_changes",
    "Set": "engine.tables.accumulate",
    "Subscription": "engine.subscribe",
    "Sum": "engine.tables.accumulate",
    "Table": "engine.tables.table",
    "Verification": "engine.verification",
    "View": "engine.reader",
    "What": "engine.event",
    "Why": "engine.explain",
    "fold": "engine.tables.fold",
    "table": "engine.tables.table",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATE[name]), name)
    return value
