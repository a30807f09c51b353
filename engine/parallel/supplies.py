"""Supplies: what a worker has from its parent instead of running it: given with a batch, or asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NoReturn

from engine.core import Core
from engine.failure import Failure
from engine.limits import Limits
from engine.outcome import Outcome
from engine.parallel.held import DIGEST, digest
from engine.parallel.looking import Looking
from engine.parallel.units import GIVEN, REFUSED, Ask, Batch, Given, Reply, Stored
from engine.store import canonical
from engine.store.codec import DamagedValue
from engine.tables.lookup import LookupInfo

BARRED: Final = "it runs a key with limit={!r} on the way"


class Refused(BaseException):
    """The parent has to compute this itself; `for_all`: all keys of this query.

    Not an `Exception`, so that `except Exception` inside a query does not swallow it.
    """

    def __init__(self, why: str, *, for_all: bool = False) -> None:
        super().__init__(why)
        self.for_all = for_all


class Places(Limits):
    """Limits in a worker: what the parent counts is free for nobody but the unit, which has a place there."""

    def __init__(self, names: tuple[str, ...], released: threading.Condition) -> None:
        super().__init__({}, released)
        self._counted = frozenset(names)
        self.within: str | None = None  # the limit of the unit

    def bars(self, name: str | None) -> bool:
        """See `Limits.bars`."""
        return name in self._counted and name != self.within


class Supplies:
    """What the parent knows, as far as this worker was told, in one epoch."""

    def __init__(self, core: Core, ask: Callable[[Ask], Reply], known: set[int], epoch: int) -> None:
        self._core = core
        self._epoch = epoch
        self._ask = ask
        self._known = known  # gets the nodes that are supplied
        self._given: dict[str, dict[bytes, Given]] = {}
        self._held: dict[str, set[bytes]] = {}
        self._asked: frozenset[str] = frozenset()
        self._used: list[tuple[int, int]] = []
        self.place, self.unit = 0, 0  # what is computed now
        self.refused = ""  # why the unit was
        self.looking = Looking(core, self._refuse)

    def hear(self, batch: Batch) -> None:
        """Learn what a batch says of the parent."""
        self.refused = ""
        for query, digests in batch.held.items():
            starts = range(0, len(digests), DIGEST)
            self._held.setdefault(query, set()).update(digests[at : at + DIGEST] for at in starts)
        for one in batch.given:
            self._given.setdefault(one.query, {})[one.args] = one
        self._asked = frozenset(batch.asked)
        self._hear_of_tables(batch.stored)

    def _hear_of_tables(self, stored: Stored | None) -> None:
        if stored is not None:
            self.looking.hear(stored)
            for table in stored.tables:
                self._given.setdefault(table.settled.query, {})[table.settled.args] = table.settled

    def used(self) -> tuple[tuple[int, int], ...]:
        """What of the given was read since the last time: nodes here, nodes of the parent."""
        used, self._used = self._used, []
        return tuple(used)

    def supply(self, node: int) -> Outcome | None:
        """The outcome of a key that the parent holds, when it would run here. None: run it."""
        if self.refused:  # a query swallowed it: were the key told now, what was made of that would be sent
            self._refuse(self.refused)
        core = self._core
        info = core.definition_of(node)
        if node == self.unit:
            return None
        lookup = info.collection is not None and info is not info.collection.member
        lookup = lookup and not (isinstance(info, LookupInfo) and self.looking.sees(info))
        barred = info.limit is not None and core.limits.bars(info.limit)
        every = lookup or barred or info.name in self._asked
        held, given = self._held.get(info.name), self._given.get(info.name)
        if not every and held is None and given is None:
            return None
        args = canonical.canonical(core.args_of(node))
        one = None if given is None else given.pop(args, None)
        if one is not None:
            self._used.append((node, one.node))
            return self._supplied(node, one.data, one.fingerprint)
        if not every and (held is None or digest(args) not in held):
            return None
        reply = self._ask(Ask(self.place, node, info.name, args, self._epoch))
        self._hear_of_tables(reply.stored)
        if reply.kind == REFUSED or (reply.kind != GIVEN and lookup):
            self._refuse("it reads what the parent cannot tell")
        if reply.kind != GIVEN and barred:
            self._refuse(BARRED.format(info.limit))
        if reply.kind != GIVEN:
            return None
        if not reply.is_error:
            return self._supplied(node, reply.data, reply.fingerprint)
        failure = Failure.restored(reply.data)
        if failure is None:
            self._refuse("it reads a failure that only the parent can hold")
        outcome = self._supplied(node, None, reply.fingerprint)
        outcome.data, outcome.failure = reply.data, failure
        return outcome

    def _supplied(self, node: int, data: bytes | None, fingerprint: bytes) -> Outcome:
        info = self._core.definition_of(node)
        outcome = Outcome()
        outcome.data, outcome.digest = data, fingerprint
        if data is not None:
            try:
                outcome.value = info.codec.decode(data)
            except DamagedValue as error:  # a class of it is not loaded here, say
                self._refuse(f"it reads a value that cannot be read here: {error}")
        self._known.add(node)  # last: where a query swallows that it is refused, nothing that read it is sent
        return outcome

    def _refuse(self, why: str) -> NoReturn:
        self.refused = why
        raise Refused(why)
