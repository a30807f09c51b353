"""Dispatch: members of a parallel group are computed elsewhere, where that pays.

What certainly has to run (`choose`) goes out in batches (`exchange`). A worker computes it whole; what this
process holds already it asks for. Everything else (what only has to be verified, what a worker refuses) is
done here.

Invariants
    D3  Whether a key was computed here or there cannot be seen in its value, nor in what is stored of it.
    D4  One thread at a time sends work out; others compute what they want themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import engine.tables.collect as collect
import engine.verify as verify
from engine.ahead import AT_MOST, load_rows, read_memos
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.mark import spread
from engine.parallel.choose import (
    AT_LEAST,
    AUTO,
    PROCESS,
    START_US,
    WORTH_US,
    is_sendable,
    next_of,
)
from engine.parallel.costs import SAMPLE, Costs
from engine.parallel.executor import CannotStart, Executor
from engine.parallel.held import Held
from engine.parallel.order import Order
from engine.parallel.repeated import Repeated
from engine.query import QueryInfo
from engine.rings import Cycle

if TYPE_CHECKING:
    from engine.parallel.exchange import Exchange

GOLDEN: Final = (5**0.5 - 1) / 2  # its multiples, modulo 1, are nowhere near each other
PIECE: Final = 2_048  # members that are looked at before workers get the first keys: 20 ms of work
MISSES: Final = 16  # keys of one query refused, beyond those that were computed, before it is sent no more


class Dispatch:
    """The work of one engine that goes elsewhere."""

    def __init__(
        self,
        core: Core,
        executor: Callable[[], Executor],
        another: Callable[[Core], Dispatch | None] | None = None,
    ) -> None:
        self._core = core
        self._another = another
        self._held = Held(core)
        self._executor = executor  # made when something is sent first: most starts send nothing
        self._exchange: Exchange | None = None
        self._generation = -1
        self._busy = False  # D4
        self._off = False  # no worker can be started, or the engine is closed
        self.costs = Costs(core)
        self._refused: set[str] = set()  # queries that workers cannot compute
        self._repeated = Repeated()
        self._misses: dict[str, int] = {}  # query -> keys refused less keys computed

    def made(self, node: int, microseconds: int) -> None:
        """A memo was made, here or elsewhere: remember what it costs. The lock is held."""
        self.costs.made(node, microseconds)
        self._held.made(node, microseconds)

    def offer(self, members: list[int], asker: Request, outer: verify.Walk | None) -> None:
        """Compute elsewhere what pays of what the members need. The lock is held, and given away meanwhile.

        Raises `Cancelled`, and `NotImportable` for a query that must run elsewhere and cannot.
        """
        if self._busy or self._off:
            return
        try:
            spread(self._core)
            Offer(self, members, asker, outer).bring_up()
        except CannotStart as why:
            self._off = True
            self._core.telling.note(f"there are no worker processes, everything runs in this one: {why}")
        except Cycle:
            return  # it is met again where the members are computed one by one

    def run(self, units: Iterable[int], order: Order) -> None:
        """Let workers compute units (`Exchange.run`), unless another thread does that just now (D4)."""
        if self._busy:
            return
        self._busy = True
        try:
            with self._core.limits.idle(order.asker):
                self.exchange.run(units, order)
        finally:
            self._busy = False

    def of_another(self, core: Core) -> Dispatch | None:
        """As many workers for an engine beside this one; None where they cannot be had twice."""
        return self._another(core) if self._another is not None else None

    def rest(self) -> None:
        """A request has ended: let memory go. The lock is held."""
        if self._exchange is not None and not self._busy:
            self._exchange.rest()

    def close(self) -> None:
        """End everything that works for this engine."""
        self._off = True
        if self._exchange is not None:
            self._exchange.close()

    @property
    def exchange(self) -> Exchange:
        """The conversation with the workers, in this generation."""
        if self._exchange is None:
            from engine.parallel.exchange import Exchange  # late, as the executor is

            self._exchange = Exchange(self._core, self._executor(), self._held)
        if self._generation != self._core.generation:
            self._generation = self._core.generation
            self._exchange.start()
            self._held.start()
        return self._exchange

    # -- what is known of queries --------------------------------------------------------------

    def is_fit(self, node: int) -> bool:
        """Whether a key can be computed elsewhere. Raises `NotImportable`."""
        info = self._core.definition_of(node)
        return not self._is_given_up(node, info) and is_sendable(self._core, node, info)

    def _is_given_up(self, node: int, info: QueryInfo) -> bool:
        asked = self._exchange is not None and self._generation == self._core.generation
        return info.name in self._refused or (asked and node in self.exchange.lost)

    def is_worth(self, node: int) -> bool:
        """Whether a key costs more than sending it."""
        return self._core.definition_of(node).workers == PROCESS or (self.costs.of(node) or 0) >= WORTH_US

    def pays(self, nodes: list[int]) -> bool:
        """Whether these are worth a worker."""
        if any(self._core.definition_of(node).workers == PROCESS for node in nodes):
            return True
        costs = [self.costs.of(node) or 0 for node in nodes if self.is_worth(node)]
        return len(costs) >= AT_LEAST and (self._is_started or sum(costs) >= START_US)

    @property
    def _is_started(self) -> bool:
        return self._exchange is not None and self._exchange.is_started

    def refused(self, node: int, why: str, for_all: bool) -> None:
        """A worker gives a key back."""
        info = self._core.definition_of(node)
        # Twice: once for the key, and once because `done` will count it among the computed.
        misses = self._misses[info.name] = self._misses.get(info.name, 0) + 2
        if for_all or misses > MISSES:
            self._give_up(info)
            if info.workers == PROCESS:
                self._core.telling.note(
                    f"{info.name} runs in this process: {why}", once=f"workers {info.name}"
                )

    def repeated(self, node: int, known: int, whole: int) -> None:
        """What units like this one cost in workers, and what of it went into keys that were known here."""
        info = self._core.definition_of(node)
        if self._repeated.is_too_much(info.name, known, whole) and info.workers != PROCESS:
            self._give_up(info)

    def _give_up(self, info: QueryInfo) -> None:
        if info.name not in self._refused:
            self._refused.add(info.name)
            self.exchange.withdraw(self.is_fit)

    def done(self, node: int) -> None:
        """A worker is done with a key, whatever became of it."""
        name = self._core.definition_of(node).name
        self._misses[name] = self._misses.get(name, 0) - 1


class Offer:
    """The members of one group, and which keys they wait for."""

    def __init__(
        self,
        dispatch: Dispatch,
        members: list[int],
        asker: Request,
        outer: verify.Walk | None,
    ) -> None:
        self._dispatch = dispatch
        self._members = members
        self._asker = asker
        self._outer = outer
        self._core = asker.core
        self._waiting: dict[int, list[int]] = {}  # units that are out -> members that wait for them
        self._tried: set[int] = set()
        self._given_back: set[int] = set()
        self._settled: set[int] = set()  # what workers asked for, and was brought up to date here for them

    def bring_up(self) -> None:
        """Round by round: what pays goes out; keys below members that do not pay run here."""
        while self._round():
            pass

    def _round(self) -> bool:
        """One of them. False: nothing is left for one."""
        dispatch, members = self._dispatch, self._members
        units: dict[int, list[int]] = {}
        fit: list[int] = []
        for start, end in ((0, PIECE), (PIECE, len(members))):
            fresh = self._look_at(members[start:end], units)
            fit += [unit for unit in fresh if unit not in self._tried and dispatch.is_fit(unit)]
            sample = self._sample(fit)
            if sample:
                dispatch.costs.compare(sample)
                try:
                    self._run_here(sample)
                finally:
                    dispatch.costs.compare(())
                return True
            if dispatch.pays(fit):
                self._waiting = {unit: units[unit] for unit in fit if dispatch.is_worth(unit)}
                self._send(end)
                return True
        own = set(members)
        below = [unit for unit in units if unit not in own]
        self._run_here(below)
        return bool(below)

    def _send(self, looked_at: int) -> None:
        """Let workers compute what waits; members after so many are looked at while they work."""
        self._tried |= self._waiting.keys()
        starts = iter(range(looked_at, len(self._members), PIECE))

        def more() -> list[int]:
            found: list[int] = []
            while not found and (start := next(starts, None)) is not None:
                found = self._further(self._look_at(self._members[start : start + PIECE], self._waiting))
            return found

        dispatch = self._dispatch
        order = Order(self._asker, self._outer, more, self._done, self._refused, dispatch.repeated)
        dispatch.run(tuple(self._waiting), order)
        if order.first:
            self._settle(order.first)

    def _further(self, units: list[int]) -> list[int]:
        """Those that go out too. The others are for the next round."""
        going = [unit for unit in units if unit not in self._tried and self._goes(unit)]
        self._tried.update(going)
        for unit in set(units).difference(going):
            del self._waiting[unit]
        return going

    def _look_at(self, members: list[int], units: dict[int, list[int]]) -> list[int]:
        """Note what has to run next for these members; what of it is new is returned."""
        load_rows(self._core, members)  # at once, not one by one as `next_of` would
        fresh: list[int] = []
        for at, member in enumerate(members):
            if not at % AT_MOST:
                read_memos(self._core, members[at : at + AT_MOST])
            unit = self._next_of(member)
            if unit in units:
                units[unit].append(member)
            elif unit:
                units[unit] = [member]
                fresh.append(unit)
        return fresh

    def _sample(self, nodes: list[int]) -> list[int]:
        """Some to run here first, where nobody knows what their query costs."""
        found: dict[str, list[int]] = {}
        for node in nodes if len(nodes) >= AT_LEAST else ():
            info = self._core.definition_of(node)
            if info.workers == AUTO and self._dispatch.costs.of(node) is None:
                found.setdefault(info.name, []).append(node)
        query = self._core.graph.query
        return [node for several in found.values() for node in all_over(several, query[several[0]])]

    def _run_here(self, nodes: Iterable[int]) -> None:
        for node in nodes:
            verify.ensure(self._core, node, self._asker, self._outer)
            if self._asker.generation != self._core.generation:
                raise Cancelled

    def _settle(self, wanted: Iterable[int]) -> None:
        """Bring up to date what workers asked for and could not be told, and try again what wanted it.

        Members of tables that they look into go out too: nothing is under way now.
        """
        before = len(self._settled)
        for node in wanted:
            if self._core.reach.doubtful:
                collect.below(self._core, (node,), self._asker)
            self._run_here((node,))
            self._settled.add(node)
        # See test_what_workers_ask_for_again_and_again_is_no_reason_to_send_its_keys_for_ever.
        if len(self._settled) > before:
            self._tried &= self._given_back

    def _refused(self, unit: int, why: str, for_all: bool) -> None:
        self._given_back.add(unit)
        self._dispatch.refused(unit, why, for_all)

    def _done(self, unit: int) -> Iterable[int]:
        """Who waited for a unit may need another one now."""
        self._dispatch.done(unit)
        for member in self._waiting.pop(unit, ()):
            further = self._next_of(member)
            if further in self._waiting:
                self._waiting[further].append(member)
            elif further and further not in self._tried and self._goes(further):
                self._waiting[further] = [member]
                self._tried.add(further)
                yield further

    def _next_of(self, member: int) -> int:
        """What has to run next for a member. Earlier memos that hold again are put back on the way."""
        while (unit := next_of(self._core, member)) < 0:
            self._run_here((-unit,))
        return unit

    def _goes(self, unit: int) -> bool:
        return self._dispatch.is_fit(unit) and self._dispatch.is_worth(unit)


def all_over(nodes: list[int], query: int) -> list[int]:
    """Some of them, from everywhere: where keys are sorted paths, the first are of small files.

    Each query has its own places: of what another one tried just now, what is below may be ready.
    See test_what_a_key_costs_is_learned_from_keys_all_over_the_group.
    """
    shift = query * GOLDEN % 1.0
    several = min(SAMPLE, len(nodes))
    return [nodes[int((place + shift) * len(nodes) / several)] for place in range(several)]
