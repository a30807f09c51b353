"""Policies of code fingerprints, the scan of code, and what it costs: one claim a test."""

from __future__ import annotations

import dis
import importlib
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.code import reach as code_reach
from engine.code.fingerprint import code_fingerprint
from engine.errors import BadQuery
from tests.code_edits import WRAPS
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture


# -- policies -----------------------------------------------------------------------------------------


def test_each_policy_sees_what_it_says(tmp_path: Path) -> None:
    text = "N = 1\ndef g(): return N\ndef f(x=1): return g() + x"
    edits = {
        "nothing": text,
        "helper": text.replace("return N", "return -N"),
        "own": text.replace("+ x", "- x"),
    }
    edits["default"] = text.replace("x=1", "x=2")
    edits["constant"] = text.replace("N = 1", "N = 2")
    seen: dict[str, set[str]] = {}
    for policy in ("closure", "self", "version", "none"):
        version = "1" if policy == "version" else None
        found = {
            edit: code_fingerprint(load(tmp_path, changed).f, policy=policy, version=version)
            for edit, changed in edits.items()
        }
        seen[policy] = {edit for edit, one in found.items() if one != found["nothing"]}
    assert seen == {
        "closure": {"helper", "own", "default", "constant"},
        "self": {"own", "default"},
        "version": set(),
        "none": set(),
    }


def test_self_looks_through_a_decorator(tmp_path: Path) -> None:
    one = code_fingerprint(load(tmp_path, WRAPS + "@twice\ndef f(): return 1").f, policy="self")
    assert one != code_fingerprint(load(tmp_path, WRAPS + "@twice\ndef f(): return 2").f, policy="self")


@pytest.mark.parametrize("policy", ["closure", "self", "version", "none"])
def test_a_version_counts_under_every_policy_and_with_its_type(policy: str) -> None:
    def f() -> int:
        return 1

    versions: tuple[str | int, ...] = ("1", 1, True, "2")
    assert len({code_fingerprint(f, policy=policy, version=version) for version in versions}) == len(versions)


def test_a_request_that_makes_no_sense_is_refused() -> None:
    for policy in ("sometimes", "version"):
        with pytest.raises(BadQuery):
            code_fingerprint(len, policy=policy)
    with pytest.raises(BadQuery):
        code_fingerprint(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadQuery):
        code_fingerprint(len, version=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


FREE = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")


# -- the scan, and what it costs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["argparse", "typing", "inspect", "enum", "dataclasses", "subprocess", "ast"]
)
def test_the_scan_finds_the_names_that_dis_finds(name: str) -> None:
    """The table of shifted arguments in code.reach must fit the interpreter at hand."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    top = compile(Path(module.__file__).read_bytes(), name, "exec")
    pending, reads = [top], {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
    while pending:
        code = pending.pop()
        pending += [one for one in code.co_consts if isinstance(one, types.CodeType)]
        wanted, imports = set(), set()
        for step in walk_code(code):
            if step.opname in reads:
                wanted.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                imports.add(step.argval)
        facts = code_reach.facts_of(code)
        assert {chain[0] for chain in facts.names} == wanted
        assert {one for _, one, _ in facts.imports} == imports
        steps = dis.get_instructions(code)
        free = {step.argval for step in steps if step.opname in FREE and step.argval in code.co_freevars}
        assert {chain[0] for chain in facts.free} >= free
        assert {chain[0] for chain in facts.free} <= set(code.co_freevars)


def test_the_scan_finds_imports_with_their_levels_and_names() -> None:
    text = """
    def f():
        import a.b, c as d
        from e import g, h as i
        from . import j
        from ..k.l import m
        from n import *
    """
    code = compile(textwrap.dedent(text.replace("from n import *", "")) + "from n import *", "<text>", "exec")
    assert set(code_reach.facts_of(code).imports) == {
        (0, "a.b", ()),
        (0, "c", ()),
        (0, "e", ("g", "h")),
        (1, "", ("j",)),
        (2, "k.l", ("m",)),
        (0, "n", ("*",)),
    }


def walk_code(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for nested in code.co_consts:
        if isinstance(nested, types.CodeType):
            yield from walk_code(nested)


def test_attribute_chains_of_modules_are_found(tmp_path: Path) -> None:
    app = load(tmp_path, "import os\ndef f(a): return os.path.join(a, os.sep), a.b.c, os")
    assert set(code_reach.facts_of(app.f.__code__).names) == {("os", "path", "join"), ("os", "sep"), ("os",)}


def test_facts_of_code_that_is_gone_are_forgotten() -> None:
    scope: dict[str, Any] = {}
    exec("def f(): return 1", scope)
    number = id(scope["f"].__code__)
    code_fingerprint(scope["f"])
    assert number in code_reach.known_codes
    scope.clear()
    assert number not in code_reach.known_codes


def best(function: Callable[[], object], times: int) -> float:
    """The shortest of a few runs, in microseconds of this thread: noise only ever adds."""
    found = []
    for _ in range(times):
        start = time.thread_time_ns()
        function()
        found.append(time.thread_time_ns() - start)
    return min(found) / 1000


def as_measured(microseconds: float) -> float:
    """So much time of the machine on which the limits were measured: there the sum took 330 us."""
    return microseconds * max(1.0, best(lambda: sum([n * n for n in range(10_000)]), 50) / 330)


def test_ten_helpers_cost_less_than_half_a_millisecond(tmp_path: Path) -> None:
    helpers = "\n".join(f"def h{i}(x, y={i}): return x + y + N" for i in range(10))
    calls = " + ".join(f"h{i}(x)" for i in range(10))
    app = load(tmp_path, f"N = 1\n{helpers}\ndef f(x): return {calls}")
    code_fingerprint(app.f)
    assert best(lambda: code_fingerprint(app.f), 50) < as_measured(500)  # 300 us meant


def test_a_table_of_100_000_entries_costs_less_than_a_fifth_of_a_second(tmp_path: Path) -> None:
    app = load(tmp_path, "N = {str(i): i for i in range(100_000)}\ndef f(x): return N[x]")
    assert best(lambda: code_fingerprint(app.f), 3) < as_measured(200_000)
