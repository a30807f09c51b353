"""Versions: what nodes were, and from which revision to which.

Invariants
    N1  A version ends where the value was replaced. Between versions nothing is known (no guess is made).
    N2  A node without VERSIONED has none in the store, which need not be asked. (Versions of before there was
        that flag are not found any more: who would come back by them runs.)
    N3  What was read from the store goes when it is more than `MOST_LOADED`, and is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from attrs import define, field

from engine.graph import ERROR, GROUP, TRANSIENT, VERSIONED
from engine.store import Batch, VersionRow
from engine.store.codec import fingerprint

if TYPE_CHECKING:
    from engine.core import Core

MOST_VERSIONS: Final = 16  # of a node; who read an older one runs again
MOST_LOADED: Final = 8 << 20  # bytes
VERSION_BYTES: Final = 230  # of one, as measured
ENTRY_BYTES: Final = 150  # for a node
MOST_MOMENTS: Final = 4  # revisions in which nodes were looked up and not forgotten


class _Then(dict[int, bytes]):
    """What nodes were in one revision, looked up once: many that run because of one change read the same."""

    __slots__ = ("core", "reads", "versions", "when")

    def __init__(self, versions: Versions, core: Core, when: int) -> None:
        self.versions, self.core, self.when = versions, core, when
        self.reads: Sequence[int] = ()  # what is asked for now: the versions of all of it are read at once

    def __missing__(self, node: int) -> bytes:
        if node >= GROUP:
            raise KeyError(node)
        graph = self.core.graph
        if graph.flags[node] & (ERROR | TRANSIENT):  # not kept here: an equal failure may get other bytes
            return self.versions.was(self.core, node, self.when)
        changed_at, when = graph.changed_at, self.when
        if changed_at[node] <= when:
            was = graph.fingerprint[node]
        else:
            self.versions.load(
                self.core, [one for one in self.reads if one < GROUP and changed_at[one] > when]
            )
            was = self.versions.was(self.core, node, when)
        if was:
            self[node] = was
        return was


@define(eq=False, repr=False)
class Versions:
    """What the nodes of one engine were. All of it may be forgotten at any time (N1)."""

    new: dict[int, tuple[VersionRow, ...]] = field(factory=dict)  # for the next commit
    _of: dict[int, list[VersionRow]] = field(factory=dict)  # all of a node
    _then: dict[int, _Then] = field(factory=dict)  # by revision; asked for in the revision of now
    _asked_in: int = 0
    _again: dict[int, tuple[int, bool]] = field(factory=dict)  # changed_at, and whether it was that before
    _loaded: int = 0  # bytes

    def replaced(self, core: Core, node: int) -> None:
        """The value of `node` is about to become different: note until when it was what it is."""
        graph = core.graph
        above = graph.above(node) if graph.readers[node] is not None else ()
        if above and all(map(core.collections.__contains__, above)):
            return  # nobody would ask: collections have no earlier memos. Of no readers one may come back
        was = seen_now(core, node)
        if was:
            version = VersionRow(node, graph.changed_at[node], core.revision, was)
            self.new[node] = (*self.new.get(node, ()), version)[-MOST_VERSIONS:]
            if not graph.flags[node] & VERSIONED:  # there are no others (N2)
                graph.flags[node] |= VERSIONED
                self._of[node] = []
                self._loaded += ENTRY_BYTES + VERSION_BYTES
            known = self._of.get(node)
            if known is not None:
                known.append(version)
                del known[:-MOST_VERSIONS]

    def was_before(self, core: Core, node: int) -> bool:
        """Whether a node was ever what it is now. Else nothing that read it can be what it was, either.

        A memo that holds again read the same as the present one up to what changed first, and then that.
        So the usual edit, to something new, costs its readers a look into a dict each.
        """
        when = core.graph.changed_at[node]
        known = self._again.get(node)
        if known is None or known[0] != when:
            self.load(core, (node,))
            now = seen_now(core, node)
            known = self._again[node] = when, any(version.was == now for version in self._of[node])
        return known[1]

    def seen(self, core: Core, reads: Sequence[int], when: int) -> list[bytes]:
        """What each of these was in a revision; b"" where that is not known, or it is not in memory.

        Raises KeyError for the marker of a group.
        """
        if self._asked_in != core.revision or len(self._then) > MOST_MOMENTS:
            self._then.clear()
            self._asked_in = core.revision
        then = self._then.get(when)
        if then is None:
            then = self._then[when] = _Then(self, core, when)
        then.reads = reads
        return list(map(then.__getitem__, reads))

    def was(self, core: Core, node: int, when: int) -> bytes:
        """What a node was in a revision; b"" as in `seen`."""
        if core.graph.changed_at[node] <= when:
            return seen_now(core, node)
        self.load(core, (node,))
        known = reversed(self._of[node])
        return next((one.was for one in known if one.since <= when < one.until), b"")

    def into(self, batch: Batch) -> None:
        """Put what is new into a batch."""
        batch.versions.extend(chain.from_iterable(self.new.values()))

    def load(self, core: Core, nodes: Sequence[int]) -> None:
        """Read what these nodes were, if that is not in memory."""
        if self._of.keys() >= set(nodes):
            return
        self._make_room()
        missing = [node for node in nodes if node not in self._of]
        held = [node for node in missing if core.graph.flags[node] & VERSIONED]
        stored = core.store.versions(held) if core.store is not None and held else {}
        for node in missing:
            self._of[node] = found = [*stored.get(node, ()), *self.new.get(node, ())]
            self._loaded += ENTRY_BYTES + VERSION_BYTES * len(found)

    def committed(self) -> None:
        """What is new was written."""
        self.new.clear()
        self._again.clear()
        self._then.clear()
        self._make_room()

    def clear(self) -> None:
        """Forget what is in memory: the lists are built anew."""
        self.new.clear()
        self._of.clear()
        self._again.clear()
        self._then.clear()
        self._loaded = 0

    def _make_room(self) -> None:
        if self._loaded > MOST_LOADED:
            self._of.clear()
            self._loaded = 0


def seen_now(core: Core, node: int) -> bytes:
    """The fingerprint of what a reader sees: of a value, or of a failure. Empty: it is not known."""
    graph = core.graph
    flags = graph.flags[node]
    digest = graph.fingerprint[node]
    if flags & TRANSIENT or not digest:
        return b""
    return fingerprint(b"failure" + digest) if flags & ERROR else digest
