"""Whatever is hinted, and when, nothing is dropped or left waiting."""

from __future__ import annotations

import random

import pytest

from engine.watch.update_scheduler import BUSY_MOST, CAP, HELD_CAP
from tests.scheduler_rig import Rig


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_ever_dropped_or_left_waiting(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig()
    owed: dict[str, float] = {}  # hinted, not in a batch since: when
    nodes: set[int] = set()
    for _ in range(400):
        match chance.randrange(8):
            case 0 | 1 | 2:
                paths = [f"{chance.randrange(6)}" for _ in range(chance.randrange(1, 4))]
                rig.hint(*paths)
                for path in paths:
                    owed.setdefault(path, rig.now)
            case 3:
                node = chance.randrange(5)
                rig.scheduler.look([node])
                nodes.add(node)
            case 4:
                rig.held = not rig.held
            case 5 if chance.random() < 0.2:
                rig.scheduler.flush(chance.choice(["", "asked for"]))
            case _:
                rig.now += chance.choice([0.0005, 0.003, 0.02, 0.3])
        batch = rig.scheduler.take()
        if batch is not None:
            for path in batch.paths:
                assert path in owed, "a path in two batches"
                del owed[path]
            nodes -= set(batch.nodes)
            if batch.crawl:
                assert not owed
                assert not nodes
            if batch.tickets:
                assert not owed, "who waits has everything that was hinted before"
        late = [path for path, since in owed.items() if rig.now - since > HELD_CAP + CAP + BUSY_MOST + 1]
        assert not late
    rig.held = False
    rig.now += HELD_CAP
    while rig.scheduler.due() is not None:
        _, batch = rig.next()
        for path in batch.paths:
            owed.pop(path, None)
        nodes -= set(batch.nodes)
    assert not owed
    assert not nodes
