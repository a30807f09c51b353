"""Comparison: what one engine keeps against what another one, that began with nothing, made of the same keys.

Invariants
    P1  Only what both hold as right is compared: a node that is marked, or rests on an unsettled collection,
        claims nothing.
    P2  A difference is told with the key it belongs to. Where something that the key read differs too, that
        is named (`because`), so that the places where it began stand out.
    P3  What may differ without fault is no difference, nor is what rests on it: an input that moved
        meanwhile, an untracked query, a value that its own `eq` takes for the same, or that is equal and
        pickled, a failure that is not kept, the path of a cycle where several share keys.
    P4  What is held is looked at, not only its fingerprint: stored bytes, values in memory, rows of tables,
        and of folds their states (contents C2).
    P5  Nothing is changed, and nothing is mended quietly.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from attrs import define, field, frozen

from engine.contents import Told, reduced_differing, rows_differing
from engine.core import Core
from engine.errors import CycleError, StoreDamaged
from engine.failure import Failure, describe
from engine.frame import CURRENT
from engine.graph import ABSENT, ERROR, INPUT, MARKED, MUTABLE, TRANSIENT, UNSTORED, UNTRACKED, entries
from engine.key import shown
from engine.locate import find
from engine.mark import spread
from engine.persist import load
from engine.reach import closure
from engine.recall import recall
from engine.store.codec import DamagedValue, fingerprint
from engine.tables.collection import Collection
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable

AT_ONCE: Final = 2_000  # nodes compared while the lock is held: some 20 ms
CONTEXT: Final = 40  # characters before the first one that differs
WIDTH: Final = 160  # characters of a value

Pair = tuple[bytes, bytes]  # fingerprints: kept, right
Texts = tuple[str, str]  # the same as people read it
Seen = Mapping[str, Pair]


@frozen
class KeyDifference:
    """A key whose value is kept otherwise than it comes out from scratch; as people read it.

    because   the key below it that differs too; "" where the difference begins
    """

    key: str
    kept: str
    right: str
    because: str = ""


@frozen
class Compared:
    """The result. `moved`: inputs that differ now and did not differ in the same way before."""

    compared: int
    differences: tuple[KeyDifference, ...]
    moved: dict[str, Pair]


@define
class _Findings:
    """What is known while it is compared. Nodes are those of the engine that began with nothing."""

    pairs: dict[int, int] = field(factory=dict)  # node -> node of the engine that is looked at
    differing: dict[int, list[Texts]] = field(factory=dict)  # what is told of it; nothing: both values
    excused: set[int] = field(factory=set)
    moved: dict[str, Pair] = field(factory=dict)


def compare(core: Core, scratch: Core, seen: Seen) -> Compared | None:
    """Compare all nodes that both engines have. None: the first one went on to another revision meanwhile.

    `seen`: inputs that differed when it was compared last. One that differs in the same way again does not
    move: it is kept wrongly.
    """
    found = _Findings()
    with core.lock:
        revision = core.revision
    nodes = iter(range(1, len(scratch.graph)))
    while some := list(islice(nodes, AT_ONCE)):
        with core.lock:
            core.check_usable()  # closed meanwhile, its lists are gone
            if core.revision != revision:
                return None
            spread(core)
            spread(scratch)
            for node in some:
                _pair(core, scratch, node, found)
            _compare_nodes(core, scratch, [node for node in some if node in found.pairs], found, seen)
    with core.lock:
        core.check_usable()
        if core.revision != revision:
            return None
        for one in scratch.collections.values():
            if one.node in found.pairs:
                _compare_contents(core, scratch, one, found)
        return Compared(len(found.pairs), tuple(_told(core, scratch, found)), found.moved)


# -- nodes ---------------------------------------------------------------------------------------


def _pair(core: Core, scratch: Core, node: int, found: _Findings) -> None:
    """Note the other engine's node of the same key, if both are right (P1)."""
    info = scratch.info_of(node)
    if info is None or not scratch.graph.verified_at[node] or scratch.graph.status[node] & MARKED:
        return
    if info.name not in core.queries.by_name:
        return
    other = find(core, info, scratch.args_of(node))
    if not other:
        return
    load(core, (other,))
    graph = core.graph
    holds = graph.verified_at[other] and not graph.status[other] & MARKED
    if holds and not closure(core, graph.flags[other]) & core.reach.doubtful:
        found.pairs[node] = other


def _compare_nodes(core: Core, scratch: Core, nodes: list[int], found: _Findings, seen: Seen) -> None:
    damaged = _damaged(core, [found.pairs[node] for node in nodes])
    for node in nodes:
        kept = found.pairs[node]
        ours, right = core.graph.fingerprint[kept], scratch.graph.fingerprint[node]
        if kept in damaged:
            found.differing[node] = [(damaged[kept], _cut(_text(scratch, node)))]
        if ours == right or (flags := core.graph.flags[kept]) & scratch.graph.flags[node] & TRANSIENT:
            continue
        if flags & ERROR and _same_failure(core, kept, scratch, node):
            continue
        if not ours or not right:
            continue  # it has no bytes in one of them: nothing to compare
        cycles = _is_cycle(core, kept), _is_cycle(scratch, node)
        if any(cycles) and isinstance(core.collections.get(kept), KeptFold):
            continue  # one that is asked for when its ring is closed knows nothing of that: its value does
        found.differing.setdefault(node, [])
        name = scratch.name_of(node)
        if flags & INPUT and seen.get(name) != (ours, right):
            found.moved[name] = ours, right
            found.excused.add(node)
        elif (
            (flags | scratch.graph.flags[node]) & (TRANSIENT | UNTRACKED)
            or all(cycles)  # of several that share keys either may be told
            or _same_by_eq(core, kept, scratch, node)
        ):
            found.excused.add(node)


def _damaged(core: Core, nodes: list[int]) -> dict[int, str]:
    """What is wrong with bytes and values that are held of these nodes, by node (P4)."""
    found: dict[int, str] = {}
    for node in nodes:
        held, info = core.graph.values[node], core.info_of(node)
        if held is ABSENT or info is None or isinstance(held, Failure) or not info.codec.storable:
            continue
        expected = core.graph.fingerprint[node]
        if not expected or core.graph.flags[node] & TRANSIENT:
            continue  # it has no bytes: nothing is kept of it but the object; or they are of the memo before
        if info.pickled and not core.graph.flags[node] & MUTABLE:
            continue  # to pickle it once more may give other bytes
        try:
            data = held if core.graph.flags[node] & MUTABLE else info.codec.freeze(held)[0]
        except Exception as error:  # anything may stand in it, with methods that raise
            found[node] = f"a value in memory that has no bytes: {describe(error)}"
            continue
        if fingerprint(data) != expected:
            found[node] = f"in memory: {_cut(shown(_held(core, node)))}"
    if core.store is not None:
        stored = [
            node for node in nodes if node not in core.unsaved.nodes and not core.graph.flags[node] & UNSTORED
        ]
        try:
            core.store.values(stored)
        except StoreDamaged:
            for node in stored:
                try:
                    core.store.value(node, core.graph.fingerprint[node])
                except StoreDamaged:
                    found[node] = "stored bytes that are not those of its fingerprint"
    return found


def _same_failure(core: Core, kept: int, scratch: Core, node: int) -> bool:
    """Whether both fail in the same way; the places where they were raised do not matter."""
    ours, right = _held(core, kept), _held(scratch, node)
    if not isinstance(right, Failure):  # not kept there: then its identity is its fingerprint
        return isinstance(ours, Failure) and ours.identity == scratch.graph.fingerprint[node]
    if not isinstance(ours, Failure):  # nobody kept it: only its fingerprint, places included, is known
        return ours is ABSENT and right.data is not None and bool(core.graph.flags[kept] & UNSTORED)
    return ours.identity == right.identity


def _is_cycle(core: Core, node: int) -> bool:
    """Whether a key fails by a cycle; of a table that is known also in a process that has not seen it."""
    one = core.collections.get(node)
    if one is not None and one.cyclic:
        return True
    held = _held(core, node)
    return isinstance(held, Failure) and isinstance(held.error, CycleError)


def _same_by_eq(core: Core, kept: int, scratch: Core, node: int) -> bool:
    info = scratch.info_of(node)
    same = None if info is None else operator.eq if info.pickled and info.eq is None else info.eq
    if same is None:
        return False
    ours, right = _held(core, kept), _held(scratch, node)
    if ours is ABSENT or right is ABSENT or isinstance(ours, Failure) or isinstance(right, Failure):
        return False
    token = CURRENT.set(core.outside)
    try:
        return bool(same(ours, right))
    except Exception:
        return False  # values whose comparison fails count as different, as where a query runs
    finally:
        CURRENT.reset(token)


# -- what collections keep -----------------------------------------------------------------------


def _compare_contents(core: Core, scratch: Core, right: Collection, found: _Findings) -> None:
    """Rows, contributions and states that are kept otherwise, though what they are made of is the same."""
    kept = core.collections.get(found.pairs[right.node])
    if kept is None or kept.failing or right.failing:
        return
    told: Iterable[Told] = ()
    if isinstance(kept, KeptTable) and isinstance(right, KeptTable):
        told = rows_differing(scratch, kept, right, found.differing)
    elif isinstance(kept, KeptFold) and isinstance(right, KeptFold):
        told = reduced_differing(
            core, kept, right, found.pairs, found.differing, lambda node: _cut(_text(scratch, node))
        )
    several: dict[int, list[Texts]] = {}
    for node, ours, due in told:
        several.setdefault(node, []).append((ours, due))
    found.differing.update(several)


# -- telling -------------------------------------------------------------------------------------


def _told(core: Core, scratch: Core, found: _Findings) -> Iterator[KeyDifference]:
    """The differences, those first where they begin; without what may differ (P2, P3)."""
    below = {node: _below(scratch, node, found) for node in found.differing}
    _excuse_above(below, found.excused)
    several = []
    for node, texts in found.differing.items():
        if node in found.excused:
            continue
        because = scratch.name_of(below[node][0]) if below[node] and not texts else ""
        for kept, right in texts or [_both(core, found.pairs[node], scratch, node)]:
            several.append(KeyDifference(scratch.name_of(node), kept, right, because))
    yield from sorted(several, key=lambda one: (bool(one.because), one.key))


def _below(scratch: Core, node: int, found: _Findings) -> list[int]:
    """What a node read, or has as members, that differs too."""
    read: Iterable[int] = entries(scratch.graph.below(node))
    one = scratch.collections.get(node)
    if one is not None:
        read = [*read, *sorted(one.members or ())]
    return [other for other in read if other in found.differing and other != node]


def _excuse_above(below: dict[int, list[int]], excused: set[int]) -> None:
    above: dict[int, list[int]] = {}
    for node, several in below.items():
        for other in several:
            above.setdefault(other, []).append(node)
    waiting = list(excused)
    while waiting:
        for node in above.get(waiting.pop(), ()):
            if node not in excused:
                excused.add(node)
                waiting.append(node)


def _both(core: Core, kept: int, scratch: Core, node: int) -> Texts:
    """Two values that differ, shortened to where they do."""
    ours, right = _text(core, kept), _text(scratch, node)
    same = next((at for at, (a, b) in enumerate(zip(ours, right, strict=False)) if a != b), -1)
    same = min(len(ours), len(right)) if same < 0 else same
    if ours == right:
        prints = core.graph.fingerprint[kept].hex(), scratch.graph.fingerprint[node].hex()
        return f"{_cut(ours)} (fingerprint {prints[0]})", f"{_cut(right)} (fingerprint {prints[1]})"
    return _cut(ours, same), _cut(right, same)


def _text(core: Core, node: int) -> str:
    one = core.collections.get(node)
    if isinstance(one, KeptTable):
        return f"rows with the digest {one.digest}"
    value = _held(core, node)
    if isinstance(value, Failure):
        return f"an error: {describe(value.error)}"
    if value is ABSENT:
        return f"a value that is not kept (fingerprint {core.graph.fingerprint[node].hex()})"
    return shown(value)


def _held(core: Core, node: int) -> Any:
    """A value or failure; ABSENT where nobody kept it, or what was kept is damaged."""
    try:
        return recall(core, node)
    except (StoreDamaged, DamagedValue):
        return ABSENT


def _cut(text: str, at: int = 0) -> str:
    """A text shortened to what is around a place in it."""
    start = max(0, at - CONTEXT) if len(text) > WIDTH else 0
    end = start + WIDTH
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
