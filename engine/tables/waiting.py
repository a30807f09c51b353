"""Waiting: the changes of a fold's members that are not in its state or its tree yet.

Invariants
    G1  Of a member that changes again, what it contributed before the first change stays: that is in the
        state.
    G2  A value that is at hand is the one that its bytes are of, and nobody can change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from engine.graph import ABSENT
from engine.store.canonical import known, pack, unpack

# Before, after, and the place in the tree: who left may be gone from the store when it is reduced.
# None: what the store has, which is read of all members at once, before it is written anew.
Change = tuple[bytes | None, bytes, bytes]
_NEITHER: Final = ABSENT, ABSENT


class Waiting:
    """What members contributed and contribute, as bytes, and as values where these are at hand.

    `packed`: as it was stored. `read`: what the store has of members.
    """

    def __init__(self, packed: bytes | None, read: Callable[[list[int]], dict[int, bytes]]) -> None:
        several = () if packed is None else unpack(packed, {})
        self._changes: dict[int, Change] = {
            node: (before, after, key) for node, before, after, key in several
        }
        self._values: dict[int, tuple[Any, Any]] = {}  # ABSENT: not at hand
        self._read = read

    def __len__(self) -> int:
        return len(self._changes)

    def of(self, node: int) -> Change | None:
        """What waits of a member."""
        return self._changes.get(node)

    def put(self, node: int, change: Change, old: Any, new: Any) -> None:
        """Let a change wait; `old` and `new`: the values, or ABSENT."""
        if node in self._changes:
            old = self._values.get(node, _NEITHER)[0]  # G1
        self._changes[node] = change
        self._values[node] = old, new

    def let_go(self) -> None:
        """No value is at hand any more."""
        self._values = dict.fromkeys(self._values, _NEITHER)

    def moved(self) -> tuple[list[Any], list[Any]]:
        """The values that go and those that come. Raises what `unpack` raises."""
        self._complete([node for node, (old, _) in self._values.items() if old is ABSENT])
        removed, added = list[Any](), list[Any]()
        for node, (before, after, _) in self._changes.items():
            old, new = self._values.get(node, _NEITHER)
            if before != b"":
                removed.append(unpack(before[1:], known) if before and old is ABSENT else old)
            if after:
                added.append(unpack(after[1:], known) if new is ABSENT else new)
        return removed, added

    def leaves(self) -> Iterator[tuple[bytes, Any]]:
        """Of each member the place, and the value that it contributes now; ABSENT: none."""
        for node, (_, after, key) in self._changes.items():
            new = self._values.get(node, _NEITHER)[1]
            yield key, unpack(after[1:], known) if after and new is ABSENT else new

    def packed(self) -> bytes:
        """To be stored. Reads what the store has before it is written anew."""
        self._complete(self._changes)
        return pack(tuple((node, *change) for node, change in self._changes.items()))

    def _complete(self, nodes: Iterable[int]) -> None:
        """Read what members contributed before they changed."""
        unread = [node for node in nodes if self._changes[node][0] is None]
        if unread:
            found = self._read(unread)
            for node in unread:
                _, after, key = self._changes[node]
                self._changes[node] = found.get(node, b""), after, key
