"""First look: what a start knows of the observed inputs, and which of them differ from the world.

Nearly all inputs are paths, and nearly none differs. So they are stamped and compared by the thousand, and
nothing is made for one of them alone unless it differs.

Invariants
    L1  What differs here is what would differ if each input were stamped and compared alone.
    L2  No row of an input is loaded: names, arguments and stamps are all that is known of it.
    L3  An input whose query no loaded module defines is left alone: `bind` has it looked at later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from engine.core import Core
from engine.frame import CURRENT
from engine.graph import PINNED, Graph
from engine.locate import bind
from engine.observe import CHUNK, RACY, InputFrame, taken_together
from engine.query import REGISTRY, QueryInfo

if TYPE_CHECKING:
    from engine.store.bundles import Bundle

# A node that is to be read, and its stamp of now; None where it could not be taken.
Asked = tuple[int, QueryInfo, tuple[Any, ...], bytes | None]


@define(eq=False, repr=False)
class Stamping:
    """Inputs of one query that are called with one text each, and are stamped together."""

    info: QueryInfo
    bundles: list[Bundle] = field(factory=list)

    @property
    def texts(self) -> list[str]:
        """Their arguments."""
        texts: list[str] = []
        for one in self.bundles:
            texts += one.texts or ()
        return texts

    def __len__(self) -> int:
        return sum(map(len, self.bundles))


@define(eq=False, repr=False)
class Loaded:
    """All observed inputs: those that are stamped together, and the others."""

    stampings: list[Stamping] = field(factory=list)
    others: list[int] = field(factory=list)


def load_observed(core: Core) -> Loaded:
    """Names and stamps of the observed inputs that the store knows; their rows stay where they are.

    Also for a watch that wants to know what is observed before the first `sync`, which does it again. The
    lock is held.
    """
    loaded = Loaded()
    before = list(core.observed)
    filling: dict[int, Stamping] = {}
    seen = set[int]()
    for stored in core.store.bundles() if core.store is not None else ():
        info = _definition(core, stored.query)
        if info is None:
            continue
        core.observed.take_over(core.graph, stored)
        if before:
            seen.update(stored.nodes)
        if not stored.is_texts or info.stamp is None or info.stamps is None:
            loaded.others += stored.nodes
            continue
        stamping = filling.get(stored.query)
        if stamping is None or len(stamping) + len(stored) > CHUNK:
            stamping = filling[stored.query] = Stamping(info)
            loaded.stampings.append(stamping)
        stamping.bundles.append(stored)
    loaded.others += [node for node in before if node not in seen]
    return loaded


def _definition(core: Core, row: int) -> QueryInfo | None:
    info = core.queries.bound[row]
    if info is None:
        info = REGISTRY.get(core.queries.names[row])
        if info is None or not info.observed:
            return None  # looked at when its module is loaded, see `bind`
        bind(core, info)
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
    return info


def differing(root: Path, graph: Graph, stampings: Sequence[Stamping]) -> list[Asked]:
    """Stamp the inputs of some stampings; those that differ, or whose stamp could not be trusted.

    Runs without the lock.
    """
    found: list[Asked] = []
    for stamping, now in _stamped(root, stampings):
        start = 0
        for stored in stamping.bundles:
            end = start + len(stored)
            taken, start = now[start:end], end
            if not stored.has(taken) or RACY in taken:
                found += _differing(graph, stamping.info, stored, taken)
    return found


def _stamped(root: Path, stampings: Sequence[Stamping]) -> Iterator[tuple[Stamping, Sequence[bytes | None]]]:
    """Each stamping and the stamps of its inputs. What queries with one `stamps=` share is stamped once.

    A query whose first stamping shares nothing is taken to share nothing: to look for each text costs as much
    as to unpack it, and to stamp one twice is no mistake.
    """
    together: dict[Callable[..., Any], dict[int, list[Stamping]]] = {}
    for stamping in stampings:
        assert stamping.info.stamps is not None
        together.setdefault(stamping.info.stamps, {}).setdefault(stamping.info.index, []).append(stamping)
    outside = InputFrame(root)
    for by_query in together.values():
        known: dict[str, bytes | None] = {}
        ordered = sorted(by_query.values(), key=len)
        for of_query in ordered:
            shared = known
            for stamping in of_query:
                texts = stamping.texts
                if shared.keys().isdisjoint(texts):
                    shared = {}
                token = CURRENT.set(outside)
                try:
                    taken = _unknown_taken(stamping.info, texts, shared)
                finally:
                    CURRENT.reset(token)
                if of_query is not ordered[-1]:
                    known.update(zip(texts, taken, strict=True))
                yield stamping, taken


def _unknown_taken(
    info: QueryInfo, texts: list[str], known: dict[str, bytes | None]
) -> Sequence[bytes | None]:
    """The stamps of some texts, of which some may be known."""
    if not known:
        return taken_together(info, texts)
    unknown = [text for text in texts if text not in known]
    stamps = dict(zip(unknown, taken_together(info, unknown), strict=True)) if unknown else {}
    return [stamps[text] if text in stamps else known[text] for text in texts]


def _differing(
    graph: Graph, info: QueryInfo, stored: Bundle, taken: Sequence[bytes | None]
) -> Iterator[Asked]:
    for node, text, old, new in zip(stored.nodes, stored.texts or (), stored.stamps, taken, strict=True):
        if (new != old or old == RACY) and not graph.flags[node] & PINNED:
            yield node, info, (text,), new
