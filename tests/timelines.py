"""Timelines: random programs, and random steps of their worlds, each of which is checked."""

from __future__ import annotations

import random
from typing import Any

from tests.expressions import Choose, Expression
from tests.live import Program
from tests.programs import ARGUMENTS, CELLS, FILES, random_expression
from tests.worlds import Settings, World


def random_program(choose: Choose, settings: Settings) -> Program:
    size = choose(1, 6 if settings.cyclic else choose(2, 12))
    kinds = ["plain", "list", "memory", "untracked"] if settings.exotic else ["plain"]
    chosen = [kinds[choose(0, len(kinds) - 1)] for _ in range(size)]
    durability = max(0, choose(0, 3) - 1)
    code = [random_code(choose, settings, q, size, chosen[q], durability) for q in range(size)]
    return Program(code, chosen, durability)


def random_code(
    choose: Choose, settings: Settings, q: int, size: int, kind: str, durability: int
) -> Expression:
    below = range(size if settings.cyclic else q)
    leaves = "cells" if settings.cyclic else "switches" if durability else "cells and files"
    code = random_expression(choose, below, choose(1, 3), leaves)
    return ("add", code, ("wild",)) if kind == "untracked" else code


# -- random steps --------------------------------------------------------------------------------


def fuzz(seed: int, settings: Settings, steps: int = 40) -> None:
    """A random program and a random timeline, checked at every step."""
    choose = random.Random(seed).randint
    world = World(settings, random_program(choose, settings))
    try:
        for _ in range(steps):
            world.apply(random_step(choose, world))
    finally:
        world.close()


def switch_branches(seed: int, settings: Settings, steps: int = 40) -> int:
    """Go to and fro between states of all inputs, asking a few keys; returns how many memos came back."""
    choose = random.Random(seed).randint
    world = World(settings, random_program(choose, settings))
    try:
        states = [[choose(0, 2) for _ in range(CELLS + FILES)] for _ in range(choose(2, 3))]
        keys = [random_key(choose, world) for _ in range(3)]
        for _ in range(steps // 4):
            state = states[choose(0, len(states) - 1)]
            world.apply(["set", [["cell", i, state[i], None] for i in range(CELLS)]])
            for i in range(FILES):
                world.apply(["write", i, state[CELLS + i] or None])
            world.apply(["sync"])
            for key in keys[: choose(1, 3)]:
                world.apply(["get", *key])
            kind = choose(0, 19)
            if kind < 3:
                world.apply(random_restart(choose, world))
            elif kind < 5:
                world.apply(random_step(choose, world))
        return world.model.restored
    finally:
        world.close()


def random_step(choose: Choose, world: World) -> list[Any]:
    """One step, made of small integers; the smallest of them make the simplest step."""
    kind = choose(0, 99)
    if kind < 40:
        return ["get", *random_key(choose, world)]
    for share, make in ((62, random_set), (66, random_reset), (79, random_write), (83, random_code_step)):
        if kind < share:
            return make(choose, world)
    if kind < 86:
        return random_forget(choose, world)
    if kind < 91:
        return random_restart(choose, world)
    if kind < 93:
        return ["wild", choose(0, 4)]
    return random_snapshot(choose, world)


def random_key(choose: Choose, world: World) -> list[int]:
    last = len(world.queries) - 1  # more often the upper ones, and the same argument again
    return [max(choose(0, last), choose(0, last)), choose(0, ARGUMENTS - 1) * choose(0, 1)]


def random_input(choose: Choose, world: World) -> list[Any]:
    if not world.settings.cyclic and choose(0, 9) == 9:
        return ["file", choose(0, FILES - 1)]
    return ["cell", choose(0, CELLS - 1)]


def random_set(choose: Choose, world: World) -> list[Any]:
    count = max(1, choose(0, 8) - 4)
    changes: list[list[Any]] = []
    for _ in range(count):
        level = max(-1, choose(0, 22) - 20)
        changes.append([*random_input(choose, world), choose(0, 4), None if level < 0 else level])
    return ["set", changes]


def random_reset(choose: Choose, world: World) -> list[Any]:
    return ["reset", *random_input(choose, world)]


def random_write(choose: Choose, world: World) -> list[Any]:
    if choose(0, 1):
        return ["sync"]
    content = choose(0, 4)
    return ["write", choose(0, FILES - 1), None if content > 2 else content]


def random_code_step(choose: Choose, world: World) -> list[Any]:
    return ["code", *random_new_code(choose, world)]


def random_forget(choose: Choose, world: World) -> list[Any]:
    return ["forget", choose(0, len(world.queries) - 1)]


def random_new_code(choose: Choose, world: World) -> list[Any]:
    size = len(world.queries)
    q = choose(0, size - 1)
    return [q, random_code(choose, world.settings, q, size, world.kinds[q], world.durability)]


def random_restart(choose: Choose, world: World) -> list[Any]:
    changes = [random_new_code(choose, world)] if choose(0, 2) == 2 else []
    return [("restart", "crash")[choose(0, 1)], changes]


def random_snapshot(choose: Choose, world: World) -> list[Any]:
    kind = choose(0, 3)
    if kind == 0 or not world.held:
        return ["hold"]
    return ["release"] if kind == 1 else ["recall", choose(0, 3), *random_key(choose, world)]
