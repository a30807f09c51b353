"""Explain: why a key ran last, or why it did not; what it read and who read it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from engine.core import Core
from engine.failure import Failure, describe
from engine.graph import (
    ABSENT,
    AGAIN,
    EQUAL,
    ERROR,
    FORCED,
    INPUT,
    MARKED,
    PINNED,
    REASON_SHIFT,
    TRANSIENT,
    UNSTORED,
    entries,
)
from engine.mark import spread
from engine.persist import load, readers_of
from engine.raising import notes_of, set_notes
from engine.reach import closure
from engine.reason import Reason
from engine.tables.kinds import own_queries

CHAIN = 50  # links shown at most; a longer chain says where it ends

CHAIN_SHOWN = 20  # keys named in the note of an exception
WHILE = "while computing "

_SETTLED = "a member changed, or may have changed"
SENTENCE = {
    Reason.NEW: "it had never run",
    Reason.CODE: "its code, or a project function it calls, changed",
    Reason.FORGOTTEN: "it was forgotten on request",
    Reason.RETRY: "the run before rested on a failure that is not kept",
    Reason.UNTRACKED: "it is untracked and runs in every revision",
    Reason.SET: "it was set",
    Reason.RESET: "it was given back to its function",
    Reason.OBSERVED: "the world was looked at",
    Reason.AGAIN: "its value is not kept, and somebody needed it",
    Reason.ROWS: "rows that it looks at changed, or may have changed",
    Reason.RESTORED: "what it reads is again what it was, so that a memo that it had holds again",
    Reason.LEFT: "an earlier process left word that it must run (forgotten, other code, or a failed try)",
}


@frozen(slots=True)
class Link:
    """One step of the chain of causes: a key that changed, when, and why it did.

    reason: "" where that is not known any more, because it ran since and came to the same.
    """

    key: str
    changed_at: int
    reason: str


@frozen(slots=True)
class Why:
    """What is known of a key. `str(why)` is the answer in one sentence.

    state: "unknown" (never computed), "clean", "maybe dirty" (something below changed and nobody asked
    since), "must run". changed_at, verified_at: revisions. chain: from the direct cause down to the input.
    error: what it failed with, in a line; "" where it did not fail, or the error is not kept.
    """

    key: str
    state: str
    reason: str
    changed_at: int
    verified_at: int
    durability: int
    microseconds: int
    failed: bool
    chain: tuple[Link, ...]
    error: str = ""

    def __str__(self) -> str:
        if self.state == "unknown":
            return f"{self.key} was never computed"
        because = ", because ".join(f"{link.key} changed in R{link.changed_at}" for link in self.chain)
        last = self.chain[-1].reason if self.chain else ""
        text = f"{self.key} ran last because {because or self.reason}"
        if self.reason == SENTENCE[Reason.RESTORED]:
            text = f"{self.key} did not run: {self.reason}"
        if last and last not in text:
            text += f" ({last})"
        return f"{text}; its value is of R{self.changed_at}; {self.state} now"


def why(core: Core, node: int | None, name: str) -> Why:
    """Explain the state of a node. The lock is held. Computes nothing."""
    if not node or not _has_memo(core, node):
        return Why(name, "unknown", "", 0, 0, 0, 0, False, ())
    graph = core.graph
    spread(core)
    status = graph.status[node]
    flags = graph.flags[node]
    waits = status & MARKED or closure(core, flags) & core.reach.doubtful  # marks end at collections
    state = "must run" if status & FORCED or flags & TRANSIENT else "maybe dirty" if waits else "clean"
    return Why(
        key=name,
        state=state,
        reason=reason_of(core, node),
        changed_at=graph.changed_at[node],
        verified_at=graph.verified_at[node] if waits else core.revision,
        durability=graph.durability[node],
        microseconds=graph.cost[node],
        failed=bool(flags & ERROR),
        chain=_chain(core, node),
        error=error_of(core, node) if flags & ERROR else "",
    )


def error_of(core: Core, node: int) -> str:
    """The failure of a node in a line, also where no module that defines its query is loaded.

    "" where it is not kept. That of a member whose value is not kept is, by its table. The lock is held.
    """
    held: object = core.graph.values[node]
    if held is ABSENT and core.store is not None and not core.graph.flags[node] & UNSTORED:
        data = core.unsaved.nodes.get(node) or core.store.value(node, core.graph.fingerprint[node])
        held = None if data is None else Failure.restored(data)
    if isinstance(held, Failure):
        return describe(held.error)
    tables = (core.collections[one] for one in readers_of(core, node) if one in core.collections)
    return next((told.decode() for one in tables if (told := one.failure_of(node))), "")


def _has_memo(core: Core, node: int) -> bool:
    load(core, (node,))
    return core.graph.verified_at[node] > 0


def reason_of(core: Core, node: int) -> str:
    """Why a node was last run or looked at, in words. The lock is held; nothing is marked."""
    if core.graph.flags[node] & AGAIN:
        return SENTENCE[Reason.AGAIN]
    return _reason_of_memo(core, node)


def _reason_of_memo(core: Core, node: int) -> str:
    """Why the memo was made that a node has, though it may have run since for its value."""
    flags = core.graph.flags[node]
    reason = Reason(flags >> REASON_SHIFT & 0xF)
    if reason is Reason.CHANGED:
        cause = core.graph.cause[node]
        if cause:
            load(core, (cause,))
        if cause:
            return f"{core.name_of(cause)} changed"
        return _SETTLED if node in core.collections else "its old memo could not be proven"
    if flags & INPUT and reason in (Reason.NEW, Reason.OBSERVED):
        return (
            "set by the host"
            if flags & PINNED
            else "looked at for the first time"
            if reason is Reason.NEW
            else "the world changed"
        )
    return SENTENCE[reason]


def _chain(core: Core, node: int) -> tuple[Link, ...]:
    graph = core.graph
    if graph.flags[node] & AGAIN:
        return ()
    links: list[Link] = []
    here, no_later = node, _last_run_before(core, node)
    while len(links) < CHAIN:
        cause = graph.cause[here]
        if Reason(graph.flags[here] >> REASON_SHIFT & 0xF) is not Reason.CHANGED or not cause:
            break
        load(core, (cause,))
        if graph.changed_at[cause] > no_later:
            break  # it changed again since: when it was what made this one run is not known
        here, no_later = cause, graph.changed_at[cause]
        was_equal = graph.flags[here] & EQUAL  # the run that is known came after the change that we follow
        links.append(Link(core.name_of(here), no_later, "" if was_equal else _reason_of_memo(core, here)))
        if was_equal:
            break
    return tuple(links)


def _last_run_before(core: Core, node: int) -> int:
    """The last revision in which what made a node run can have changed, so that it did run for that."""
    graph = core.graph
    if graph.flags[node] & EQUAL and graph.cause[node] in graph.below(node):  # then it is followed since
        return graph.verified_at[node]
    return graph.changed_at[node]


def annotate(core: Core, node: int, error: Exception) -> None:
    """Say on an exception which keys led to it: one note, that of the outermost request. The lock is held."""
    graph = core.graph
    path = dict.fromkeys([node])
    here: int | None = node
    while here is not None:
        path[here] = None
        below = entries(graph.below(here))
        load(core, below)
        digest = graph.fingerprint[here]
        failed = [n for n in below if graph.flags[n] & ERROR and graph.fingerprint[n] == digest]
        held = graph.values[here]
        if graph.flags[here] & TRANSIENT and isinstance(held, Failure):  # held for now, without a fingerprint
            failed = [n for n in below if _is_as(graph.values[n], held)]
        if not failed and graph.flags[here] & ERROR:
            failed = [n for n in below[-1:] if graph.flags[n] & ERROR]  # what it read last is what it raised
        here = next((n for n in failed if n not in path), None)
    names = [core.name_of(n) for n in path]
    if len(names) > CHAIN_SHOWN:
        names = [
            *names[: CHAIN_SHOWN // 2],
            f"… {len(names) - CHAIN_SHOWN} more …",
            *names[-CHAIN_SHOWN // 2 :],
        ]
    notes = [note for note in notes_of(error) if not note.startswith(WHILE)]
    set_notes(error, [*notes, WHILE + " -> ".join(names)])


def _is_as(value: object, failure: Failure) -> bool:
    return isinstance(value, Failure) and value.identity == failure.identity


def dependencies(core: Core, node: int) -> list[str]:
    """Display names of what a node read, in order; of a table or fold also its members. The lock is held."""
    load(core, (node,))
    below = entries(core.graph.below(node))
    if node in core.collections:
        below += sorted(core.collections[node].load_members())
    load(core, below)
    return [core.name_of(each) for each in below]


def dependents(core: Core, node: int) -> list[str]:
    """Display names of who read a node, sorted; of a table or fold who looked into it. The lock is held."""
    above: Iterable[int] = readers_of(core, node)
    if node in core.collections:
        one = core.collections[node]
        own = [row for row in own_queries(core, one) if core.queries.by_name.get(f"{one.name}.into") != row]
        fed = [other.node for several in one.feeds.values() for other in several]
        above = [*fed, *(found for row in own for found in core.nodes_of(row) if found != node)]
    load(core, above)
    return sorted(core.name_of(each) for each in above)
