"""Checking: what was read is compared with the checksum that was written beside it.

Invariants
    K1  Whatever a damaged row holds, wrong types included, the answer is StoreDamaged and no other error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from engine.errors import StoreDamaged
from engine.store import checksums


def check(
    table: str, row: object, stored: object, compute: Callable[..., bytes], columns: Iterable[Any]
) -> None:
    """Raise StoreDamaged unless the checksum of these columns is the one that is stored."""
    try:
        matches = compute(*columns) == stored
    except (
        TypeError,
        struct.error,
        AttributeError,
        OverflowError,
        UnicodeEncodeError,
    ):  # checksums R3, layout L5
        matches = False
    if not matches:
        raise StoreDamaged(table=table, row=row)


def value_matches(value: object, fingerprint: bytes) -> bool:
    """Whether these are the bytes that the fingerprint was made of."""
    return isinstance(value, bytes) and checksums.fingerprint_of(value) == fingerprint
