"""Aside: what does not fit is renamed, never deleted, and a note says so until somebody has been told.

Invariants
    D1  The note lies in the directory before the first file is renamed, and until `told`: an opening that
        fails or is killed on the way to a new store leaves it to the next one. So does a power cut, where the
        file system keeps the order of renames.
    D2  A note that was written, but whose files were not renamed, is not told.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from engine.store.directory import Files, write_whole


def set_aside(files: Files, notes: list[str], text: str, *said: object) -> None:
    """Rename the database and what SQLite keeps beside it.

    `text` with what is `said` and the new name in it is the note.
    """
    _rename(files, notes, "store.corrupt", (text, *said), files.database, files.wal, files.shm, files.journal)
    files.seal.unlink(missing_ok=True)


def set_aside_beside(files: Files, notes: list[str], text: str, *paths: Path) -> None:
    """Rename files that lie beside the database and do not belong to it."""
    _rename(files, notes, "store.stray", (text,), *paths)


def untold(files: Files) -> dict[str, str]:
    """Notes that nobody has been told yet, by the names that they tell of."""
    try:
        found = json.loads(files.untold.read_bytes())
    except (FileNotFoundError, ValueError):  # there is none, or it is not of ours
        return {}
    there = os.listdir(files.directory)
    notes = found if isinstance(found, dict) else {}
    return {name: str(note) for name, note in notes.items() if _is_taken(name, there)}


def told(files: Files) -> None:
    """Somebody has the notes. Only for who holds the lock."""
    with suppress(OSError):  # then they are told once more
        files.untold.unlink(missing_ok=True)


def _rename(files: Files, notes: list[str], stem: str, parts: tuple[object, ...], *paths: Path) -> None:
    name = _free_name(files, stem)
    text, *said = parts
    note = str(text).format(*said, name)
    write_whole(files.untold, json.dumps({**untold(files), name: note}).encode(), lasting=True)
    for path in paths:
        if os.path.lexists(path):
            os.rename(path, files.directory / (name + path.name.removeprefix(files.database.name)))
    notes.append(note)


def _free_name(files: Files, stem: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    there = os.listdir(files.directory)
    name = f"{stem}-{stamp}"
    count = 1
    while _is_taken(name, there):
        count += 1
        name = f"{stem}-{stamp}.{count}"
    return name


def _is_taken(name: str, there: Collection[str]) -> bool:
    return any(one == name or one.startswith(f"{name}-") for one in there)
