"""Packed: a batch of keys for one worker, with what it needs of this process and was not told yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from engine.core import Core
from engine.parallel.held import Held
from engine.parallel.shared import Shared
from engine.parallel.slot import Slot
from engine.parallel.stored import StoredTables
from engine.parallel.units import Batch, Surroundings, Unit
from engine.store import canonical


def packed(
    core: Core,
    slot: Slot,
    nodes: Sequence[int],
    around: Surroundings,
    held: Held,
    shared: Shared,
    stored: StoredTables,
) -> Batch:
    """What a worker is sent to compute these nodes. From now on it counts as told."""
    modules: dict[str, bytes] = {}
    units: list[Unit] = []
    given = shared.news(slot)
    for node in nodes:
        info = core.definition_of(node)
        module = sys.modules[info.function.__module__]
        if module.__name__ not in slot.modules:
            modules[module.__name__] = os.fsencode(os.path.abspath(str(module.__file__)))
        code = core.queries.codes[core.graph.query[node]]
        units.append(Unit(info.name, canonical.canonical(core.args_of(node)), code))
        held.look_at(node)
        given += shared.below(node, slot)
    slot.modules |= modules.keys()
    fresh, slot.surroundings = None if slot.surroundings == around else around, around
    digests, asked = held.news(slot.told)
    tables, imports = stored.news(slot), tuple(modules.items())
    return Batch(slot.epoch, fresh, imports, digests, asked, tuple(given), tables, tuple(units))
