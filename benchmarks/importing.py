"""Importing: the import statements of a generated module, and what can be used thanks to them."""

from __future__ import annotations

from random import Random

from benchmarks.naming import PER_PACKAGE, Naming

Class = tuple[str, tuple[str, ...]]  # as it is written, and its methods


class Imports:
    """What one module imports, in many styles: `lines`, and the expressions `classes` and `calls`."""

    def __init__(self, naming: Naming, number: int, chance: Random) -> None:
        self.lines: list[str] = []
        self.classes: list[Class] = []
        self.calls: list[str] = []
        self._naming, self._number, self._chance = naming, number, chance
        wanted = min(number, 8, int(chance.paretovariate(1.2)))
        targets = sorted({int(number * chance.random() ** 3) for _ in range(wanted)} - {number})
        for target in targets:
            self._import(target)
        if number > PER_PACKAGE and chance.random() < 0.08:
            self.lines.append(f"from {naming.package_name(0)} import *")
            self.calls.append(naming.re_exported(1)[1])
        if chance.random() < 0.1:
            self.lines += ["try:", "    import ujson as json", "except ImportError:", "    import json"]
            self.calls.append("json.dumps")

    def _import(self, target: int) -> None:
        naming, chance = self._naming, self._chance
        style = chance.randrange(8)
        name = naming.module(target)
        package = naming.package_name(target // PER_PACKAGE)
        if style == 0:
            self.lines.append(f"from {package} import {name}")
            self._use(target, f"{name}.")
        elif style == 1:
            self.lines.append(f"import {naming.dotted(target)} as _{name}")
            self._use(target, f"_{name}.")
        elif style == 2:
            self.lines.append(f"import {naming.dotted(target)}")
            self._use(target, f"{naming.dotted(target)}.")
        elif style == 3 and naming.re_exported(target):
            self.lines.append(f"from {package} import {', '.join(naming.re_exported(target))}")
            self._use(target, "")
        elif style == 4:
            self.lines += [
                "from typing import TYPE_CHECKING", "", "if TYPE_CHECKING:",
                f"    from {naming.dotted(target)} import {naming.classes(target)[0]}",
            ]  # fmt: skip
        else:
            source = self._relative(target) if chance.random() < 0.5 else naming.dotted(target)
            self.lines.append(
                f"from {source} import {naming.classes(target)[0]}, {naming.functions(target)[0]}"
            )
            self._use(target, "")

    def _use(self, target: int, prefix: str) -> None:
        naming = self._naming
        self.classes.append((f"{prefix}{naming.classes(target)[0]}", naming.methods(target, 0)))
        self.calls.append(f"{prefix}{naming.functions(target)[0]}")

    def _relative(self, target: int) -> str:
        """The module as it is written with dots."""
        here = self._naming.dotted(self._number).split(".")[:-1]
        there = self._naming.dotted(target).split(".")
        common = 0
        while common < min(len(here), len(there) - 1) and here[common] == there[common]:
            common += 1
        return "." * (len(here) - common + 1) + ".".join(there[common:])
