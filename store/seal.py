"""Seal: proof that the main database file is byte for byte what our last checkpoint left.

SQLite checks the frames of its WAL but not the pages of the main file: a flipped bit there was wrong
data, unseen, in 1,497 of 2,000 trials. Only a checkpoint changes the main file, and only we checkpoint,
so its digest can be kept beside it and compared at every open, or soon after it (proof).

Invariants
    Z1  The seal is removed before a checkpoint begins and written after it has completed, never after a
        partial one (a WAL that is damaged later could not be taken back).
    Z2  Every commit names the seal that it rests on (`state.base`). A WAL that names another one
        belongs to another file: a stale copy, or a store that was copied while it was written.
    Z3  A seal that is missing, unequal or no file of ours is no reason to refuse: the audit decides (repair).
        One that the disk does not give is: without it, a log of another file counts as damage to this one.
        So it need not be on the disk when it is written: what a power cut leaves costs an audit at most.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from engine.store.directory import write_whole
from engine.store.failures import PASSING

BASE_BYTES = 16  # of the digest, in `state.base`

_FORMAT = re.compile(
    rb"engine store seal 1\nversion (\d{1,9})\nsize (\d{1,18})\nblake3 ([0-9a-f]{64})\nstate ([0-9a-f]{32})\n"
)


class Seal(NamedTuple):
    version: int  # user_version of the sealed file
    size: int  # bytes
    digest: bytes  # blake3 of the whole file, 32 bytes
    state: bytes  # checksum of the state row in it: names the commit

    @property
    def base(self) -> bytes:
        return self.digest[:BASE_BYTES]


def read_seal(path: Path) -> Seal | None:
    """The seal, or None when there is none that can be read. OSError: the disk or the system failed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(fd, 1000)
        finally:
            os.close(fd)
    except OSError as error:  # missing, a link, a socket: all the same, see Z3
        if error.errno in PASSING:
            raise
        return None
    match = _FORMAT.fullmatch(data)
    if match is None:
        return None
    version, size, digest, state = match.groups()
    return Seal(int(version), int(size), bytes.fromhex(digest.decode()), bytes.fromhex(state.decode()))


def write_seal(path: Path, seal: Seal) -> None:
    """Put a seal in place, see `write_whole`."""
    text = (
        f"engine store seal 1\nversion {seal.version}\nsize {seal.size}\n"
        f"blake3 {seal.digest.hex()}\nstate {seal.state.hex()}\n"
    )
    write_whole(path, text.encode())


def remove_seal(path: Path) -> None:
    path.unlink(missing_ok=True)
