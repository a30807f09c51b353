"""Unseen: ways on which a change of one definition reaches another that no name in the text shows.

Invariants
    Y1  Who runs a method has an instance, and somebody who names the class made it. So where a method may
        run without being named (`x.m()` on something unknown, special methods, a base outside of the project
        that calls it, also one of a subclass, a protocol that it may stand for, a method that nobody names),
        a change of it goes to its class, and from there to whoever names that. What is defined inside of a
        function is made when that runs, decorators and all.
    Y2  What the code of a module itself uses may be kept by any of its variables whose value is not known.
    Y3  What pytest and unittest run around tests goes to these tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.rules.python.definitions import definitions, split
from engine.rules.python.hierarchy import resolution_order
from engine.rules.python.interfaces import promises
from engine.rules.python.meanings import CLASS, MODULE, VARIABLE
from engine.rules.python.overrides import mixed
from engine.rules.python.plugins import loaded_by
from engine.rules.python.project import project_files
from engine.rules.python.reach import Found, Step
from engine.rules.python.references import is_looked_for, references
from engine.rules.python.requests import EVERYWHERE
from engine.rules.python.roles import is_conftest, is_test, is_test_file
from engine.rules.python.tree import parent
from engine.rules.python.uses import FIXTURE, IMPORT

AROUND_TESTS = frozenset(
    [
        "setUp", "tearDown", "setUpClass", "tearDownClass", "asyncSetUp", "asyncTearDown", "setup_method",
        "teardown_method", "setup_class", "teardown_class", "setUpModule", "tearDownModule", "setup_module",
        "teardown_module", "setup_function", "teardown_function",
    ]
)  # fmt: skip


def unseen(symbol: str) -> Iterator[Found]:
    """For queries to call: one step from a symbol to what it reaches without being named there."""
    path, qualified = split(symbol)
    owner, _, name = qualified.rpartition(".")
    inside = owner.endswith("<locals>")
    if inside:
        outer = f"{path}:{owner.removesuffix('.<locals>')}"
        for row in definitions.where(symbol=outer):
            yield outer, row.kind, Step(outer, symbol, "inside")
    elif owner and _runs_unnamed(symbol, f"{path}:{owner}", name):
        yield f"{path}:{owner}", CLASS, Step(f"{path}:{owner}", symbol, "instance")
    yield from _by_modules(symbol)
    if not qualified or inside:
        return
    around = [path] if name in AROUND_TESTS else _everywhere(path, symbol, name)
    for place in around:
        yield from _tests_around(symbol, place, owner)
    if not around and is_test_file(path) and (not owner or name.startswith("Test")):
        yield from _tests_of_class(symbol)


def _runs_unnamed(symbol: str, owner: str, name: str) -> bool:
    if name.startswith("__") and name.endswith("__"):
        return True
    if is_looked_for(split(symbol)[1]) or all(
        row.source == symbol for row in references.where(target=symbol)
    ):
        return True  # a call by itself begins nothing
    return bool(resolution_order(owner).others or mixed(owner).others or promises.exists(name=name))


def _by_modules(symbol: str) -> Iterator[Found]:
    """What a module uses may be kept by its variables; what it asks for in `pytestmark` goes to its tests."""
    for row in references.where(target=symbol):
        if row.source_kind != MODULE or row.usage == IMPORT:
            continue
        path, _ = split(row.source)
        if row.usage == FIXTURE:
            yield from _tests_around(symbol, path, "")
            continue
        for one in definitions.of(path):
            known = one.value.partition("(")[0]
            if one.kind == VARIABLE and one.symbol == f"{row.source}{one.name}" and known in ("", row.name):
                yield one.symbol, VARIABLE, Step(one.symbol, symbol, row.usage, row.name)


def _everywhere(path: str, symbol: str, name: str) -> list[str]:
    """The files by which pytest runs it without being asked: it is a hook of a conftest.py or a plugin, or a
    fixture with `autouse` that is defined or imported in one, or in a file of tests.
    """
    if name.startswith("pytest_"):
        return list(filter(is_conftest, loaded_by(path)))
    rows = references.where(target=symbol)
    files = [
        path,
        *(split(row.source)[0] for row in rows if row.usage == IMPORT and row.source_kind == MODULE),
    ]
    files = list(dict.fromkeys(by for file in dict.fromkeys(files) for by in loaded_by(file)))
    if files and any(
        row.name == EVERYWHERE for row in references.where(source=symbol) if row.usage == FIXTURE
    ):
        return files
    return []


def _tests_around(symbol: str, path: str, owner: str) -> Iterator[Found]:
    if owner:
        yield f"{path}:{owner}", CLASS, Step(f"{path}:{owner}", symbol, "setup")
        return
    for file in _files_around(path):
        for one in definitions.of(file):
            if one.kind not in (CLASS, VARIABLE) and is_test(*split(one.symbol)):
                yield one.symbol, one.kind, Step(one.symbol, symbol, "setup")


def _files_around(path: str) -> Iterable[str]:
    if not is_conftest(path):
        return (path,)
    inside = f"{parent(path)}/" if parent(path) else ""
    rows = project_files.starting(path=inside) if inside else project_files.where()
    return [row.path for row in rows if is_test_file(row.path)]


def _tests_of_class(symbol: str) -> Iterator[Found]:
    if not any(row.kind == CLASS for row in definitions.where(symbol=symbol)):
        return
    for each in resolution_order(symbol).classes:
        for one in definitions.of(split(each)[0]):
            if one.symbol == f"{each}.{one.name}" and one.name.startswith("test") and one.kind != VARIABLE:
                yield one.symbol, one.kind, Step(one.symbol, symbol, "class")
