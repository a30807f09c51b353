"""First look: what a start knows of the observed inputs, and which of them differ from the world.

Nearly all inputs are paths, and nearly none differs. So they are stamped and compared by the thousand, and
nothing is made for one of them alone unless it differs.

Invariants
    L1  What differs here is what would differ if each input were stamped and compared alone.
    L2  No row of an input is loaded: names, arguments and stamps are all that is known of it.
    L3  An input whose query no loaded module defines is left alone: `bind` has it looked at later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from engine.core import Core
from engine.graph import PINNED, Graph
from engine.locate import bind
from engine.observe import CHUNK, UNSETTLED, stamps_of_texts
from engine.query import REGISTRY, QueryInfo

# A node that is to be read, and its stamp of now; None where it could not be taken.
Asked = tuple[int, QueryInfo, tuple[Any, ...], bytes | None]


@define(eq=False, repr=False)
class Block:
    """Inputs of one query that are called with one text each, and are stamped together."""

    info: QueryInfo
    nodes: list[int] = field(factory=list)
    texts: list[str] = field(factory=list)
    stamps: list[bytes] = field(factory=list)


@define(eq=False, repr=False)
class Loaded:
    """All observed inputs: those in blocks, and the others."""

    blocks: list[Block] = field(factory=list)
    others: list[int] = field(factory=list)


def load_observed(core: Core) -> Loaded:
    """Names and stamps of the observed inputs that the store knows; their rows stay where they are.

    Also for a watch that wants to know what is observed before the first `sync`, which does it again. The
    lock is held.
    """
    loaded = Loaded()
    before = list(core.observed)
    filling: dict[int, Block] = {}
    graph, seen = core.graph, set[int]()
    for packed in core.store.input_blocks() if core.store is not None else ():
        info = _definition(core, packed.query)
        if info is None:
            continue
        query, args = graph.query, graph.args
        for node in packed.nodes:
            query[node] = packed.query
        known_args: Sequence[str | bytes] = packed.texts or packed.args or ()
        for node, known in zip(packed.nodes, known_args, strict=True):
            if args[node] is None:
                args[node] = known
        core.observed.update(zip(packed.nodes, packed.stamps, strict=True))
        if before:
            seen.update(packed.nodes)
        if packed.texts is None or info.stamp is None or info.stamps is None:
            loaded.others += packed.nodes
            continue
        block = filling.get(packed.query)
        if block is None or len(block.nodes) + len(packed.nodes) > CHUNK:
            block = filling[packed.query] = Block(info)
            loaded.blocks.append(block)
        block.nodes += packed.nodes
        block.texts += packed.texts
        block.stamps += packed.stamps
    loaded.others += [node for node in before if node not in seen]
    return loaded


def _definition(core: Core, row: int) -> QueryInfo | None:
    info = core.bound[row]
    if info is None:
        info = REGISTRY.get(core.name_of_row[row])
        if info is None or not info.observed:
            return None  # looked at when its module is loaded, see `bind`
        bind(core, info)
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
    return info


def differing(root: Path, graph: Graph, blocks: Sequence[Block]) -> list[Asked]:
    """Stamp the inputs of some blocks; those that differ, or whose stamp could not be trusted.

    Runs without the lock.
    """
    flags = graph.flags
    found: list[Asked] = []
    stamps = stamps_of_texts(root, [(block.info, block.texts) for block in blocks])
    for block, now in zip(blocks, stamps, strict=True):
        if now == block.stamps and UNSETTLED not in now:
            continue
        for node, text, old, new in zip(block.nodes, block.texts, block.stamps, now, strict=True):
            if (new != old or old == UNSETTLED) and not flags[node] & PINNED:
                found.append((node, block.info, (text,), new))
    return found
