"""Shards: reverse indexes without a table, so that one changed entry touches few nodes.

An index from keys (names, paths) to files is built in two steps. Each directory sorts the entries of its own
files into `SHARDS` groups by a hash of the key; a shard then joins one group of every directory. An edit that
adds one entry runs the directory's groups (small; all but one come out equal) and one shard.

Invariants
    H1  The shard of a key depends on its text alone: not on the process, the machine or the hash seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

SHARDS = 64  # a change costs SHARDS small queries and 1/SHARDS of all entries: a balance for 10^5 files

Entry = tuple[str, str]  # key, file


def shard_of(key: str) -> int:
    """The number of the shard that holds a key."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % SHARDS


def joined(groups: Iterable[tuple[Entry, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Entries of many directories as one index: (key, its files), both sorted."""
    index: dict[str, list[str]] = {}
    for group in groups:
        for key, file in group:
            index.setdefault(key, []).append(file)
    return tuple((key, tuple(sorted(files))) for key, files in sorted(index.items()))


def files_of(index: tuple[tuple[str, tuple[str, ...]], ...], key: str) -> tuple[str, ...]:
    """The files of a key in an index, () where it has none."""
    low, high = 0, len(index)
    while low < high:
        middle = (low + high) // 2
        if index[middle][0] < key:
            low = middle + 1
        else:
            high = middle
    return index[low][1] if low < len(index) and index[low][0] == key else ()
