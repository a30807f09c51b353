"""Blocks: summaries of runs of members in key order, as rows of a balanced tree that is kept by deltas.

A member's level is drawn from the hash of its key: one in `FAN_OUT` reaches the next, as in a skip list.
On level 0 the entries are the members; a member of level 1 or more begins a new block there. Each block is
one entry of level 1, where members of level 2 or more begin new blocks; and so on, until one block is left.

Invariants
    B1  The rows depend on the members alone, not on how they came to be: each key decides by its own hash
        where blocks begin. So a merge that is only nearly associative still gives one answer.
    B2  A block is named by its level and the key that begins it, or b"" before the first such key. It holds
        the key and the summary of each entry, so it is computed anew from one row.
    B3  The top is the lowest level with one block. The row `TOP` says which level that is, and the summary of
        all. Without members there are no rows.
    B4  An update reads and writes each block at most once, in one `read` for each level; it changes `written`
        only at its end, so an update that raises has changed nothing.

Blocks have `FAN_OUT` entries on average and their lengths are geometric: among 12,500 blocks the longest has
some 75. Only keys that were chosen for their hashes could make longer ones.

Sources of the ideas: skip lists (Pugh), Merkle search trees (Auvolat and Taïani), prolly trees.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from blake3 import blake3

from engine.errors import StoreDamaged

FAN_OUT_BITS = 3  # bits of hash that a level costs
FAN_OUT = 1 << FAN_OUT_BITS  # entries of a block: 4 touch more rows for each change, 16 merge more entries
MAX_LEVEL = 20  # 8**20 is more members than there can be; it bounds the rows that one chosen key can make
Address: TypeAlias = tuple[int, bytes]
"""Level and first key of a block: the name of its row."""
TOP: Address = (255, b"")  # beyond all levels, and still one byte
# What a fold keeps beside the tree, which is never that high.
STATE: Address = (254, b"")  # of an invertible accumulator
FAILING: Address = (253, b"")  # members that fail
WAITING: Address = (252, b"")  # changes that are not in the state or the tree yet
Entries: TypeAlias = dict[bytes, bytes]
"""Key to summary, in the order of the keys."""
_Seek: TypeAlias = tuple[bytes, Callable[[list[bytes], bytes], int]]

_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(Entries).decode
_decode_top = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def level_of(key: bytes) -> int:
    """How many levels a key begins blocks on: 0 for most, 1 or more for one in `FAN_OUT`, and so on.

    The empty key is always in the first block of a level, so it begins none.
    """
    if not key:
        return 0
    drawn = int.from_bytes(blake3(key).digest(8), "big")
    zeros = (drawn & -drawn).bit_length() - 1
    return min(zeros // FAN_OUT_BITS, MAX_LEVEL) if drawn else MAX_LEVEL


class Blocks:
    """The tree over rows that the caller keeps. Holds nothing itself but the rows not committed yet.

    `read` gets addresses and answers with those rows that exist (a row of b"" counts as none). `combine`
    gets the summaries of one or more neighbours in key order and gives that of all of them; it is not asked
    for a single one. It must be a function: the same summaries, the same bytes.

    `written` maps addresses to new rows, b"" for one to delete. The caller commits them, clears `written`
    when `read` knows them, or clears it to take the updates back.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Address]], Mapping[Address, bytes]],
        combine: Callable[[Sequence[bytes]], bytes],
    ) -> None:
        self._read = read
        self._combine = combine
        self.written: dict[Address, bytes] = {}

    def root(self) -> bytes | None:
        """The summary of all members in key order, None if there are none. One row is read."""
        return self._top()[1]

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Put summaries of members in place, by key; None takes a member out, if it is there.

        Costs O(log n) rows for one change, and for many as many as the blocks above them; one key that begins
        blocks on many levels costs two rows on each. Raises what `combine` and `read` raise, and
        `StoreDamaged` when rows do not fit together.
        """
        if not changes:
            return
        height, summary = self._top()
        drawn = {key: level_of(key) for key in changes}
        old = self._descend(height, changes, drawn)
        rows: dict[Address, bytes] = {}
        heads: list[Entries] = []  # the first block of each level, as it is now
        above: Mapping[bytes, bytes | None] = changes
        while above:
            level = len(heads)
            before = old[level] if level <= height else {b"": {}}
            blocks = _rearranged(before, above, {key for key in above if drawn.get(key, 0) > level})
            heads.append(blocks.get(b"", {}))
            gone = [start for start, entries in before.items() if entries and start not in blocks]
            rows.update({(level, start): b"" for start in gone})
            changed: dict[bytes, bytes | None] = dict.fromkeys(gone)
            grows = level >= height and len(blocks) > 1  # the level above is new, and needs them all
            for start, entries in blocks.items():
                if before.get(start) != entries:
                    rows[level, start] = _encode(entries)
                elif not grows:
                    continue
                changed[start] = self._summary(entries)
            above = changed
            if above and level >= height and blocks.keys() <= {b""}:  # one block is left, or none
                height, summary = self._lowest(heads, rows)
                rows[TOP] = b"" if summary is None else _encode((height, summary))
                above = {}
        self.written |= rows

    def check_invariants(self) -> set[Address]:
        """Read every row and compare with what the members say; the addresses of all rows that there are.

        O(n). Raises `StoreDamaged` where something differs.
        """
        height, summary = self._top()
        if height < 0:
            return set()
        seen = {TOP}
        blocks = self._load(height, [b""])
        _check(self._summary(blocks[b""]) == summary, "the summary of all")
        _check(height == 0 or list(blocks[b""]) != [b""], "the height")
        for level in range(height, -1, -1):
            seen |= {(level, start) for start in blocks}
            entries = {key: data for block in blocks.values() for key, data in block.items()}
            _check(list(entries) == sorted(entries), "the order of keys")
            for start, block in blocks.items():
                begins = [key for key in block if level_of(key) > level]
                _check(begins == ([start] if start else []) and next(iter(block)) >= start, "a block's begin")
            _check(level == 0 or all(not key or level_of(key) >= level for key in entries), "a key's level")
            if level:
                blocks = self._load(level - 1, list(entries))
                for start, data in entries.items():
                    _check(self._summary(blocks[start]) == data, "a block's summary")
        return seen

    # -- down ------------------------------------------------------------------------------------

    def _descend(
        self, height: int, changes: Mapping[bytes, bytes | None], drawn: Mapping[bytes, int]
    ) -> list[dict[bytes, Entries]]:
        """The blocks that changes can touch, for each level by their first keys."""
        found: list[dict[bytes, Entries]] = [{} for _ in range(height + 1)]
        seeks: list[_Seek] = [(key, bisect_right) for key in changes]
        # What follows a key that begins a block joins the block before, when the key goes.
        seeks += [(key, bisect_left) for key, data in changes.items() if data is None and drawn[key]]
        through = {b"": seeks}
        for level in range(height, -1, -1):
            has_head = level == height or b"" in found[level + 1].get(b"", ())
            blocks = self._load(level, [start for start in through if start or has_head])
            found[level] = blocks
            if not has_head and b"" in through:
                blocks[b""] = {}
            if not level:
                break
            below: dict[bytes, list[_Seek]] = {}
            for start, here in through.items():
                keys = list(blocks[start])
                for key, bisect in here:
                    index = bisect(keys, key)
                    below.setdefault(keys[index - 1] if index else b"", []).append((key, bisect))
            through = below
        return found

    def _load(self, level: int, starts: list[bytes]) -> dict[bytes, Entries]:
        rows = self._rows([(level, start) for start in starts])
        try:
            blocks = {start: _decode_entries(rows[level, start]) for start in starts}
        except (KeyError, msgspec.DecodeError) as error:
            raise StoreDamaged(reason=f"a block of a fold is missing or damaged on level {level}") from error
        _check(all(blocks.values()), "an empty block")
        return blocks

    def _top(self) -> tuple[int, bytes | None]:
        """Height of the tree and summary of all; -1 and None without members."""
        row = self._rows([TOP]).get(TOP)
        if row is None:
            return -1, None
        try:
            return _decode_top(row)
        except msgspec.DecodeError as error:
            raise StoreDamaged(reason="the top block of a fold") from error

    def _rows(self, addresses: list[Address]) -> dict[Address, bytes]:
        elsewhere = [address for address in addresses if address not in self.written]
        rows = dict(self._read(elsewhere)) if elsewhere else {}
        rows |= {address: self.written[address] for address in addresses if address in self.written}
        return {address: row for address, row in rows.items() if row}

    # -- up --------------------------------------------------------------------------------------

    def _summary(self, entries: Entries) -> bytes:
        summaries = list(entries.values())
        return summaries[0] if len(summaries) == 1 else self._combine(summaries)

    def _lowest(self, heads: list[Entries], rows: dict[Address, bytes]) -> tuple[int, bytes | None]:
        """The top as it is now (B3). Levels that only hold the first block of the one below go.

        They lost the last key that reached them; below, its block joined the first one, which is in `heads`.
        """
        while heads:
            level = len(heads) - 1
            entries = heads.pop()
            if entries and (not level or list(entries) != [b""]):
                return level, self._summary(entries)
            rows[level, b""] = b""
        return -1, None


def _rearranged(
    before: Mapping[bytes, Entries], changes: Mapping[bytes, bytes | None], begins: set[bytes]
) -> dict[bytes, Entries]:
    """The touched blocks of one level with their changes, by first keys; `begins` may begin new ones.

    What was in a block whose first key goes joins the block before, which is touched too (`_descend`).
    """
    whole: dict[bytes, Entries] = {}
    last = b""
    for start in sorted(before):
        if not start or changes.get(start, b"") is not None:
            last = start
            whole[last] = {}
        whole[last].update(before[start])
    starts = list(whole)
    cuts: dict[bytes, list[bytes]] = {start: [] for start in starts}
    for key in sorted(changes):
        data = changes[key]
        start = starts[bisect_right(starts, key) - 1]
        if data is None:
            whole[start].pop(key, None)
        else:
            whole[start][key] = data
            if key in begins and key != start:
                cuts[start].append(key)
    blocks: dict[bytes, Entries] = {}
    for start, entries in whole.items():
        ordered = sorted(entries.items())
        bounds = [0, *(bisect_left(ordered, (cut,)) for cut in cuts[start]), len(ordered)]
        for first, low, high in zip([start, *cuts[start]], bounds, bounds[1:], strict=False):
            if low < high:
                blocks[first] = dict(ordered[low:high])
    return blocks


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise StoreDamaged(reason=f"{what} in the blocks of a fold")
