"""Mark: from what changed to what may be dirty, doing as little of it as the demand allows.

After a change only the direct readers of it are known (suspects). Before a request is answered, either
all nodes above them are marked, or it is shown that the answer cannot be concerned, or the one suspect
that certainly decides is brought up to date: if its value is equal, nothing above it needs to be walked.

Invariants
    M1  Nothing is handed out as clean while an unspread suspect may lie below it.
    M2  A certain probe runs only what in-order verification would run: it is the only suspect below the
        key, so nothing read before it can have changed, and the demand reaches it again. Below the key is
        also what lies below a collection that it rests on, which brings all its members up to date.
    M3  An uncertain probe (never with `strict`) runs only cheap queries with no suspect and no collection
        below them. Marks that ran out of budget are taken back before: of those that looked for a name in a
        list, nothing is marked above the ones whose answer is the same.

Source of the ideas: push-marking of Adapton and buck2's DICE; the probe is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.core import Core
from engine.graph import FORCED, MARKED, REACH, RUNNING, SUSPECT, entries
from engine.persist import load, load_readers, readers_of
from engine.reach import closure

BUDGET = 4_000  # nodes marked before a probe is thought of: about 2 ms
HANDFUL = 8  # suspects worth probing one by one
CHEAP_US = 50_000  # microseconds that an uncertain probe of a handful may cost, and all of more in a request
CLIMB = 4_000  # nodes looked at to learn where one suspect leads
PROBE_US = 50  # what a probe takes beside the query, in microseconds
PROBES = 16  # times that suspects are tried before everything is marked: a change that goes on is real
DESCENT = 200  # nodes looked at to learn that no suspect lies below a probe


def suspect(core: Core, node: int, why: int = SUSPECT) -> None:
    """Note that a direct dependency of `node` changed, or with FORCED that it must run."""
    graph = core.graph
    state = graph.status[node]
    if not state & MARKED:
        graph.marked.append(node)
        graph.frontier.append(node)
    graph.status[node] = state | MARKED | why
    graph.suspects[node] = None
    core.unsaved.state = True


def spread(core: Core, budget: int | None = None) -> bool:
    """Mark everything above the frontier; False when the budget ran out first."""
    graph = core.graph
    status, readers, frontier, marked = graph.status, graph.readers, graph.frontier, graph.marked
    before = len(marked)
    end = None if budget is None else before + budget
    at = 0  # breadth first: what is to be loaded of one level is loaded at once
    try:
        while at < len(frontier):
            above = readers[frontier[at]]
            if above is None:
                load_readers(core, frontier[at:])
                continue
            at += 1
            for reader in (above,) if isinstance(above, int) else above:
                if not status[reader] & MARKED and reader:  # 0: nobody
                    status[reader] |= MARKED
                    marked.append(reader)
                    frontier.append(reader)
            if end is not None and len(marked) > end and at < len(frontier):
                return False
    finally:
        del frontier[:at]
        core.tally.visited += len(marked) - before
    if core.collections:
        doubt_collections(core)
    return True


def doubt_collections(core: Core) -> None:
    """Note which collections are marked: who rests on them waits (see tables.collect)."""
    status = core.graph.status
    before, core.reach.doubtful = core.reach.doubtful, 0
    for one in core.collections.values():
        if one.looked and status[one.node] & MARKED:
            core.reach.doubtful |= one.bit
    if core.reach.doubtful & ~before:
        core.claims.hide_tables()


def clear(core: Core) -> None:
    """Nothing is suspect: everything marked is clean."""
    graph = core.graph
    status = graph.status
    for node in graph.marked:
        if not status[node] & (FORCED | SUSPECT | RUNNING):
            status[node] &= ~MARKED
    graph.marked.clear()
    graph.frontier.clear()
    core.reach.doubtful = core.graph.gathered = 0
    for one in core.collections.values():
        one.pending.clear()


def complete(core: Core, target: int, probe: Callable[[int], None]) -> None:
    """Spread, or probe, until the marks tell the truth about `target` (M1). The lock is held.

    `probe(node)` brings one suspect up to date; it may give the lock away meanwhile.
    """
    graph = core.graph
    spent = 0  # the price of uncertain probes: the demand may need none of them
    for _ in range(PROBES):
        graph.frontier[:] = [node for node in graph.frontier if graph.status[node] & MARKED]
        if not graph.frontier:
            return
        if not graph.suspects:
            clear(core)
            return
        if target in graph.frontier or not graph.status[target] & MARKED:
            few = len(graph.frontier) <= HANDFUL and all(node in graph.suspects for node in graph.frontier)
            if few:
                certain = _certain(core, target)
                if certain and closure(core, graph.flags[target]) & core.reach.doubtful:
                    break  # a table below may decide that it is not needed
                if certain:
                    probe(certain)
                    continue
                if not graph.frontier:
                    return
        waiting, before = list(graph.frontier), len(graph.marked)
        if spread(core, BUDGET):
            return
        cheap = () if core.strict else cheap_suspects(core, waiting, spent)
        if not cheap:
            break
        spent += _price(core, cheap)
        _unmark(core, before, waiting)
        for node in cheap:
            probe(node)
    spread(core)


def _unmark(core: Core, before: int, waiting: list[int]) -> None:
    """Take back a spread that ran out of budget: what is marked next is marked from what really changed."""
    graph = core.graph
    for node in graph.marked[before:]:
        graph.status[node] &= ~MARKED
    del graph.marked[before:]
    graph.frontier[:] = waiting


def _certain(core: Core, target: int) -> int:
    """The one suspect below `target`, or 0. Suspects that lead elsewhere are spread on the way."""
    graph = core.graph
    reach = closure(core, graph.flags[target])
    aims = {target, *(one.node for one in core.collections.values() if one.bit & reach)}
    below: list[int] = []
    for node in tuple(graph.frontier):
        where = _climb(core, node, {target} if _is_quiet(core, node) else aims)
        if where is None:
            _spread_one(core, node)
        else:
            below.append(node)
            if not where:
                return 0
    sole = len(below) == 1 and graph.frontier == below and _can_run(core, below[0])
    return below[0] if sole else 0


def _climb(core: Core, node: int, aims: set[int]) -> bool | None:
    """Whether one of `aims` is above `node`: True, None for no, False when none was found soon enough.

    Depth first, one reader at a time: a path to the top is found in as many steps as it is long, however
    many readers there are on the way. See test_a_comment_under_a_fan_in_of_100_000.
    """
    seen = {node}
    found = node in aims
    stack = [_above(core, node)]
    while stack and not found and len(seen) <= CLIMB:
        reader = next(stack[-1], 0)
        if not reader:
            stack.pop()
        elif reader not in seen:
            seen.add(reader)
            found = reader in aims
            stack.append(_above(core, reader))
    core.tally.visited += len(seen)
    return True if found else False if stack else None


def _above(core: Core, node: int) -> Iterator[int]:
    """The readers of a node, newest first: the newest are the likeliest to be in demand."""
    return reversed(readers_of(core, node))


def _spread_one(core: Core, node: int) -> None:
    graph = core.graph
    others = [other for other in graph.frontier if other != node]
    graph.frontier[:] = [node]
    spread(core)
    graph.frontier.extend(others)


def cheap_suspects(core: Core, waiting: list[int], spent: int) -> list[int]:
    """Suspects that wait, cost little each and have none below them, if they cost little together as well.

    Those that do not wait, or that nobody reads, are of earlier changes: nobody asked for them since.
    `spent`: the price of those before them, in the same request.
    """
    graph = core.graph
    suspects = [node for node in waiting if node in graph.suspects and readers_of(core, node, waiting)]
    if len(suspects) > HANDFUL:  # many members are read ahead and run by their collection, or by workers
        suspects = [node for node in suspects if graph.above(node)[0] not in core.collections]
    if len(suspects) * PROBE_US > CHEAP_US:
        return []
    load(core, suspects)
    suspects = [node for node in suspects if graph.cost[node] <= CHEAP_US]
    if spent + _price(core, suspects) > CHEAP_US:
        return []
    # Members are not among the dependencies of a collection: what lies below one is not known.
    alone = [node for node in suspects if not graph.flags[node] & REACH]
    return [node for node in alone if _can_run(core, node) and _is_lowest(core, node)]


def _price(core: Core, nodes: list[int]) -> int:
    """What it costs to probe them, in microseconds; of a handful an eighth of it counts."""
    cost = sum(core.graph.cost[node] + PROBE_US for node in nodes)
    return cost if len(nodes) > HANDFUL else cost // HANDFUL


def _can_run(core: Core, node: int) -> bool:
    """Whether its query and the classes of its arguments are defined here, and its code was compared."""
    load(core, (node,))
    return node not in core.collections and core.is_defined(node)


def _is_quiet(core: Core, node: int) -> bool:
    """Whether it stands for the code of a fold's accumulator: equal or not, the fold has to look.

    See test_other_code_or_arguments_of_an_accumulator_build_the_fold_anew_without_its_members.
    """
    load(core, (node,))
    info = core.info_of(node)
    return info is not None and info.quiet


def _is_lowest(core: Core, node: int) -> bool:
    graph = core.graph
    seen = {node}
    stack = [node]
    while stack:
        here = stack.pop()
        load(core, (here,))
        for below in entries(graph.below(here)):
            if below in seen:
                continue
            if below in graph.suspects or len(seen) > DESCENT:
                return False
            seen.add(below)
            stack.append(below)
    core.tally.visited += len(seen)
    return True
