"""Naming: what lies where and is called how in a generated repository, each from a number alone.

So a module can name what another one defines without either having been written.
"""

from __future__ import annotations

from attrs import frozen

PER_PACKAGE = 10
PER_AREA = 6  # packages
NOUNS = (
    "base", "registry", "config", "codec", "event", "entity", "state", "signal", "session", "cache",
    "token", "schema", "field", "model", "query", "router", "request", "response", "parser", "lexer",
    "template", "form", "widget", "sensor", "device", "driver", "queue", "worker", "task", "job",
    "report", "metric", "ledger", "account", "invoice", "policy", "rule", "matrix", "vector", "graph",
)  # fmt: skip
VERBS = (
    "make", "load", "store", "find", "check", "merge", "split", "open", "close", "send", "fetch", "parse",
    "render", "resolve", "bind", "update", "remove", "encode", "decode", "compare", "copy", "format",
    "count", "register",
)  # fmt: skip
METHODS = (
    "run", "setup", "value", "name", "refresh", "as_dict", "validate", "reset", "apply", "describe",
    "connect", "collect",
)  # fmt: skip


@frozen
class Naming:
    """The names of one repository. `top` is the directory of its packages."""

    seed: int
    top: str

    # -- places --------------------------------------------------------------------------------

    def directory(self, package: int) -> str:
        """Where a package lies: the first one is "core", six others to an area."""
        if not package:
            return f"{self.top}/core"
        area, part = divmod(package - 1, PER_AREA)
        return f"{self.top}/{NOUNS[(area * 11 + 5) % 40]}s{area}/{VERBS[(area + part * 5) % 24]}{part}"

    def is_first_in_area(self, package: int) -> bool:
        return package % PER_AREA == 1

    def is_namespace(self, package: int) -> bool:
        """Whether it has no `__init__.py`."""
        return package % 7 == 3

    def path(self, number: int) -> str:
        return f"{self.directory(number // PER_PACKAGE)}/{self.module(number)}.py"

    def test_path(self, number: int) -> str:
        area = self.directory(number // PER_PACKAGE).split("/")[-1 if number < PER_PACKAGE else -2]
        return f"tests/{area}/test_{self.module(number)}.py"

    def dotted(self, number: int) -> str:
        return f"{self.package_name(number // PER_PACKAGE)}.{self.module(number)}"

    def package_name(self, package: int) -> str:
        return self.directory(package).removeprefix("src/").replace("/", ".")

    # -- names ---------------------------------------------------------------------------------

    def module(self, number: int) -> str:
        noun = NOUNS[number % 40]
        return noun if number < 40 else f"{noun}{number}"

    def classes(self, number: int) -> tuple[str, ...]:
        """The classes of a module: one or two."""
        name = self.module(number).capitalize()
        return (name, f"{name}Kind") if number % 3 == 0 else (name,)

    def methods(self, number: int, which: int) -> tuple[str, ...]:
        """The methods of a class: the same few words everywhere, so that subclasses override."""
        first = number * 5 + which * 3
        return tuple(METHODS[(first + step * 5) % 12] for step in range(3 + number % 2))

    def functions(self, number: int) -> tuple[str, ...]:
        """The functions of a module: two to four. The names come again elsewhere."""
        noun = NOUNS[number % 40]
        first = number * 7
        return tuple(f"{VERBS[(first + step * 5) % 24]}_{noun}" for step in range(2 + number % 3))

    def constant(self, number: int) -> str:
        return f"{NOUNS[number % 40].upper()}_LIMIT"

    def has_all(self, number: int) -> bool:
        """Whether a module has an `__all__`."""
        return number % 4 == 1

    def re_exported(self, number: int) -> tuple[str, ...]:
        """What the package of a module gives away of it under its own name."""
        package = number // PER_PACKAGE
        if self.is_namespace(package) or package % 4 or number % 2 == 0:
            return ()
        return (self.classes(number)[0], self.functions(number)[0])
