"""The store: ids to bytes, kept in one SQLite file. It calls no query.

    with open_store(Path(".engine")) as store:
        store.write(Batch(nodes=[...], state=State(...)))
        store.find(query, args)

Reads and writes rows (rows.py) through `Store` (sqlite.py). What a directory may hold and what happens
to damaged, foreign or newer files is decided in opening.py; docs/store.md describes the file itself.
"""

from __future__ import annotations

if __name__ != "engine.store":
    raise ImportError("import it as engine.store: a top-level name `store` belongs to somebody else")

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import StoreError, StoreFull, StoreReadOnly
from engine.store.checksums import fingerprint_of
from engine.store.rows import (
    GROUP_MARKER,
    ROOT_FLAG,
    Batch,
    BlockRow,
    ChangeRow,
    CollectionRow,
    CursorRow,
    EarlierRow,
    Extent,
    InputRow,
    MemberRow,
    MemberRows,
    NodeColumns,
    NodeRow,
    ObservedInput,
    QueryRow,
    RevisionRow,
    State,
    StoredRows,
    VersionRow,
)

if TYPE_CHECKING:
    from engine.store.sqlite import Store

__all__ = [
    "GROUP_MARKER",
    "ROOT_FLAG",
    "Batch",
    "BlockRow",
    "ChangeRow",
    "CollectionRow",
    "CursorRow",
    "EarlierRow",
    "Extent",
    "InputRow",
    "MemberRow",
    "MemberRows",
    "NodeColumns",
    "NodeRow",
    "ObservedInput",
    "QueryRow",
    "RevisionRow",
    "State",
    "Store",
    "StoredRows",
    "VersionRow",
    "fingerprint_of",
    "open_store",
]

AGAIN_SECONDS = 0.1  # before a store that could not be opened for writing is opened for reading


def open_store(
    directory: Path,
    *,
    read_only: bool = False,
    synchronous: Literal["OFF", "NORMAL", "FULL"] = "NORMAL",
    proves_later: bool = False,
) -> Store:
    """Open the store in `directory`, making it if need be. `Store.notes` tells what was found.

    What cannot be written is opened for reading, with a note; StoreReadOnly when there is nothing to read. As
    that is so for as long as it is open, what may pass, such as a full disk, is tried a second time.
    StoreInUse names the process that writes to it; StoreForeign, StoreTooNew and StoreUnsafe say what
    to do; StoreError, that this machine is big-endian. A damaged store is set aside, and the one returned
    is empty.

    With `proves_later`, the file may still be compared with its seal when this returns: see `Store.prove`.
    """
    # Imported here: an engine in memory only needs no sqlite3, which takes 11 ms.
    from engine.store.directory import private_directory
    from engine.store.failures import FULL, NO_WRITING, from_os
    from engine.store.opening import FALLBACK, open_for_reading, open_for_writing
    from engine.store.sqlite import Store

    if synchronous not in ("OFF", "NORMAL", "FULL"):
        raise ValueError(f"synchronous must be OFF, NORMAL or FULL, not {synchronous!r}")
    if sys.byteorder != "little":  # packed ids are written as they lie in memory
        raise StoreError(
            store=directory,
            cause="its numbers are little-endian, those of this machine are not",
            hint="Compute in memory: Engine(None), or --no-store.",
        )
    told: StoreError | None = None
    reason = ""
    for wait in () if read_only else (AGAIN_SECONDS, None):
        try:
            files = private_directory(directory, create=True)
            opened = open_for_writing(files, synchronous, proves_later=proves_later)
            store = Store(opened, read_only=False, synchronous=synchronous)
            try:
                store.make_index()
            except BaseException:
                store.close()
                raise
            return store
        except OSError as error:
            told = from_os(error, directory)
            if error.errno not in (*NO_WRITING, *FULL) or not os.path.exists(directory / "store.db"):
                raise told from error
            reason = error.strerror or str(error)
            passes = error.errno in FULL
        except (StoreReadOnly, StoreFull) as error:
            if not os.path.exists(directory / "store.db"):
                raise
            told, reason = error, error.fields["reason"]
            passes = not isinstance(error.__cause__, OSError) or isinstance(error, StoreFull)
        if wait is None or not passes:
            break
        time.sleep(wait)
    try:
        files = private_directory(directory, create=False)
    except OSError as error:  # a directory above it is not ours to look into
        hint = "Check the permissions, or name another one."
        raise StoreError(directory=directory, reason=error.strerror, hint=hint) from error
    try:
        opened = open_for_reading(files)
    except StoreError:
        if isinstance(
            told, StoreFull
        ):  # say what would help: an older version, say, needs room to be migrated
            raise told from None
        raise
    store = Store(opened, read_only=True, synchronous=synchronous)
    if not read_only:
        store.unwritable = reason
        store.notes.insert(0, FALLBACK.format(reason))
    return store


def __getattr__(name: str) -> object:
    if name == "Store":  # late, as in open_store
        from engine.store.sqlite import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
