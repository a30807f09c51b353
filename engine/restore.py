"""Restore: before a key runs because something that it read has changed, try the memos that it had earlier.

An earlier memo holds again when each of its dependencies is again what it was. It is then put back, as if
the key had run and come to it: a constructive trace. So it costs nothing to go back to a branch, or to undo.

Invariants
    T1  A memo that is put back is what running the key would give.
    T2  A dependency is asked for only when everything before it is what it was: then the function, were it
        run, would ask for the same. So nothing is brought up to date here that a run would not need.
    T3  Verification does not recurse here either (verify W3): a dependency that has to be looked at first
        goes on the walk, and the trial goes on when the walk comes back.

Not tried are earlier memos of other code, whatever rests on a table that is not settled, and who stands on
a cycle or reads the error of one: who is on it now follows from more than from values. That runs.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define

import engine.keep as keep
import engine.verify as verify
from engine.core import Core
from engine.earlier import Earlier
from engine.earlier_rows import unpack_for_table
from engine.failure import Failure
from engine.graph import EQUAL, ERROR, FORCED, GROUP, LOADED, MARKED, REACH, REASON_SHIFT, TOLD, UNSTORED
from engine.history import History, is_kept
from engine.mark import spread
from engine.memo import Reads
from engine.outcome import Outcome
from engine.persist import load
from engine.query import QueryInfo
from engine.reach import closure
from engine.reason import Reason
from engine.rings import Cycle, was_ringed
from engine.store.codec import DamagedValue, fingerprint
from engine.versions import seen_now

if TYPE_CHECKING:
    from engine.verify import Walk

DIGEST = 16  # bytes of what one dependency, or a group of them, was


@define(eq=False, repr=False)
class Trial:
    """How far the earlier memos of a key were compared with what its dependencies are now."""

    walk: Walk | None  # None: nothing is brought up to date for it
    generation: int
    present: Earlier | None  # the memo that the key has: it may hold again, too
    left: list[Earlier]  # the last one is being compared
    position: int = 0  # in its dependencies
    unit: int = 0  # in what was seen
    waiting: list[int] | None = None  # of what is compared now, what was not up to date, last one first

    def next(self) -> None:
        """Go on with another memo."""
        self.left.pop()
        self.position = self.unit = 0
        self.waiting = None


def restore(core: Core, node: int, changed: int, walk: Walk) -> bool:
    """Whether the key need not run now: an earlier memo was put back, or the walk has to go on first.

    `changed`: the first dependency that is not what it was.

    The lock is held; it is given away while a group is checked by workers.
    """
    history, info = core.history, core.info_of(node)
    if history is None or info is None or not may_hold_again(core, node, changed):
        return False
    trial = history.trials.get(node)
    if trial is None or trial.walk is not walk or trial.generation != core.generation:
        trial = history.trials[node] = _begin(core, history, node, info, walk)
    while trial.left:
        agrees = _compare(core, trial, lambda unit: _bring_up(core, node, trial, unit, walk))
        if agrees is None:
            return True  # not known yet
        one = trial.left[-1]
        if agrees and one is trial.present:
            del history.trials[node]
            flags = core.graph.flags
            flags[node] = flags[node] & ~TOLD | Reason.RESTORED << REASON_SHIFT | EQUAL
            verify.green(core, node)
            return True
        if agrees and _put_back(core, history, node, info, one):
            history.trials.pop(node, None)
            return True
        trial.next()
    history.trials.pop(node, None)
    return False


def may_hold_again(core: Core, node: int, changed: int) -> bool:
    """Whether some earlier memo of a key is worth a trial, now that this dependency is another one.

    Else the key has to run, and the memo that it has is kept as an earlier one.
    """
    history, info = core.history, _of_interest(core, node)
    if history is None or info is None:
        return False
    if history.versions.was_before(core, changed):
        return True
    history.remember(core, node, info)
    return False


def next_wanted(core: Core, node: int, changed: int) -> int:
    """What `restore` would do, with nothing done: 0 if it puts a memo back, `node` if the key has to run.

    Else the dependency that it would bring up to date first.
    """
    history, info = core.history, _of_interest(core, node)
    if history is None or info is None or not history.versions.was_before(core, changed):
        return node
    trial = _begin(core, history, node, info, None)
    wanted: list[int] = []

    def look(unit: array[int]) -> bool | None:
        waiting = _waiting(core, node, unit)
        wanted.extend(waiting or ())
        return None if waiting else waiting is not None

    while trial.left:
        agrees = _compare(core, trial, look)
        if agrees is not False:
            return 0 if agrees else wanted[-1]
        trial.next()
    return node


def _of_interest(core: Core, node: int) -> QueryInfo | None:
    """The definition of a key that may have earlier memos that can be put back."""
    info = core.info_of(node)
    return None if info is None or not is_kept(info) or was_ringed(core, node) else info


def _begin(core: Core, history: History, node: int, info: QueryInfo, walk: Walk | None) -> Trial:
    known = list(history.of(core, node))  # before the memo of now takes the place of the oldest one
    if walk is None:
        present = history.present(core, node, info)
    else:
        present = history.remember(core, node, info, tried=True)
    if present is not None and present not in known:
        known.append(present)
    code = core.queries.codes[core.graph.query[node]]
    return Trial(walk, core.generation, present, [one for one in known if one.code == code])


def _compare(core: Core, trial: Trial, bring_up: Callable[[array[int]], bool | None]) -> bool | None:
    """Whether all that the memo read is what it was. None: something has to be brought up to date first.

    `bring_up` is told what may not be up to date; it says None where that has to wait, False to give up.
    """
    one = trial.left[-1]
    dependencies, seen = one.dependencies, one.seen
    graph = core.graph
    plain = one is trial.present or not graph.frontier  # nothing that only looks clean: see `_bring_up`
    settled = {0}  # what dependencies rest on of which nothing is doubtful
    while trial.position < len(dependencies):
        entry = dependencies[trial.position]
        up_to_date = entry < GROUP and graph.status[entry] & (LOADED | MARKED) == LOADED
        if plain and up_to_date and core.reach.doubtful and graph.flags[entry] & REACH not in settled:
            up_to_date = not closure(core, graph.flags[entry]) & core.reach.doubtful
            if up_to_date:
                settled.add(graph.flags[entry] & REACH)
        if plain and up_to_date:  # as most are
            if seen_now(core, entry) != seen[trial.unit * DIGEST : (trial.unit + 1) * DIGEST]:
                return False
            if was_ringed(core, entry):
                return False
            trial.waiting = None
            trial.position += 1
            trial.unit += 1
            continue
        first = trial.position + (entry >= GROUP)
        last = first + (entry & ~GROUP if entry >= GROUP else 1)
        unit = dependencies[first:last]
        ready = bring_up(unit)
        if not ready:
            return ready
        settled = {0}  # marks may have been spread
        found = [seen_now(core, read) for read in unit]
        if any(was_ringed(core, read) for read in unit):
            return False
        # Where what one of them is is not known, less is joined: that is no digest that was seen.
        now = found[0] if len(found) == 1 else fingerprint(b"".join(found))
        if now != seen[trial.unit * DIGEST : (trial.unit + 1) * DIGEST]:
            return False
        trial.position = last
        trial.unit += 1
    return True


def _bring_up(core: Core, node: int, trial: Trial, unit: array[int], walk: Walk) -> bool | None:
    """Make sure of dependencies that a run would ask for next. None: the walk has to; False: give up."""
    status = core.graph.status
    if trial.waiting is None:
        trial.waiting = _waiting(core, node, unit)
        if trial.waiting is None:
            return False
        if len(trial.waiting) > 1 and walk.outer is None:  # nested groups one by one, as in verify
            try:
                verify.check_group(core, trial.left[-1].dependencies, trial.position, walk)
            except Cycle:  # a member waits for us
                return False
            return None  # the lock was given away
    waiting = trial.waiting
    while waiting:
        read = waiting[-1]
        if status[read] & MARKED:
            if walk.is_entered(read) or (status[read] & FORCED and verify.is_undefined(core, read)):
                return False
            walk.steps.append(read)
            walk.entered.add(read)
            walk.positions.append(-1)
            return None
        waiting.pop()
    trial.waiting = None
    return True


def _waiting(core: Core, node: int, unit: array[int]) -> list[int] | None:
    """Which of some dependencies are not up to date, last one first. None: that is not known here."""
    graph = core.graph
    load(core, unit)
    if graph.frontier and not set(unit) <= set(graph.below(node)):
        spread(core)  # what the present memo did not read may look clean before that (see running N2)
    if core.reach.doubtful and any(closure(core, graph.flags[read]) & core.reach.doubtful for read in unit):
        return None
    return [read for read in reversed(unit) if graph.status[read] & MARKED]


def _put_back(core: Core, history: History, node: int, info: QueryInfo, one: Earlier) -> bool:
    """Make an earlier memo the memo of its key. False: its value cannot be had."""
    outcome = Outcome()
    outcome.restored = True
    outcome.recorded = history.has(core, node, one)
    outcome.microseconds = one.cost
    outcome.digest = one.fingerprint
    if not one.flags & UNSTORED and not _take_value(core, info, one, outcome):
        return False
    if core.graph.query[node] in core.queries.of_members and outcome.failure is None:
        # A member: a table or fold takes its value over at once.
        outcome.rows = unpack_for_table(core, node, one.rows)
        if outcome.rows is None and (outcome.data is None or not _decode(info, outcome)):
            return False
    keep.keep(core, node, info, _reads(one.dependencies), outcome)
    return True


def _take_value(core: Core, info: QueryInfo, one: Earlier, outcome: Outcome) -> bool:
    if isinstance(one.held, Failure):
        outcome.failure, outcome.data = one.held, one.held.data
        return not one.held.ring
    outcome.data = one.held
    if outcome.data is None and core.store is not None:
        outcome.data = core.store.earlier_value(one.node, one.fingerprint)
    if outcome.data is None:
        return False
    if one.flags & ERROR:
        outcome.failure = Failure.restored(outcome.data)
        return outcome.failure is not None and not outcome.failure.ring
    return core.saves or _decode(info, outcome)  # who does not save has to hold the value


def _decode(info: QueryInfo, outcome: Outcome) -> bool:
    """Make the value of its bytes now. Else it is read when somebody needs it."""
    assert outcome.data is not None
    try:
        outcome.value = info.codec.decode(outcome.data)
    except DamagedValue:  # one of its classes is not loaded in this process
        return False
    return True


def _reads(dependencies: array[int]) -> Reads:
    """As the frame of a run has them: see `group.record`."""
    reads: Reads = {}
    for entry in dependencies:
        if entry >= GROUP:
            reads[-len(reads) - 1] = entry & ~GROUP
        else:
            reads[entry] = None
    return reads
