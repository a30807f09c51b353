"""Names stand for what they do when Python runs: random packages, imported and asked, against `references`.

Each package is grown a statement at a time, and what Python refuses is taken back. Functions at the end of
each module name something each; calling them says what it is, and whether it is there at all.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine import Engine
from engine.rules.python import references

SEEDS = 40

# In this order: a module imports from those before it alone, so that every import is of a whole module.
MODULES = {
    "q": "q.py",
    "ns.x": "ns/x.py",
    "p.a": "p/a.py",
    "p.sub.c": "p/sub/c.py",
    "p.sub": "p/sub/__init__.py",
    "p.b": "p/b.py",
    "p": "p/__init__.py",
    "r": "r.py",
    "s": "s.py",
}
NAMES = ("f", "g", "C", "D", "E", "_h")
METHODS = ("m", "n", "k")
PARTS = (*NAMES, *METHODS, "a", "b", "sub", "c", "x")


def _statement(chance: Random, before: list[str], bound: set[str], inside: str) -> str:
    """A statement of a module, which may well be one that Python refuses."""
    # No name is bound twice: then all that it may mean would be listed, and Python knows which it is.
    free = [name for name in NAMES if name not in bound]
    if not free:
        return "pass"
    name = chance.choice(free)
    kind = chance.randrange(9)
    module = chance.choice(before) if before else None
    if kind <= 1 or module is None:
        if name in ("f", "g", "_h"):
            return f"def {name}(): ..."
        return _class(chance, name, bound)
    if kind == 2:
        return _class(chance, name, bound)
    if kind == 3:
        return f"import {module}" if chance.random() < 0.5 else f"import {module} as {name}"
    if kind == 4:
        return f"from {_relative(chance, module, inside)} import *"
    if kind == 5:
        package, _, last = module.rpartition(".")
        return (
            f"from {package} import {last} as {name}" if package and package != inside else f"import {module}"
        )
    if kind == 6 and bound:
        return f"{name} = {chance.choice(sorted(bound))}"
    if kind == 7:
        several = chance.sample(NAMES, 2)
        return f"__all__ = {[one for one in several if one in bound]}"
    wanted = chance.choice(NAMES)
    return f"from {_relative(chance, module, inside)} import {wanted} as {name}"


def _relative(chance: Random, module: str, inside: str) -> str:
    """A module, sometimes named from the package that it shares with the importer."""
    top, _, rest = module.partition(".")
    own = inside.partition(".")[0]
    if own != "p" or top != own or not rest or chance.random() < 0.5:
        return module
    deep = inside in ("p.sub", "p.sub.c")
    return f"..{rest}" if deep else f".{rest}"


def _class(chance: Random, name: str, bound: set[str]) -> str:
    bases = chance.sample(sorted(bound), min(len(bound), chance.randint(0, 2)))
    lines = [f"class {name}({', '.join(bases)}):"]
    for method in METHODS:
        if chance.random() < 0.4:
            lines.append(f"    def {method}(self): ...")
        lines.append(f"    def self_{method}_{name}(self): return self.{method}")
        lines.append(f"    def super_{method}_{name}(self): return super().{method}")
    if chance.random() < 0.3:
        lines.append("    class D:\n        def m(self): ...")
    return "\n".join(lines)


def _probes(chance: Random) -> list[str]:
    found = []
    for _ in range(12):
        parts = [
            chance.choice((*NAMES, "p", "q", "ns")),
            *chance.choices(PARTS, k=chance.choice((0, 1, 1, 2))),
        ]
        found.append(".".join(parts))
        if len(parts) == 2:
            found.append(f"{parts[0]}().{parts[1]}")
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_names_stand_for_what_they_do_at_run_time(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(seed)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    probes: dict[str, list[str]] = {}
    for number, (module, path) in enumerate(MODULES.items()):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text, bound, starred = "", set[str](), False
        for _ in range(chance.randint(2, 6)):
            before = [one for one in list(MODULES)[:number] if not (module.startswith("p.") and one == "p")]
            statement = _statement(chance, before, bound, module)
            if "*" in statement and (starred or bound):
                continue  # what comes first does not matter here, but to Python it does
            if statement.startswith("__all__") and "__all__" in text:
                continue  # all of them count here, the last one to Python
            target.write_text(f"{text}{statement}\n")
            try:
                with _imported([module]) as found:
                    bound |= {name for name in NAMES if name in vars(found[module])}
            except (ImportError, TypeError, NameError, AttributeError):
                continue
            text += f"{statement}\n"
            starred |= "*" in statement
        probes[module] = _probes(chance)
        for at, expression in enumerate(probes[module]):
            text += f"def probe_{at}(): return {expression}\n"
        target.write_text(text)
    with Engine(None, root=tmp_path) as db, _imported(list(MODULES)) as modules:
        for module, path in MODULES.items():
            rows = db.get(references.of, path)
            for at, expression in enumerate(probes[module]):
                mine = [row for row in rows if row.source == f"{path}:probe_{at}" and row.name == expression]
                actual = _value(getattr(modules[module], f"probe_{at}"))
                _compare(f"{path}: {expression}", mine, actual, tmp_path)
            for name, one in vars(modules[module]).items():
                if isinstance(one, type) and one.__module__ == module and one.__qualname__ == name:
                    for method in METHODS:
                        for how, expression in (("self", f"self.{method}"), ("super", f"super().{method}")):
                            source = f"{path}:{name}.{how}_{method}_{name}"
                            mine = [row for row in rows if row.source == source and row.name == expression]
                            actual = _value(lambda one=one, how=how, method=method, name=name: getattr(
                                one(), f"{how}_{method}_{name}")())  # fmt: skip
                            _compare(f"{source} {expression}", mine, actual, tmp_path)


class _imported:
    """The modules, imported afresh; forgotten at the end."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __enter__(self) -> dict[str, types.ModuleType]:
        self._forget()
        importlib.invalidate_caches()
        return {name: importlib.import_module(name) for name in self.names}

    def __exit__(self, *error: object) -> None:
        self._forget()

    def _forget(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("p", "q", "r", "s", "ns")]:
            del sys.modules[name]


def _value(probe: Any) -> object:
    try:
        found = probe()
    except (NameError, AttributeError) as error:
        return error
    except TypeError:
        return None  # what was called is no class
    return getattr(found, "__func__", found)


def _compare(what: str, mine: list[Any], actual: object, root: Path) -> None:
    if isinstance(actual, types.ModuleType) and actual.__file__ is None:
        return  # a namespace package has no file, and no row
    assert mine, f"{what}: no row"
    shown = f"{what}: {actual!r}, {[(row.outcome, row.target, row.detail) for row in mine]}"
    if isinstance(actual, Exception):
        assert {row.outcome for row in mine} <= {"unresolved", "builtin"}, shown
        return
    targets = {row.target for row in mine if row.target_kind != "variable"}
    if any(row.target_kind == "variable" for row in mine):
        return  # an alias: the row says which variable it is
    if isinstance(actual, types.ModuleType):
        assert actual.__file__ is not None
        assert f"{Path(actual.__file__).relative_to(root).as_posix()}:" in targets, shown
    elif isinstance(actual, type | types.FunctionType) and actual.__module__ in MODULES:
        assert f"{MODULES[actual.__module__]}:{actual.__qualname__}" in targets, shown
