"""Tree: a Python repository of any size, the same at every run. Imports follow a power law: hubs are few.

`repository` makes one as people could have written it, with all that this takes. The figures of `watching`
are of this one, whose modules are all alike: what an edit costs depends on who imports the module, and on
nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

FILES_PER_DIRECTORY = 10


def modules(files: int) -> Iterator[tuple[str, str]]:
    """Path and text of each module. A module imports only earlier ones, so there are no cycles."""
    chance = random.Random(1)
    for number in range(files):
        yield path_of(number), text_of(number, chance)


def path_of(number: int) -> str:
    """Where module `number` lies: packages of ten modules, a hundred packages to a larger one."""
    directory = number // FILES_PER_DIRECTORY
    return f"pkg{directory // 100}/part{directory % 100}/m{number}.py"


def text_of(number: int, chance: random.Random) -> str:
    """The source of a module: some 40 lines, three classes and functions, a few imports."""
    lines = [f'"""Module {number}."""', "", "from __future__ import annotations", ""]
    imported = sorted({int(number * chance.random() ** 3) for _ in range(min(number, 4))})
    for other in imported:
        dotted = path_of(other).removesuffix(".py").replace("/", ".")
        lines.append(f"from {dotted} import Shape{other}, area{other}")
    lines += ["", f"LIMIT = {chance.randrange(1000)}", "", "", f"class Shape{number}:"]
    lines += [f'    """A shape of module {number}."""', ""]
    for name in ("width", "height", "depth"):
        lines += [
            f"    def {name}(self, factor: int = {chance.randrange(9)}) -> int:",
            f"        # the {name}, scaled",
            f"        return self.base * factor + {chance.randrange(99)}",
            "",
        ]
    lines += ["", f"def area{number}(shape: Shape{number}) -> int:", "    total = shape.width() * LIMIT"]
    lines += [f"    total += area{other}(Shape{other}())" for other in imported]
    return "\n".join([*lines, "    return total", ""])
