"""Opening: from a directory of doubtful bytes to a connection whose rows can be trusted.

The order: directory, lock, header, seal, schema, version, state, and the audit where the seal is missing.

Invariants
    O1  Nothing of a file is executed or believed before its schema has been compared as text.
    O2  A file of another program or of a newer version is left byte for byte as it was.
    O3  What cannot be trusted is set aside under another name, and one note says what that costs (aside).
    O4  Opening a sealed store reads its bytes once and walks no table; a large one may be read later (proof),
        or not at all (seal Z4).
"""

from __future__ import annotations

import errno
import os
import sqlite3

from engine.errors import StoreDamaged, StoreError, StoreForeign, StoreInUse, StoreTooNew, StoreUnsafe
from engine.store import checksums, directory, repair, rows, schema, seal
from engine.store.aside import set_aside, set_aside_beside, untold
from engine.store.directory import Files
from engine.store.failures import is_doubtful, translated
from engine.store.lock import (
    WriterLock,
    hold_as_reader,
    make_lock_file,
    while_no_writer,
)
from engine.store.merging import Opened, close_unmerged, connect, connect_read_only, create, merge, trust
from engine.store.others import are_ours, commits_of_others, pages_of_all_commits
from engine.store.proof import WORTH_BYTES, Proof, is_as_left
from engine.store.rawfile import RawFile

AGAIN = "everything will be computed again."
REBUILT = "The store was damaged ({}); it was set aside as {} and " + AGAIN
OUTDATED = "The store was of version {}, which cannot be carried over; it was set aside as {} and " + AGAIN
MIGRATED = "The store was migrated from version {} to {}."
AUDITED = "The store was changed from outside or not closed in order; all of it was checked and kept."
STRAY = "Files beside the store did not belong to it; they were set aside as {}."
BEHIND = "The log did not belong to the store and was set aside as {}; what it held will be computed again."
FALLBACK = "The store cannot be written ({}): until it is opened again, answers are computed but not saved."


class _StrayWal(Exception):
    """The WAL belongs to another main file."""


class _Outdated(Exception):
    """A version that no migration leads on from."""


def open_for_writing(
    files: Files, synchronous: str, *, distrust: str = "", proves_later: bool = False
) -> Opened:
    """Take the lock and open, setting aside what is damaged, or all when there is a reason to `distrust`.

    `proves_later`: a file that seems to be as it was sealed is read by a thread (`Opened.proof`).

    OSError: the directory is not writable.
    """
    lock = WriterLock.acquire(files.lock)
    try:
        make_lock_file(files.readers)
        directory.sweep(files)
        notes = [*untold(files).values()]
        if distrust and os.path.lexists(files.database):
            set_aside(files, notes, REBUILT, distrust)
        again = False
        for _ in range(4):  # a stray WAL, then damage, again, then a new store
            _prepare(files, notes)
            try:
                opened = _open_existing(files, synchronous, notes, proves_later=proves_later)
            except _StrayWal:
                set_aside_beside(files, notes, BEHIND, files.wal, files.shm)
            except _Outdated as outdated:
                set_aside(files, notes, OUTDATED, outdated)
            except StoreDamaged as damage:
                if again or not is_doubtful(damage):
                    set_aside(files, notes, REBUILT, reason_of(damage))
                else:
                    again = True
                    repair.read_whole(files)
            else:
                opened.lock = lock
                return opened
        raise StoreDamaged(store=files.database, reason="a new store could not be read back")
    except BaseException:
        lock.release()
        raise


def open_for_reading(files: Files) -> Opened:
    """Open without writing anything, not even a lock. The transaction that fixes the revision is begun."""
    if not os.path.lexists(files.database):
        raise StoreError(store=files.database, reason="there is no store to read")
    with translated(files.database), while_no_writer(files.lock) as alone:
        raw = RawFile.open(files.database)
        held = None
        try:
            held = hold_as_reader(files.readers)
            _check_owner(files, raw, reading=True)
            found = seal.read_seal(files.seal) if alone else None
            sealed = found is not None and found.size == raw.size()
            if found is not None and sealed:
                sealed = is_as_left(raw, found) or found.digest == raw.digest()
            header = _judge(files, raw, found, sealed)
            if header.kind is not schema.Kind.OURS:
                raise StoreDamaged(store=files.database, found=header.what)
            notes = [*untold(files).values()]
            pages = pages_of_all_commits(files) if alone else None
            connection = connect_read_only(files, notes)
            try:
                connection.execute("BEGIN")
                _version(files, connection)
                _check_schema(files, connection, schema.TABLES)
                stored = repair.load_state(connection)
                rests = sealed and found is not None and _rests_on(stored, found, files)
                trusted = not alone or (rests and are_ours(connection, pages))
            except BaseException:
                connection.close()
                raise
        except BaseException:
            raw.close()
            if held is not None:
                held.release()
            raise
    opened = Opened(files, connection, raw, stored, b"", notes, held)
    if not trusted:  # what it reads stays as it is, so a writer need not wait for that
        try:
            with translated(files.database):
                repair.audit(connection)
        except BaseException:
            opened.shut()
            raise
    return opened


# -- the parts, in their order ---------------------------------------------------------------------


def _prepare(files: Files, notes: list[str]) -> None:
    """Make a store where there is none."""
    with translated(files.database):
        try:
            raw = RawFile.open(files.database)
        except FileNotFoundError:
            is_missing, promised = True, False
        else:
            try:
                is_missing = raw.size() == 0
                promised = is_missing and seal.read_seal(files.seal) is not None
            finally:
                raw.close()
        if not is_missing:
            return
        if promised:
            set_aside(files, notes, REBUILT, "the file was empty")
        elif files.wal_size() or os.path.lexists(files.journal):
            stray = (files.wal, files.shm, files.journal)
            set_aside_beside(files, notes, STRAY, *stray)
        create(files)


def _open_existing(files: Files, synchronous: str, notes: list[str], *, proves_later: bool) -> Opened:
    with translated(files.database):
        raw = RawFile.open(files.database)
        proof: Proof | None = None
        locked = False
        try:
            locked = raw.lock()
            if not locked:
                raise StoreInUse(store=files.database, holder="a process that reaches it by a hard link")
            _check_owner(files, raw)
            _check_writable(files)
            found = seal.read_seal(files.seal)
            sealed = found is not None and found.size == raw.size()
            if found is not None and sealed and not is_as_left(raw, found):
                if proves_later and _seems_sealed(files, raw, found):
                    proof = Proof(raw, found)
                else:
                    sealed = found.digest == raw.digest()
            header = _judge(files, raw, found, sealed)
            if os.path.lexists(files.journal) and (sealed or header.is_wal):  # never ours: do not replay it
                set_aside_beside(files, notes, STRAY, files.journal)
            pages = pages_of_all_commits(files)
            connection = connect(files, "mode=rw")
            try:
                opened = Opened(files, connection, raw, _look(files, connection), b"", notes, can_write=True)
                opened.of_others = commits_of_others(connection)
                rests = found is not None and _rests_on(opened.stored, found, files)
                ours = are_ours(connection, pages)
                if proof is not None and not (rests and ours):  # what to do depends on it, at once
                    sealed = proof.holds()
                    proof = None
                if found is not None and sealed:
                    if not rests:
                        raise _StrayWal
                    opened.base = found.base
                if _migrate(opened, synchronous, header.version):
                    audit(opened, is_wal=header.is_wal, migrated=True)
                elif sealed and ours:
                    opened.proof = proof
                else:
                    audit(opened, is_wal=header.is_wal)
            except BaseException:
                close_unmerged(files, connection)
                raise
        except BaseException:
            if proof is not None:
                proof.stop()
            if locked:
                raw.unlock()
            raw.close()
            raise
    return opened


def _seems_sealed(files: Files, raw: RawFile, found: seal.Seal) -> bool:
    """Whether a sealed file would be opened just like this one: then its bytes may be compared later.

    An older version, another journal mode or a journal beside it would be dealt with by writing.
    """
    header = schema.read_header(raw.head())
    is_ours = header.kind is schema.Kind.OURS and header.version == found.version == schema.VERSION
    return is_ours and header.is_wal and raw.size() > WORTH_BYTES and not os.path.lexists(files.journal)


def _judge(files: Files, raw: RawFile, found: seal.Seal | None, sealed: bool) -> schema.Header:
    """What the first bytes say; raise when that is not for us. With a seal beside it, it was ours."""
    header = schema.read_header(raw.head())
    promised = found.version if found is not None and not sealed else schema.VERSION + 1
    is_as_promised = header.kind is not schema.Kind.FOREIGN and header.version == promised
    if promised <= schema.VERSION and not is_as_promised:
        raise StoreDamaged(store=files.database, found=header.what)
    if header.kind in (schema.Kind.FOREIGN, schema.Kind.EMPTY):
        raise StoreForeign(file=files.database, kind=header.what)
    if header.kind is schema.Kind.NEWER:
        raise StoreTooNew(store=files.database, version=header.version, supported=schema.VERSION)
    return header


def _check_owner(files: Files, raw: RawFile, *, reading: bool = False) -> None:
    if raw.owner() != os.geteuid() and not (reading and raw.owner() == 0):
        raise StoreUnsafe(file=files.database, owner=raw.owner(), hint="The file belongs to another user.")


def _check_writable(files: Files) -> None:
    """PermissionError where SQLite would open what it cannot write, and fail at the first commit."""
    if not os.access(files.database, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    for path in (files.wal, files.shm):
        if os.path.lexists(path) and not os.access(path, os.W_OK, effective_ids=True):
            os.chmod(path, 0o600)  # made by a reader while the file was read-only, and given its mode


def _version(files: Files, connection: sqlite3.Connection) -> int:
    """The version as SQLite sees it: a newer engine may have written it to the WAL only."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application & 0xFFFFFFFF != schema.APPLICATION_ID:
        raise StoreDamaged(store=files.database, found=f"application {application:#x}")
    if version > schema.VERSION:
        raise StoreTooNew(store=files.database, version=version, supported=schema.VERSION)
    return int(version)


def _check_schema(files: Files, connection: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    if not schema.same_schema(connection, tables):
        raise StoreDamaged(store=files.database, found="another schema than the engine makes")


def _look(files: Files, connection: sqlite3.Connection) -> rows.StateRow:
    """The state in a file of our version, or of one before, whose schema is as that version makes it."""
    version = _version(files, connection)
    migration = schema.MIGRATIONS.get(version)
    if version < schema.VERSION and migration is None:
        raise _Outdated(version)
    _check_schema(files, connection, schema.TABLES if migration is None else migration.tables)
    return repair.load_state(connection)


def _migrate(opened: Opened, synchronous: str, sealed_version: int) -> bool:
    """Bring an older version to ours. True: the main file is of an older one.

    So it is too where a migration was struck before the log was merged: see
    test_a_migration_that_is_killed_before_its_merge_is_finished_at_the_next_start.
    """
    connection = opened.connection
    first = version = _version(opened.files, connection)
    trust(connection, synchronous)
    while version < schema.VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            schema.MIGRATIONS[version].apply(connection)
            _rest(connection, opened.base)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.rollback()
    if version != first:
        _check_schema(opened.files, connection, schema.TABLES)
        opened.stored = repair.load_state(connection)
    first = min(first, sealed_version)
    if first != version:
        opened.notes.append(MIGRATED.format(first, version))
    return first != version


def _rest(connection: sqlite3.Connection, base: bytes) -> None:
    """Let a commit that changes the tables name the seal that it rests on, as every other does (seal Z2)."""
    after = repair.load_state(connection)._replace(base=base)
    update = "UPDATE state SET base = ?, sum = ? WHERE id = 1"
    connection.execute(update, (base, checksums.state_sum(after)))


def _rests_on(stored: rows.StateRow, found: seal.Seal, files: Files) -> bool:
    """Whether the commit that is seen through the WAL was made on top of the sealed file (seal Z2)."""
    return files.wal_size() == 0 or stored.base == found.base or checksums.state_sum(stored) == found.state


def audit(opened: Opened, *, is_wal: bool = True, migrated: bool = False) -> None:
    """Check everything, then merge and seal, so that the next opening need not."""
    repair.audit(opened.connection)
    opened.audited = True
    if not is_wal:  # somebody changed the journal mode
        opened.connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # Until something has been read, SQLite answers "database table is locked" to a checkpoint.
        opened.connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        opened.of_others = commits_of_others(opened.connection)
    merge(opened)
    if not migrated:
        opened.notes.append(AUDITED)


def reason_of(damage: StoreDamaged) -> str:
    """What a note says of it."""
    found = (f"{name} {text}" for name, text in damage.fields.items() if name != "store")
    return damage.fields.get("reason") or ", ".join(found)
