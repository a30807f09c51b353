"""Verify: prove a memo still holds without running it, or run what must run. Red-green, from the key down.

Invariants
    W1  A memo proven at R would be recomputed to an equal value at R.
    W2  Dependencies are checked in the order they were read. A later one may exist only because of the
        answer to an earlier one, so it is not asked for before the earlier one is known to be unchanged.
        Members of one parallel group were asked for together and may be checked together.
    W3  Verification never recurses on the Python stack. Depth is data.
    W4  Only marked nodes are entered.

Not here: running functions (execute), who may run them (claims), workers for groups (group).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import engine.execute as run
import engine.group as group
import engine.restore as restore
from engine.core import Core, Request
from engine.event import What
from engine.graph import FORCED, GROUP, LOADED, MARKED, NEW, PINNED, RUNNING, SUSPECT, TRANSIENT, entries
from engine.mark import suspect
from engine.persist import load
from engine.rings import Cycle, wait_for

_LOADED_OR_MARKED: Final = LOADED | MARKED
_LOOKED_AT: Final = LOADED | MARKED | SUSPECT | FORCED | RUNNING
_CONCERNED: Final = LOADED | MARKED | SUSPECT


class Walk:
    """One verification in progress: the path from the demanded key down, as data."""

    __slots__ = ("asker", "entered", "outer", "positions", "steps")

    def __init__(self, asker: Request, outer: Walk | None, node: int) -> None:
        self.asker = asker  # the frame that demanded it
        self.outer = outer  # the walk that checks a group of which this is one member
        self.steps = [node]
        # by `_walk`: where it is in the dependencies of each step, and the steps again, to see a loop at once
        self.positions: list[int]
        self.entered: set[int]

    def is_entered(self, node: int) -> bool:
        """Whether a node is being verified here or further out: a loop among old memos."""
        walk: Walk | None = self
        while walk is not None:
            if node in walk.entered:
                return True
            walk = walk.outer
        return False

    def way_up(self) -> list[int]:
        """The steps from the innermost out."""
        return self.steps[::-1] + (self.outer.way_up() if self.outer is not None else [])


def ensure(core: Core, node: int, asker: Request, outer: Walk | None = None) -> None:
    """Make `node` hold in the current revision. The lock is held; it is given away while functions run.

    Costs nothing for a clean node. A failing query does not raise here: its error is its value.
    """
    state = core.graph.status[node]
    if not state & LOADED:
        load(core, (node,))
        state = core.graph.status[node]
    if state & MARKED:
        walk = Walk(asker, outer, node)
        if state & NEW == NEW and not state & RUNNING and not core.graph.flags[node] & PINNED:
            run.execute(core, node, walk)  # nothing to verify: the common case of a cold build
        elif state & _LOOKED_AT != _CONCERNED or not _run_at_once(core, node, walk):
            _walk(core, walk)


def _run_at_once(core: Core, node: int, walk: Walk) -> bool:
    """Run a suspect whose check ends at a change that is known, as for most readers of one change.

    Does what `_walk` would do, and False where that needs more than one look at the dependencies.
    """
    changed = first_changed(core, node)
    if not changed or node in core.collections:
        return False
    if core.history is not None and restore.may_hold_again(core, node, changed):
        return False
    core.tally.visited += 1
    core.graph.cause[node] = changed
    run.execute(core, node, walk)
    return True


def first_changed(core: Core, node: int) -> int:
    """The first dependency that is not what it was; 0 where that is not known yet, or there is none."""
    graph = core.graph
    status, changed_at, flags = graph.status, graph.changed_at, graph.flags
    verified_at = graph.verified_at[node]
    for read in graph.below(node):
        if read & GROUP:
            continue
        if status[read] & _LOADED_OR_MARKED != LOADED:
            return 0
        if changed_at[read] > verified_at or flags[read] & TRANSIENT:
            return 0 if read in core.collections else read
    return 0


def _walk(core: Core, walk: Walk) -> None:
    status, collections = core.graph.status, core.collections
    steps, positions = walk.steps, [-1]
    walk.positions, walk.entered = positions, {*steps}
    while steps:
        node = steps[-1]
        state = status[node]
        if not state & MARKED:
            walk.entered.discard(steps.pop())
            positions.pop()
        elif state & RUNNING:
            _wait(core, node, walk)
        elif state & FORCED or node in collections:
            _rerun(core, node, walk)
        elif positions[-1] < 0:
            _enter(core, node, walk)
        else:
            _step(core, node, walk)


def _wait(core: Core, node: int, walk: Walk) -> None:
    """Wait for a key that runs. If it waits for us, the memo that read it cannot be proven: run that."""
    try:
        wait_for(core, node, walk)
    except Cycle:
        if len(walk.steps) == 1:
            raise
        walk.entered.discard(walk.steps.pop())
        walk.positions.pop()
        _run_if_marked(core, walk.steps[-1], walk)


def _run_if_marked(core: Core, node: int, walk: Walk) -> None:
    state = core.graph.status[node]  # the lock was given away: another worker may have been quicker
    if state & MARKED and not state & RUNNING:
        run.execute(core, node, walk)


def _rerun(core: Core, node: int, walk: Walk) -> None:
    load(core, (node,))
    if core.graph.flags[node] & PINNED:
        core.graph.status[node] &= ~FORCED
        green(core, node)  # set by the host: its function is not asked
    else:
        run.execute(core, node, walk)


def _enter(core: Core, node: int, walk: Walk) -> None:
    """First look at a node: load what its check needs, or see that it needs none."""
    graph = core.graph
    core.tally.visited += 1
    load(core, (node,))
    state = graph.status[node]
    if state & SUSPECT:
        load(core, graph.below(node))
    elif not core.care.reopened and core.last_changed[graph.durability[node]] <= graph.verified_at[node]:
        # Nothing of its durability changed: no look at its dependencies. Who comes here was proven in this
        # revision, and marked again as the lookups of a ring of tables were forced: its error stands.
        # See test_a_ring_of_tables_is_a_cycle_that_names_each_of_them_in_order_and_heals.
        green(core, node)
        return
    elif core.queries.stored:
        below = entries(graph.below(node))
        load(core, [each for each in below if graph.status[each] & MARKED])  # at once, not one by one
    walk.positions[-1] = 0


def _step(core: Core, node: int, walk: Walk) -> None:
    """Check dependencies from where we are; stop to descend, to run, or at the end."""
    graph = core.graph
    status, changed_at = graph.status, graph.changed_at
    verified_at = graph.verified_at[node]
    dependencies = graph.below(node)
    for position in range(walk.positions[-1], len(dependencies)):
        dependency = dependencies[position]
        if dependency & GROUP:
            several = core.workers > 1 or _waits(core, dependencies[position + 1])
            if several and walk.outer is None:  # nested groups one by one: depth is data (W3)
                try:
                    check_group(core, dependencies, position, walk)
                except Cycle:  # a member waits for us: see `_wait`
                    _run_if_marked(core, node, walk)
                    return
                walk.positions[-1] = position + 1
                return  # the lock was given away: look at this node anew
            continue
        if status[dependency] & MARKED:
            if walk.is_entered(dependency) or (
                status[dependency] & FORCED and is_undefined(core, dependency)
            ):
                # A loop among old memos, or code that nobody defines here: it cannot be proven, so run.
                run.execute(core, node, walk)
                return
            walk.positions[-1] = position
            walk.steps.append(dependency)
            walk.entered.add(dependency)
            walk.positions.append(-1)
            return
        changed = changed_at[dependency] > verified_at or graph.flags[dependency] & TRANSIENT
        if changed and dependency not in core.collections:  # who looks into one is forced where it must run
            graph.cause[node] = dependency
            if core.history is None or not restore.restore(core, node, dependency, walk):
                _run(core, node, walk)
            return
    green(core, node)


def _run(core: Core, node: int, walk: Walk) -> None:
    """Run a node, or leave that to its reader where this process cannot say what to run."""
    if len(walk.steps) > 1 and is_undefined(core, node):
        suspect(core, node, FORCED)
        walk.entered.discard(walk.steps.pop())
        walk.positions.pop()
    else:
        run.execute(core, node, walk)


def is_undefined(core: Core, node: int) -> bool:
    """Whether this process cannot run a node: its query, or a class of its arguments, is not loaded."""
    load(core, (node,))
    return not core.is_defined(node)


def green(core: Core, node: int) -> None:
    graph = core.graph
    graph.status[node] &= ~(MARKED | SUSPECT)
    graph.verified_at[node] = core.revision
    if graph.suspects.pop(node, 0) is None:
        core.unsaved.state = True
    core.tally.verified += 1
    core.tell(What.VERIFIED, node)


def _waits(core: Core, member: int) -> bool:
    """Whether a group that begins with `member` gains from being checked at once."""
    if core.dispatch is not None:
        return True
    info = core.info_of(member)
    return info is not None and (info.workers == "thread" or info.many is not None)


def check_group(core: Core, dependencies: Sequence[int], position: int, walk: Walk) -> None:
    size = dependencies[position] & ~GROUP
    status = core.graph.status
    members = [
        node
        for node in dependencies[position + 1 : position + 1 + size]
        if status[node] & MARKED and not (status[node] & FORCED and is_undefined(core, node))
    ]
    if len(members) > 1:
        group.ensure_all(core, members, walk.asker, walk)
