"""Every message a user can see, one class per case: headline, fields, what to do.

Invariants
    E3  Each class states the exit code that the command line answers with: those of `message`.
"""

from __future__ import annotations

import graphlib

from engine.message import (
    EXIT_BAD_REQUEST,
    EXIT_BUG,
    EXIT_CANNOT_WRITE,
    EXIT_FORMAT,
    EXIT_IN_USE,
    EXIT_QUERY_FAILED,
    EngineError,
)

# -- asking for the wrong thing ------------------------------------------------------------------


class UnknownQuery(EngineError):
    headline = "no such query"
    hint = "Name it as MODULE:QUERY, where MODULE is a file or an importable module."


class UnknownSymbol(EngineError):
    headline = "no definition of this project can be meant"
    hint = "Look for it: engine graph definitions NAME --starting, or engine search WORDS."


class UnknownFile(EngineError):
    headline = "this project has no such Python file"
    hint = "Name a .py or .pyi file below the root that no .gitignore excludes."


class BadArguments(EngineError):
    headline = "these arguments do not fit the query"


class BadQuery(EngineError):
    """Raised when a query is defined, not when it runs."""

    headline = "this function cannot be a query"


class BadTable(EngineError):
    """Raised when a table or a fold is defined, or at its first use."""

    headline = "this cannot be a table or a fold"


class BadLookup(EngineError):
    headline = "a table cannot be looked up like this"


class BadCursor(EngineError):
    headline = "changes cannot be told from this place on"


class BadSearch(EngineError):
    headline = "this cannot be searched for"
    hint = 'Words, "a phrase", beg*, AND, OR, NOT, NEAR(a b), name:word. All else in double quotes: "a.b".'


class BadModule(EngineError):
    headline = "the rule module could not be loaded"


class NothingVerified(EngineError):
    headline = "nothing was compared"
    hint = "Name their modules, as in: engine verify --rules rules.py. The setting rules does it for good."


class BadSettings(EngineError):
    headline = "the configuration is not valid"


class BadFold(BadQuery):
    """Raised when a fold is defined: its `into` is not an accumulator, and the fields say what is missing."""

    headline = "a fold cannot reduce into this"
    hint = "Give it zero, add, remove and result; or empty, lift, merge and result, to be merged only."


class NotAnInput(EngineError):
    headline = "only inputs can be set or reset"


class Closed(EngineError):
    headline = "the engine, the watch or the snapshot is closed"
    hint = "Open it again with Engine(...)."
    exit_code = EXIT_BUG


class ForkedEngine(EngineError):
    headline = "the engine was opened by another process"
    hint = "A connection to a store does not survive fork(): open a new Engine in the child."
    exit_code = EXIT_BUG


class ChangedInsideQuery(EngineError):
    headline = "a query tried to change an input"
    hint = "Queries are pure functions: set inputs from outside, before or after get()."
    exit_code = EXIT_QUERY_FAILED


# -- while queries run ---------------------------------------------------------------------------


class CycleError(EngineError, graphlib.CycleError):
    """A key needs itself. `path` holds the display names in order; the last one repeats the first."""

    headline = "a query needs its own answer"
    hint = "Break the loop: let one of these queries read something smaller."
    exit_code = EXIT_QUERY_FAILED

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        shown = path if len(path) <= 20 else (*path[:10], f"… {len(path) - 20} more …", *path[-10:])
        super().__init__(cycle=" -> ".join(shown))
        self.args = (self.headline, list(path))  # the shape graphlib documents


class DepthLimit(EngineError):
    headline = "queries are nested too deeply"
    hint = "Let the chain be computed from the bottom up, or open the engine with a larger depth_limit."
    exit_code = EXIT_QUERY_FAILED


NO_RECORD = "it is neither a builtin value nor an instance of a record class"
READ_ONCE = "it can be read only once"


class UnstorableValue(EngineError):
    """The value has no canonical bytes. It still works in memory until the process ends."""

    headline = "the value of this query cannot be stored"
    hint = "Return builtins, attrs or dataclass values, enums, dates or paths, or say persist=False."
    exit_code = EXIT_QUERY_FAILED


class NoJson(EngineError):
    headline = "this value has no form in JSON"
    hint = "Return records, and mappings with texts as keys. engine run without --json shows any value."
    exit_code = EXIT_QUERY_FAILED


class WrongValue(EngineError):
    headline = "a query returned something other than its annotation says"
    hint = "Correct the return annotation or the returned value."
    exit_code = EXIT_QUERY_FAILED


class WrongColumn(WrongValue):
    """Raised where a table is looked up by a value of another type than the column's."""

    headline = "no row of this table can have such a value"
    hint = "Look for a value of the column's type."
    exit_code = EXIT_BAD_REQUEST


class WrongInput(WrongValue):
    headline = "an input was set to something other than its annotation says"
    hint = "Set a value of that type, or correct the annotation."
    exit_code = EXIT_BAD_REQUEST


class UnfoldableValue(EngineError):
    """A member's value cannot go into the fold, or not together with the others."""

    headline = "these values cannot be folded"
    hint = "Fold a query whose value for every key can go into it, or fold into something else."
    exit_code = EXIT_QUERY_FAILED


class EmptyFold(EngineError):
    headline = "a fold without members has no smallest or largest value"
    hint = "Say which value to give then: Min(default=...), Max(default=...)."
    exit_code = EXIT_QUERY_FAILED


class UnkeyableArgument(BadArguments):
    headline = "this argument cannot be part of a key"
    hint = "Pass builtins, tuples, frozensets, enums, paths, or frozen attrs and dataclass values."


class Transient(Exception):
    """Raise it for a failure that is not to be kept: the query runs again at the next request.

    `OSError`, `MemoryError` and `TimeoutError` count as transient too, wherever they are raised.
    """


class QueryTakenOver(BadQuery, Transient):
    """Of a definition whose name stands for another one. Not kept: a reload may bring it back as it was."""


class NoFingerprint(BadQuery, Transient):
    """Of a query whose code cannot be compared. Not kept: that of another definition may be."""

    hint = 'Say what counts as its code: code="version", version="1".'


class TableTakenOver(BadTable, Transient):
    """The same of a table or a fold."""


class NotImportable(BadQuery, Transient):
    """Of a query that says workers="process". Not kept: without processes the same key has a value."""


class WrongCount(EngineError):
    """Of a query with `batch=`."""

    headline = "this query returned more or fewer values than it was given keys"
    hint = "Return one value for each key, in the order of the keys."
    exit_code = EXIT_QUERY_FAILED


class WorkerLost(EngineError, Transient):
    """Not kept: the next request tries again."""

    headline = "the process that computed this key was lost, twice"
    hint = 'Look for what kills it: memory, os._exit, a crash of C code. workers="inline" runs it here.'


class TimedOut(EngineError, Transient):
    """Not kept: the next request tries again."""

    headline = "this key took longer than its timeout allows"
    hint = "Let it do less, or raise its timeout=. The next request tries again."


class ChangedWhileRead(Transient):
    """An input kept changing while it was read."""


class Cancelled(BaseException):
    """The revision moved on while a query ran; the computation unwinds and caches nothing.

    Not an `Exception`, so that `except Exception` inside a query does not swallow it. `Engine.get`
    catches it and starts again in the new revision.
    """


# -- the store -----------------------------------------------------------------------------------


class StoreError(EngineError):
    headline = "the store cannot be used"
    exit_code = EXIT_CANNOT_WRITE


class StoreInUse(StoreError):
    headline = "the store is in use"
    hint = "Wait for it to end, or read with read_only=True."
    exit_code = EXIT_IN_USE


class StoreTooNew(StoreError):
    headline = "the store was written by a newer version of the engine"
    hint = "Upgrade the engine, or use another store directory. Nothing was changed."
    exit_code = EXIT_FORMAT


class StoreForeign(StoreError):
    headline = "this file is not a store of the engine"
    hint = "Name another directory, or move the file away. Nothing was changed."
    exit_code = EXIT_FORMAT


class StoreUnsafe(StoreError):
    headline = "the store directory is not private"


class StoreFull(StoreError):
    headline = "the store could not be written: no space left"
    hint = "Answers stay right from memory; free some space and the next commit saves them."


class StoreReadOnly(StoreError):
    headline = "the store cannot be written"
    hint = "Answers are computed but not saved. Check the permissions, or name another store."


class SnapshotLost(EngineError):
    """The content of an input is needed as it was, and was neither stored nor kept in memory."""

    headline = "the old content of an input is no longer known"
    hint = "Ask the snapshot before the change, or let the input be stored (persist=True)."


class CannotAnswer(EngineError):
    headline = "the answer could not be written to standard output"
    hint = "What was computed is kept: run it again with room for the answer."
    exit_code = EXIT_CANNOT_WRITE


class CannotExport(StoreError):
    headline = "the file for the rows cannot be made"
    hint = "Make room there, or name a file in a directory that can be written to."


class StoreDamaged(StoreError):
    """Raised inside, when a row does not match its checksum; the engine rebuilds and says so."""

    headline = "the store is damaged"
    hint = "Open it for writing once (any `engine run`): it is set aside, and everything is computed again."


class CannotWatch(EngineError):
    headline = "the system refuses to watch more directories"
    hint = "Every file is looked at instead, every few seconds."


class BadEvent(EngineError):
    headline = "this is not an event of a watch"
    hint = "Was it written by another version of the engine? The field `schema` says which form it has."


class RootGone(EngineError):
    """Nothing can be said of the files while their root is gone."""

    headline = "the root is gone"
    hint = "Put it back: the watch goes on by itself then. Or end the watch."
