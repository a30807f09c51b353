"""Stamps: a cheap sign that a file or directory changed, and the rule for when it can be trusted.

Invariants
    S1  A stamp never raises and opens nothing. It covers what the path names and what its links reach.
    S2  Absence has a stamp of its own; so has every other answer that is not a file.
    S3  Stamps are compared for equality, never for order: clocks jump and people set file times.
    S4  A stamp so young that the next write could leave it as it is, is not settled (git's racy rule).

The device number is left out: it changes between boots and between containers, and the change time and
inode already tell two files apart. Three cases are not seen: a directory moved across the root's border, with
a link left in its place, keeps the stamps of the files in it; where times are whole seconds and the clock is
set back, a file may be written again at the very time that its stamp was believed of; and a program that
writes through a memory map gives the file its time when it first writes to a page, not when it goes on.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from functools import lru_cache
from zlib import crc32

from engine import root

# The coarsest clock of a file system in use (FAT) ticks every 2 s; and the kernel's own, which gives files
# their times, is behind ours by up to a tick of 10 ms.
RACY_WINDOW_NS = 2_020_000_000

# Errors of the operating system that are answers about the path, not trouble: they hold until it changes.
ANSWERS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",  # a component of the path is a file, so there is nothing there
    errno.EACCES: "unreadable",
    errno.EPERM: "unreadable",
    errno.ELOOP: "link loop",
    errno.ENAMETOOLONG: "name too long",
    errno.EINVAL: "bad name",
    errno.EILSEQ: "bad name",
}

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFLNK: "symlink",
}

_STATE, _ANSWER, _TROUBLE = b"s", b"a", b"t"  # the first byte of each part of a stamp
_RECORD = struct.Struct("<cIIQQQQ")  # _STATE, mode, reader, mtime_ns, ctime_ns, size, inode
# O_PATH needs no permission to read: names can be looked up in a directory that cannot be listed. Linux only.
_FIND: int = getattr(os, "O_PATH", os.O_RDONLY)
_PATH_MAX = 4096  # bytes of a whole path, with the NUL at its end
_READ = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH  # by everybody: the owner may be let do less than others
_LISTED = _READ | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH  # also what the names in it are of
_U64 = 0xFFFF_FFFF_FFFF_FFFF  # times before 1970 and after 2554 wrap around: only equality counts


def file_stamp(path: str) -> bytes:
    """The stamp of a path below the root: what `sync` compares to see that a file did not change."""
    return stamp_of(f"{root()}/{path}")


def file_stamps(paths: list[str]) -> list[bytes]:
    """`file_stamp` of each of many paths, for the crawl of a whole tree."""
    # Nine tenths of this are the calls of `lstat`, to which a descriptor of the root spares the way there: an
    # eighth. Others were measured, on 100,000 files: a scan of each directory with `DirEntry.stat` (an lstat
    # as well) takes 1.3 to 3 times as long; a descriptor of each directory gains where it holds many files,
    # and loses where few; threads gain nothing.
    base = f"{root()}"
    # A longer one may be too long together with the root's path. A character is at most four bytes.
    longest = max(0, _PATH_MAX - len(os.fsencode(base)) - 2) // 4
    try:
        opened = os.open(base, _FIND | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return [stamp_of(f"{base}/{path}") for path in paths]
    found: list[bytes] = []
    lstat, add = os.lstat, found.append
    try:
        for path in paths:
            if not 0 < len(path) < longest or path[0] == "/":
                add(stamp_of(f"{base}/{path}"))
                continue
            try:
                state = lstat(path, dir_fd=opened)
            except (OSError, ValueError) as error:
                add(_answer_stamp(error))
            else:
                add(stamp_of(f"{base}/{path}") if stat.S_ISLNK(state.st_mode) else record_of(state))
    finally:
        os.close(opened)
    return found


def stamp_of(full: str) -> bytes:
    """The stamp of a path of the operating system."""
    try:
        state = os.lstat(full)
    except (OSError, ValueError) as error:
        return _answer_stamp(error)
    if not stat.S_ISLNK(state.st_mode):
        return record_of(state)
    try:
        reached = record_of(os.stat(full))
    except (OSError, ValueError) as error:
        reached = _answer_stamp(error)
    return record_of(state) + reached


def record_of(state: os.stat_result) -> bytes:
    """The part of a stamp that describes one file: equal records, unchanged file."""
    mode = state.st_mode
    wanted = _LISTED if stat.S_ISDIR(mode) else _READ
    return _RECORD.pack(
        _STATE,
        mode,
        # Where not everybody may read, the answer depends on who asks.
        0 if mode & wanted == wanted else reader_of(os.geteuid()),
        state.st_mtime_ns & _U64,
        state.st_ctime_ns & _U64,
        state.st_size,
        state.st_ino,
    )


@lru_cache(maxsize=8)
def reader_of(user: int) -> int:
    """Who asks: a user (`sudo` after a plain run), and the groups, which one is put into to be let in."""
    # Kept, since this is asked for each file: a process gets its groups when it starts.
    groups = sorted({os.getegid(), *os.getgroups()})
    return crc32(repr((user, groups)).encode()) or 1


def file_size(stamp: bytes) -> int:
    """The size of the regular file that a stamp is of, not by a link; -1 where it is of anything else."""
    if len(stamp) != _RECORD.size:
        return -1
    _, mode, _, _, _, size, _ = _RECORD.unpack(stamp)
    return size if stat.S_ISREG(mode) else -1


def settled(stamp: bytes) -> bool:
    """Whether a stamp proves what it seems to: no write from now on can leave it as it is.

    A write sets the file's times to about now. Times that lie away from now, in the past or in the future,
    cannot come out of a later write; times close to now can, where the clock of the file system is coarse.
    """
    first, count = time.time_ns() - RACY_WINDOW_NS + 1, 2 * RACY_WINDOW_NS - 1  # moments too close to now
    at = 0
    while stamp[at : at + 1] == _STATE:
        _, _, _, modified, changed, _, _ = _RECORD.unpack_from(stamp, at)
        if (modified - first) & _U64 < count or (changed - first) & _U64 < count:
            return False
        at += _RECORD.size
    return stamp[at : at + 1] != _TROUBLE


def kind_of(mode: int) -> str:
    """The word for a file type: "file", "directory", "fifo", "socket", "device", "symlink"."""
    return _KINDS.get(stat.S_IFMT(mode), "device")  # doors, whiteouts: as unreadable as a device


def _answer_stamp(error: OSError | ValueError) -> bytes:
    if isinstance(error, OSError):
        answer = ANSWERS.get(error.errno or 0)
        if answer is None:  # EIO, ESTALE, ...: the read will fail as well, and is not kept
            return _TROUBLE + str(error.errno).encode()
        return _ANSWER + answer.encode()
    return _ANSWER + b"bad name"  # a NUL, or characters that no file name can hold


def mode_in(stamp: bytes) -> int:
    """The mode of what a stamp's path names, links not followed; 0 where there was nothing."""
    if stamp[:1] != _STATE:
        return 0
    mode: int = _RECORD.unpack_from(stamp)[1]
    return mode


def inode_end(inode: int) -> bytes:
    """What the stamp of a path ends with where it reaches the file of this number, through links or not."""
    return _RECORD.pack(_STATE, 0, 0, 0, 0, 0, inode)[-8:]
