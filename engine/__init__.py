"""Incremental computation: queries whose values are recomputed only when their inputs really changed.

Queries are plain typed functions; what they read is recorded while they run. Values, revisions and edges
live in one SQLite file. After a change only the queries that it reaches run again, and an equal value stops
it there. Incremental equals from-scratch.

General layout: `key`, `event`, `errors` and their like are nouns and import nothing of ours; `store` maps
ids to bytes; `query` and `core` with its verbs (locate, mark, verify, execute, advance, persist) are the
engine; `database` is the face; `rules` and `cli` use the face only.
"""

from engine.database import Engine, View
from engine.durability import Durability
from engine.errors import (
    BadArguments,
    BadModule,
    BadQuery,
    BadSettings,
    Cancelled,
    ChangedInsideQuery,
    ChangedWhileRead,
    Closed,
    CycleError,
    DepthLimit,
    EngineError,
    ForkedEngine,
    NotAnInput,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreInUse,
    StoreReadOnly,
    StoreTooNew,
    StoreUnsafe,
    Transient,
    UnkeyableArgument,
    UnknownQuery,
    UnstorableValue,
    WrongValue,
)
from engine.event import Counts, Event, What
from engine.explain import Why
from engine.frame import root
from engine.key import Key
from engine.query import Input, Query, each, input, query
from engine.subscribe import Subscription

__version__ = "0.1.0"

__all__ = [
    "BadArguments",
    "BadModule",
    "BadQuery",
    "BadSettings",
    "Cancelled",
    "ChangedInsideQuery",
    "ChangedWhileRead",
    "Closed",
    "Counts",
    "CycleError",
    "DepthLimit",
    "Durability",
    "Engine",
    "EngineError",
    "Event",
    "ForkedEngine",
    "Input",
    "Key",
    "NotAnInput",
    "Query",
    "StoreDamaged",
    "StoreError",
    "StoreForeign",
    "StoreFull",
    "StoreInUse",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnsafe",
    "Subscription",
    "Transient",
    "UnkeyableArgument",
    "UnknownQuery",
    "UnstorableValue",
    "View",
    "What",
    "Why",
    "WrongValue",
    "__version__",
    "each",
    "input",
    "query",
    "root",
]
