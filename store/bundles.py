"""Bundles: observed inputs as a start reads them, hundreds of one query at once."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from engine.errors import StoreDamaged
from engine.store.rows import ObservedRow

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_texts = msgspec.msgpack.Decoder(list[str]).decode
_packed = msgspec.msgpack.Decoder(list[bytes]).decode


class Bundle:
    """Observed inputs of one query. They stay packed, and are unpacked anew whenever somebody asks."""

    __slots__ = ("_args", "_nodes", "_part", "_stamps", "is_texts", "query")

    def __init__(self, row: ObservedRow) -> None:
        self._part, self.query, self._nodes, self._args, self._stamps = row
        self.is_texts = _is_texts(row.args)

    def __len__(self) -> int:
        return len(self._nodes) // 4

    @property
    def texts(self) -> list[str] | None:
        """The arguments, where each is called with one text."""
        return self._all(_texts, self._args) if self.is_texts else None

    @property
    def args(self) -> list[bytes] | None:
        """Canonical bytes of the arguments of any others."""
        return None if self.is_texts else self._all(_packed, self._args)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Their ids."""
        return struct.unpack(f"<{len(self)}I", self._nodes)

    @property
    def stamps(self) -> list[bytes]:
        """Their stamps; an empty one is of no use."""
        return self._all(_packed, self._stamps)

    def has(self, stamps: Sequence[bytes | None]) -> bool:
        """Whether these are the stamps. A third of what it takes to unpack and compare them."""
        return _encode(stamps) == self._stamps

    def _all(self, decode: Callable[[bytes], list[T]], packed: bytes) -> list[T]:
        try:
            found = decode(packed)
        except msgspec.MsgspecError as error:
            raise StoreDamaged(table="observed", row=self._part, found=str(error)) from error
        if len(found) != len(self) or len(self._nodes) % 4:
            raise StoreDamaged(table="observed", row=self._part, found="columns of different lengths")
        return found


def _is_texts(args: bytes) -> bool:
    """Whether the first one in a msgpack array is a text, which then all are; else all are bytes."""
    at = {0xDC: 3, 0xDD: 5}.get(args[0], 1) if args else 0
    return args[at : at + 1] not in (b"\xc4", b"\xc5", b"\xc6")
