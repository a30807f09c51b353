"""Damage to a file: bits, pages, overwrites and truncations, always the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable


def damage_cases(size: int) -> list[tuple[str, Callable[[bytearray], None]]]:
    """200 single-bit flips, 50 zeroed pages, 50 overwrites, 50 truncations, always the same ones."""
    dice = random.Random(20)

    def flip(place: int, bit: int) -> Callable[[bytearray], None]:
        def apply(data: bytearray) -> None:
            data[place] ^= 1 << bit

        return apply

    def fill(start: int, filler: bytes) -> Callable[[bytearray], None]:
        def apply(data: bytearray) -> None:
            data[start : start + len(filler)] = filler

        return apply

    def cut(length: int) -> Callable[[bytearray], None]:
        def apply(data: bytearray) -> None:
            del data[length:]

        return apply

    cases: list[tuple[str, Callable[[bytearray], None]]] = []
    # the first page decides about version, schema and kind of file: 100 of its bits, one by one
    places = [(dice.randrange(100), dice.randrange(8)) for _ in range(50)]
    places += [(dice.randrange(size), dice.randrange(8)) for _ in range(150)]
    cases += [(f"bit {bit} of byte {place}", flip(place, bit)) for place, bit in places]
    pages = [dice.randrange(size // 4096) * 4096 for _ in range(50)]
    cases += [(f"page at {page} zeroed", fill(page, bytes(4096))) for page in pages]
    starts = [dice.randrange(size - 64) for _ in range(50)]
    cases += [(f"64 bytes at {start}", fill(start, dice.randbytes(64))) for start in starts]
    lengths = [0, 1, 99, 100, 512, 4095, 4096, *(dice.randrange(size) for _ in range(43))]
    cases += [(f"cut to {length}", cut(length)) for length in lengths]
    return cases
