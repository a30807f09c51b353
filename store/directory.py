"""Directory: the private directory of a store, and the names of the files in it.

Invariants
    P1  The directory belongs to us and nobody else may write to it; what we create is 0700 and 0600.
    P2  Nothing outside the directory is written.
    P3  What does not fit is renamed, never deleted, unless it is a half-made file of ours.
"""

from __future__ import annotations

import os
import shlex
import stat
import time
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from engine.errors import StoreError, StoreForeign, StoreUnsafe
from engine.store.failures import NOT_THERE
from engine.store.rawfile import kind_of

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@frozen
class Files:
    """Paths of one store. `directory` is resolved, so that a WAL is found whatever link led here."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "store.db"

    @property
    def wal(self) -> Path:
        return self.directory / "store.db-wal"

    @property
    def shm(self) -> Path:
        return self.directory / "store.db-shm"

    @property
    def journal(self) -> Path:
        return self.directory / "store.db-journal"

    @property
    def seal(self) -> Path:
        return self.directory / "store.seal"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def readers(self) -> Path:
        return self.directory / "lock.readers"

    @property
    def new(self) -> Path:
        """A store that is being made; renamed to `store.db` when it is whole."""
        return self.directory / "store.new"

    @property
    def gitignore(self) -> Path:
        return self.directory / ".gitignore"

    def wal_size(self) -> int:
        """Bytes of the log; 0 where there is none."""
        try:
            return self.wal.stat().st_size
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            return 0

    def uri(self, options: str) -> str:
        return f"{self.database.as_uri()}?{options}"


def private_directory(directory: Path, *, create: bool) -> Files:
    """Check the directory, or make it. StoreUnsafe names the command that makes it private."""
    if directory.is_symlink() and os.lstat(directory).st_uid not in (os.geteuid(), 0):
        raise StoreUnsafe(directory=directory, reason="it is a symbolic link made by another user")
    resolved = Path(os.path.realpath(directory))
    if create:
        resolved.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # what is there is looked at below
            resolved.mkdir(mode=0o700)
    try:
        found = os.lstat(resolved)
    except FileNotFoundError:
        hint = "Nothing was stored there yet, or it is another place."
        raise StoreError(directory=directory, reason="there is no such directory", hint=hint) from None
    if not stat.S_ISDIR(found.st_mode):
        raise StoreForeign(directory=directory, kind=kind_of(found.st_mode))
    if found.st_uid != os.geteuid() and (create or found.st_uid != 0):
        quoted = shlex.quote(str(resolved))
        raise StoreUnsafe(
            directory=resolved,
            owner=found.st_uid,
            hint=f"It belongs to another user. Use another one, or: chown {os.geteuid()} {quoted}",
        )
    if found.st_mode & OTHERS_WRITE:
        raise StoreUnsafe(
            directory=resolved,
            mode=f"{stat.S_IMODE(found.st_mode):04o}, others may write to it",
            hint=f"chmod 700 {shlex.quote(str(resolved))}",
        )
    files = Files(resolved)
    if create and not os.listdir(resolved):  # a directory with other things in it is not ours
        files.gitignore.touch(mode=0o600)
        files.gitignore.write_text("*\n")
    return files


def set_aside(files: Files) -> str:
    """Rename the database and what SQLite keeps beside it; return the new name."""
    name = _free_name(files, "store.corrupt")
    for path, suffix in ((files.database, ""), (files.wal, "-wal"), (files.shm, "-shm")):
        if os.path.lexists(path):
            os.rename(path, files.directory / (name + suffix))
    if os.path.lexists(files.journal):
        os.rename(files.journal, files.directory / (name + "-journal"))
    files.seal.unlink(missing_ok=True)
    return name


def set_aside_beside(files: Files, *paths: Path) -> str:
    """Rename files that lie beside the database and do not belong to it."""
    name = _free_name(files, "store.stray")
    for path in paths:
        if os.path.lexists(path):
            os.rename(path, files.directory / (name + path.name.removeprefix(files.database.name)))
    return name


def sweep(files: Files) -> None:
    """Remove what an interrupted creation left. Only for who holds the lock."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        files.new.with_name(files.new.name + suffix).unlink(missing_ok=True)
    files.seal.with_name(files.seal.name + ".new").unlink(missing_ok=True)


def _free_name(files: Files, stem: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    taken = os.listdir(files.directory)
    name = f"{stem}-{stamp}"
    count = 1
    while any(one == name or one.startswith(f"{name}-") for one in taken):
        count += 1
        name = f"{stem}-{stamp}.{count}"
    return name
