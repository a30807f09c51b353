"""Directory: the private directory of a store, and the names of the files in it.

Invariants
    P1  The directory belongs to us and nobody else may write to it; what we create is 0700 and 0600.
    P2  Nothing outside the directory is written.
    P3  Nothing is deleted but half-made files of ours; what does not fit is renamed (aside).
"""

from __future__ import annotations

import os
import shlex
import stat
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
    def untold(self) -> Path:
        """Notes of what was set aside that nobody has been told yet: see aside."""
        return self.directory / "store.untold"

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


def sweep(files: Files) -> None:
    """Remove what an interrupted creation left. Only for who holds the lock."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        files.new.with_name(files.new.name + suffix).unlink(missing_ok=True)
    for path in (files.seal, files.untold):
        _beside(path).unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, lasting: bool = False) -> None:
    """Write it beside and rename it, so that a reader sees a whole one or none.

    After a power cut it may be empty, unless it is `lasting`: then the disk has the data when this returns.
    """
    beside = _beside(path)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        if lasting:
            os.fsync(fd)
    os.replace(beside, path)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".new")
