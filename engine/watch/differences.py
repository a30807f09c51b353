"""Differences: what changed in a file between two versions of which only digests are known.

Invariants
    D1  Pure functions of their arguments: no engine, no clock, no file.
    D2  A report names too much where nothing is known of before, or where it would take long to find out.
        It names too little only for lines with equal digests (`rules/lines.py`), and where nothing is known
        of after. So what changed is not whether it changed: a delta may be "changed" and list nothing.
    D3  A definition is not reported while a namesake before had the same text, whatever their order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from attrs import frozen

from engine.rules.lines import DIGEST_BYTES
from engine.rules.python.chunks import MODULE, Chunk
from engine.watch.events import FileDelta

Range = tuple[int, int]
Gap = tuple[int, int, int, int]  # first and last + 1 in the old lines, and in the new ones

# Pairs of equal lines in all gaps. `difflib` looks at each of them once for every stretch that it finds: so
# many take 20 ms in usual texts, and 150 ms in the worst that was found (two lines that alternate).
PAIRS_LIMIT = 50_000


@frozen
class Version:
    """One version of a file, as far as it is known.

    lines   its `line_digests`; None where it cannot be read
    chunks  its `chunks`; None where they are not asked for, as of files that are not Python's
    """

    lines: bytes | None = None
    chunks: tuple[Chunk, ...] | None = None


def file_delta(path: str, before: Version | None, after: Version | None, existed: bool) -> FileDelta:
    """What changed in a file; all of it where it is "added" or "new to us".

    before      the last version that is known; None: none is
    after       the version now; None: there is no file
    existed     whether there was a file just before this change. If not, `before` is of an earlier one.
    """
    if after is None:
        what = "removed"
    elif not existed:
        what, before = "added", None
    else:
        what = "new to us" if before is None else "changed"
    before = before or Version()
    after = after or Version(b"", ())
    lines: tuple[Range, ...] = ()
    if what != "removed" and after.lines is not None:
        lines = changed_lines(before.lines or b"", after.lines)
    added: tuple[str, ...] = ()
    removed, changed = added, added
    if after.chunks is not None:
        added, removed, changed = changed_definitions(before.chunks or (), after.chunks)
    return FileDelta(path, what, lines, added, removed, changed)


def changed_lines(before: bytes, after: bytes) -> tuple[Range, ...]:
    """The ranges of lines that differ, as in `FileDelta.lines`, ascending; from two `line_digests`.

    Takes time in proportion to the lines; only those that lie between equal ones that are not found are
    compared with each other, as far as `PAIRS_LIMIT` goes. A range may then be wider than it had to be.
    """
    first = _equal_at_start(before, after)
    start = first * DIGEST_BYTES
    last = _equal_at_start(before[start:][::-1], after[start:][::-1])
    old = _lines(before[start : len(before) - last * DIGEST_BYTES])
    new = _lines(after[start : len(after) - last * DIGEST_BYTES])
    left = PAIRS_LIMIT
    ranges: list[Range] = []
    for gap in _gaps(old, new):
        pairs = _pairs(old, new, gap)
        if 0 < pairs <= left:
            left -= pairs
            ranges += _compared(old, new, gap)
        else:
            ranges.append((gap[2] + 1, gap[3]))
    return tuple((first + start, first + end) for start, end in ranges)


def changed_definitions(
    before: tuple[Chunk, ...], after: tuple[Chunk, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The definitions added, removed and changed, as in `FileDelta`.

    Text outside of definitions is "module", and can only change: it comes and goes with its file.
    """
    old, new = _texts(before), _texts(after)
    gone = Counter(name for name, _ in (old - new).elements())
    come = Counter(name for name, _ in (new - old).elements())
    return (
        tuple(sorted(name for name in come if come[name] > gone[name] and name != MODULE)),
        tuple(sorted(name for name in gone if gone[name] > come[name] and name != MODULE)),
        tuple(sorted(gone.keys() & come.keys())),
    )


# -- definitions -----------------------------------------------------------------------------------


def _texts(chunks: tuple[Chunk, ...]) -> Counter[tuple[str, bytes]]:
    return Counter((f"{chunk.kind} {chunk.qualified}".rstrip(), chunk.digest) for chunk in chunks)


# -- lines -----------------------------------------------------------------------------------------


def _lines(digests: bytes) -> array[int]:
    return array("I", digests)


def _equal_at_start(before: bytes, after: bytes) -> int:
    """How many digests at the start are the same. Compares as C does, each byte about once."""
    equal, most = 0, min(len(before), len(after)) // DIGEST_BYTES
    while equal < most:
        middle = (equal + most + 1) // 2
        part = slice(equal * DIGEST_BYTES, middle * DIGEST_BYTES)
        if before[part] == after[part]:
            equal = middle
        else:
            most = middle - 1
    return equal


def _gaps(old: Sequence[int], new: Sequence[int]) -> Iterator[Gap]:
    """What lies between the lines that are taken to be the same ones.

    These are lines that both versions have once (the longest row of them in the same order), and equal ones
    next to them. So edits far from each other in a long file are told apart without comparing all with all.
    """
    row = [(-1, -1), *_longest_row(_common_once(old, new)), (len(old), len(new))]
    for (above, above_new), (below, below_new) in pairwise(row):
        first, first_new = above + 1, above_new + 1
        last, last_new = below, below_new
        while first < last and first_new < last_new and old[first] == new[first_new]:
            first, first_new = first + 1, first_new + 1
        while first < last and first_new < last_new and old[last - 1] == new[last_new - 1]:
            last, last_new = last - 1, last_new - 1
        if first < last or first_new < last_new:
            yield first, last, first_new, last_new


def _common_once(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """The indexes of each line that both have once, in the order of the old version."""
    once, once_new = Counter(old), Counter(new)
    index = {line: at for at, line in enumerate(new) if once_new[line] == 1}
    return [(at, index[line]) for at, line in enumerate(old) if line in index and once[line] == 1]


def _longest_row(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most of the pairs that ascend on both sides (patience sorting)."""
    ends: list[int] = []  # the smallest new index that a row of this length can end with
    last: list[int] = []  # the pair that does
    before: list[int] = []  # for each pair, the one before it in its row
    for at, (_, new) in enumerate(pairs):
        length = bisect_left(ends, new)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [new]
        last[length : length + 1] = [at]
    row = []
    at = last[-1] if last else -1
    while at >= 0:
        row.append(pairs[at])
        at = before[at]
    return row[::-1]


def _pairs(old: Sequence[int], new: Sequence[int], gap: Gap) -> int:
    first, last, first_new, last_new = gap
    if first == last or first_new == last_new:
        return 0
    times = Counter(new[first_new:last_new])
    return sum(times[line] for line in old[first:last])


def _compared(old: Sequence[int], new: Sequence[int], gap: Gap) -> Iterator[Range]:
    from difflib import SequenceMatcher

    first, last, first_new, last_new = gap
    matcher = SequenceMatcher(None, old[first:last], new[first_new:last_new], autojunk=False)
    for what, _, _, start, end in matcher.get_opcodes():
        if what != "equal":
            yield first_new + start + 1, first_new + end
