"""Seal: proof that the main database file is byte for byte what our last checkpoint left.

SQLite checks the frames of its WAL but not the pages of the main file: a flipped bit there was wrong
data, unseen, in 1,497 of 2,000 trials. Only a checkpoint changes the main file, and only we checkpoint,
so its digest can be kept beside it and compared at every open, or soon after it (proof). To read a large file
each time takes too long: the seal has its stamp, too, and a file that still has it is as it was left.

Invariants
    Z1  The seal is removed before a checkpoint begins and written after it has completed, never after a
        partial one (a WAL that is damaged later could not be taken back).
    Z2  Every commit names the seal that it rests on (`state.base`). A WAL that names another one
        belongs to another file: a stale copy, or a store that was copied while it was written.
    Z3  A seal that is missing, unequal or no file of ours is no reason to refuse: the audit decides (repair).
        One that the disk does not give is: without it, a log of another file counts as damage to this one.
        So it need not be on the disk when it is written: what a power cut leaves costs an audit at most.
    Z4  A stamp vouches for a file until the system starts anew (what was written may not have come to the
        disk), for a day (disks forget, too), and if the clock of the file system went on between the last
        write and the seal (else one more write would have the same stamp; as git has it, racy-git.txt). It is
        taken before the digest is.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

from engine.store.directory import write_whole
from engine.store.failures import PASSING

BASE_BYTES = 16  # of the digest, in `state.base`
VOUCHES_SECONDS = 86_400.0  # how long a stamp does
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")  # another text whenever Linux starts

_FORMAT = re.compile(
    rb"engine store seal 1\nversion (\d{1,9})\nsize (\d{1,18})\nblake3 ([0-9a-f]{64})\nstate ([0-9a-f]{32})\n"
    rb"(?:stamp ([0-9a-f-]{1,64} \d{1,20} -?\d{1,20} (-?\d{1,20}))\n)?"
)


class Seal(NamedTuple):
    version: int  # user_version of the sealed file
    size: int  # bytes
    digest: bytes  # blake3 of the whole file, 32 bytes
    state: bytes  # checksum of the state row in it: names the commit
    stamp: bytes = b""  # of the file as it was read, see `stamp_of`; b"" where it vouches for nothing (Z4)

    @property
    def base(self) -> bytes:
        return self.digest[:BASE_BYTES]


def read_seal(path: Path) -> Seal | None:
    """The seal, or None when there is none that can be read. OSError: the disk or the system failed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(fd, 1000)
            sealed_at = os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)
    except OSError as error:  # missing, a link, a socket: all the same, see Z3
        if error.errno in PASSING:
            raise
        return None
    match = _FORMAT.fullmatch(data)
    if match is None:
        return None
    version, size, digest, state, stamp, changed_at = match.groups()
    fresh = 0 <= time.time() - sealed_at / 1e9 < VOUCHES_SECONDS and int(changed_at or sealed_at) < sealed_at
    return Seal(
        int(version),
        int(size),
        bytes.fromhex(digest.decode()),
        bytes.fromhex(state.decode()),
        stamp if stamp and fresh else b"",
    )


def write_seal(path: Path, seal: Seal) -> None:
    """Put a seal in place, see `write_whole`."""
    text = (
        f"engine store seal 1\nversion {seal.version}\nsize {seal.size}\n"
        f"blake3 {seal.digest.hex()}\nstate {seal.state.hex()}\n"
    ).encode()
    write_whole(path, text + b"stamp %s\n" % seal.stamp if seal.stamp else text)


def remove_seal(path: Path) -> None:
    path.unlink(missing_ok=True)


def stamp_of(fd: int) -> bytes:
    """What is another one when somebody wrote to the file, or put another in its place, or the system started
    anew; b"" where that is not known, as on macOS."""
    try:
        boot = BOOT.read_bytes().strip()
    except OSError:
        return b""
    found = os.fstat(fd)
    return b"%s %d %d %d" % (boot, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
