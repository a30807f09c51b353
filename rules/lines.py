"""Lines: a short digest of each line of a file, so that two versions can be compared without their texts.

The engine does not keep contents, and these are four bytes a line. They say which lines differ; whether a
file differs at all is for its fingerprint to say.

Invariants
    L1  The same bytes give the same digests in every process and on every machine.
    L2  Digest n belongs to line n, counted as an editor does: lines end at "\\n", and whether the last one
        has an end counts. A lone "\\r" ends no line.
    L3  Every content has an answer. One that is not made of lines, or of too many, counts as one line.
"""

from __future__ import annotations

import sys
from array import array
from io import BytesIO
from zlib import crc32

from engine import query
from engine.rules.files import read_bytes

DIGEST_BYTES = 4
# Two lines in 4 * 10**9 have the same CRC. Then a range is left out of a report about lines; no value depends
# on it. CRC-32 is in every Python, defined to the last bit, and takes 0.2 ms for 1,000 lines.

BINARY_PROBE = 8000  # bytes. A NUL among the first ones makes a file binary, as for git
LINES_LIMIT = (
    1_000_000  # lines. The digests of more would take over 4 MB of the store, anew after each change
)


@query
def line_digests(path: str) -> bytes:
    """The digests of a file's lines, four bytes each, one after the other; fails as `read_bytes` does."""
    return line_digests_of(read_bytes(path))


def line_digests_of(content: bytes) -> bytes:
    """The same for bytes. Empty for an empty file."""
    if content.find(0, 0, BINARY_PROBE) >= 0 or content.count(b"\n") > LINES_LIMIT:
        digests = array("I", [crc32(content)])
    else:
        digests = array("I", map(crc32, BytesIO(content)))  # goes from "\n" to "\n", like no other splitter
    if sys.byteorder == "big":
        digests.byteswap()
    return digests.tobytes()
