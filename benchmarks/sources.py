"""Sources: the texts of a generated repository (`repository.py`)."""

from __future__ import annotations

from random import Random

from benchmarks.importing import Imports
from benchmarks.naming import PER_PACKAGE, Naming

MISSING = 31  # one module of so many imports something that is not there
LOCAL = 7  # one of so many imports inside of a function
BROKEN = 97  # one of so many has a syntax error
LATIN = 211  # one of so many is not UTF-8


def project(naming: Naming) -> str:
    """pyproject.toml, with one script."""
    script = f"{naming.dotted(0)}:{naming.functions(0)[0]}"
    return f'[project]\nname = "app"\nversion = "1.0"\n\n[project.scripts]\napp = "{script}"\n'


def conftest(naming: Naming) -> str:
    """The fixtures of all tests."""
    name = naming.classes(0)[0]
    return (
        f'"""Fixtures."""\n\nimport pytest\n\nfrom {naming.dotted(0)} import {name}\n\n\n'
        f"@pytest.fixture\ndef sample() -> {name}:\n    return {name}()\n"
    )


def area_init(naming: Naming, package: int) -> str:
    """The `__init__.py` of an area: a re-export of what the first package may re-export itself."""
    number = package * PER_PACKAGE + 1
    several = naming.re_exported(number)
    source = f".{naming.directory(package).rpartition('/')[2]}"
    if not several:
        source, several = f"{source}.{naming.module(number)}", naming.classes(number)
    return f'"""An area."""\n\nfrom {source} import {", ".join(several)}\n'


def package_init(naming: Naming, package: int) -> str:
    """The `__init__.py` of a package: in turn names, stars, nothing, modules."""
    numbers = range(package * PER_PACKAGE, (package + 1) * PER_PACKAGE)
    lines = [f'"""The package {naming.package_name(package)}."""', ""]
    if package % 4 == 0:
        several = [(number, names) for number in numbers if (names := naming.re_exported(number))]
        lines += [f"from .{naming.module(number)} import {', '.join(names)}" for number, names in several]
        exported = [name for _, names in several for name in names]
        lines += ["", "__all__ = [", *(f'    "{name}",' for name in dict.fromkeys(exported)), "]"]
    elif package % 4 == 1:
        lines += [f"from .{naming.module(number)} import *" for number in numbers if naming.has_all(number)]
    elif package % 4 == 3:
        lines.append(f"from . import {naming.module(numbers[0])}, {naming.module(numbers[4])}")
    return "\n".join([*lines, ""])


def stub(naming: Naming, number: int) -> str:
    """A `.pyi` beside a module."""
    lines = [f"class {name}: ..." for name in naming.classes(number)]
    lines += [f"def {name}(value: int) -> int: ..." for name in naming.functions(number)]
    return "\n".join([*lines, ""])


def tests(naming: Naming, number: int) -> str:
    """A file of tests."""
    name, function = naming.classes(number)[0], naming.functions(number)[0]
    lines = [
        f'"""Tests of {naming.dotted(number)}."""',
        "",
        f"from {naming.dotted(number)} import {name}, {function}",
    ]
    lines += ["", "", f"def test_{function}() -> None:", f"    assert {function}(3) is not None", "", ""]
    lines += [f"class Test{name}:"]
    for method in naming.methods(number, 0)[:2]:
        lines += [f"    def test_{method}(self, sample: object) -> None:", f"        {name}().{method}()", ""]
    return "\n".join(lines)


def module(naming: Naming, number: int) -> str:
    """The source of a module: some 60 lines."""
    chance = Random(naming.seed * 1_000_003 + number)
    imports = Imports(naming, number, chance)
    lines = [f'"""{naming.module(number).capitalize()}: part {number} of the application."""', ""]
    if chance.random() < 0.6:
        lines += ["from __future__ import annotations", ""]
    lines += ["import functools", "from dataclasses import dataclass", *imports.lines, ""]
    if number % MISSING == 17:
        lines.append(f"from {naming.dotted(int(number * chance.random() ** 3))} import later{number}")
    if number % (2 * MISSING) == 21:
        lines.append(f"from {naming.package_name(0)}.nowhere import nothing")
    if naming.has_all(number):
        names = (*naming.classes(number), *naming.functions(number)[:-1])
        lines += ["", f"__all__ = [{', '.join(map(repr, names))}]"]
    lines += [
        "",
        f"{naming.constant(number)} = {chance.randrange(1000)}  # arbitrary",
        f"_seen{number} = []",
        "",
    ]
    for which, name in enumerate(naming.classes(number)):
        lines += ["", *_class(naming, number, which, name, imports, chance), ""]
    for which, name in enumerate(naming.functions(number)):
        lines += ["", *_function(naming, number, which, name, imports, chance), ""]
    if number % 40 == 39:
        lines += ["", 'if __name__ == "__main__":', f"    {naming.functions(number)[0]}(1)"]
    if number % LATIN == 11:
        lines.append("# caf\udce9")
    if number % BROKEN == 13:
        lines.append("broken = (1,")
    return "\n".join([*lines, ""])


def _class(naming: Naming, number: int, which: int, name: str, imports: Imports, chance: Random) -> list[str]:
    bases = [naming.classes(number)[0]] if which else []
    if not bases and imports.classes and chance.random() < 0.6:
        bases = [chance.choice(imports.classes)[0]]
    if not bases and chance.random() < 0.1:
        bases = ["Exception"]
    lines = ["@dataclass"] if not bases and chance.random() < 0.2 else []
    lines += [f"class {name}{'(' + ', '.join(bases) + ')' if bases else ''}:"]
    lines += [f'    """A {name} of module {number}."""', "", f"    limit = {naming.constant(number)}", ""]
    methods = naming.methods(number, which)
    if chance.random() < 0.4 and imports.classes and not lines[0].startswith("@"):
        other, known = chance.choice(imports.classes)
        lines += ["    def __init__(self) -> None:", f"        self.part = {other}()", ""]
        tail = [f"        self.part.{chance.choice(known)}()"]
    else:
        tail = []
    for at, method in enumerate(methods):
        lines += [f"    def {method}(self, factor: int = {chance.randrange(9)}) -> int:"]
        if chance.random() < 0.5:
            lines.append(f"        # the {method}, scaled")
        if bases and chance.random() < 0.3:
            lines.append(f"        super().{method}(factor)")
        if imports.calls and chance.random() < 0.4:
            lines.append(f"        factor = {chance.choice(imports.calls)}(factor)")
        lines += tail if at == 1 else []
        last = methods[at - 1] if at else "limit"
        value = f"self.{last}(factor)" if at else "self.limit * factor"
        lines += [f"        return {value} + {chance.randrange(99)}", ""]
    if chance.random() < 0.2:
        lines += [
            "    @property",
            "    def size(self) -> int:",
            "        return len(_seen" + f"{number})",
            "",
        ]
    return lines[:-1]


def _function(
    naming: Naming, number: int, which: int, name: str, imports: Imports, chance: Random
) -> list[str]:
    lines = ["@functools.cache"] if chance.random() < 0.1 else []
    lines.append(f"def {name}(value: int, scale: int = {chance.randrange(9)}) -> int:")
    if chance.random() < 0.5:
        lines += [
            f'    """{name.replace("_", " ").capitalize()}.',
            "",
            "    Sometimes more than that.",
            '    """',
        ]
    if which == 0 and number % LOCAL == 3:
        late = number + 1 + chance.randrange(40)
        lines += [f"    from {naming.dotted(late)} import {naming.functions(late)[0]} as late", ""]
        lines += ["    late(value)"]
    if imports.calls:
        for _ in range(chance.randrange(3)):
            lines.append(f"    value += {chance.choice(imports.calls)}(value)")
        if chance.random() < 0.1:  # a name that shadows an import
            shadow = chance.choice(imports.calls)
            if "." not in shadow:
                lines = [line.replace(f"{shadow}(", f"{shadow}.real(") for line in lines]
                lines.insert(0, f"{shadow} = {shadow}  # the same, once more")
    own = naming.classes(number)[0]
    if chance.random() < 0.5:
        lines += [f"    item = {own}()", f"    value += item.{naming.methods(number, 0)[0]}(scale)"]
    if which:
        lines.append(f"    value += {naming.functions(number)[which - 1]}(value)")
    if chance.random() < 0.1:
        lines.append(f"    unknown.{chance.choice(naming.methods(number, 0))}()")
    return [*lines, f"    return value + {naming.constant(number)}"]
