"""Traps of fingerprints of code: one claim a test."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from engine.code import reach as code_reach
from engine.code.fingerprint import code_fingerprint
from engine.code.moment import Moment
from tests.loading import check, fresh, load, names

__all__ = ["fresh"]  # a fixture

ROOT = Path(__file__).resolve().parent.parent


def test_trap_1_a_file_edited_without_reload_keeps_the_fingerprint_of_the_code_that_runs(
    tmp_path: Path,
) -> None:
    app = load(tmp_path, "def f(): return 1")
    before = code_fingerprint(app.f)
    Path(app.__file__).write_text("def f(): return 2")
    assert code_fingerprint(app.f) == before


def test_trap_1_a_lazily_imported_file_edited_after_loading_gets_a_fingerprint_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load(tmp_path, {"app.py": "def f():\n import lazy\n return lazy.n", "lazy.py": "n = 1"})
    clean = code_fingerprint(app.f)
    lazy = importlib.import_module("lazy")
    assert code_fingerprint(app.f) == clean, "loading it changes nothing"
    time.sleep(0.02)  # kernels stamp changes with a clock of 4 to 10 ms
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", time.time_ns() - 10_000_000)
    time.sleep(0.02)
    Path(str(lazy.__file__)).write_text("n = 2")
    old_code_runs = code_fingerprint(app.f)
    sys.modules.pop("lazy")
    fresh = code_fingerprint(app.f)
    assert len({clean, old_code_runs, fresh}) == 3


def test_trap_1_a_file_that_changed_under_a_loaded_module_is_told_where_the_clock_was_set_back_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load(tmp_path, {"app.py": "def f():\n import lazy\n return lazy.n", "lazy.py": "n = 1"})
    lazy = importlib.import_module("lazy")
    hour = 3_600 * 10**9
    now = Moment.now()
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", now.wall + hour)
    monkeypatch.setattr("engine.code.origin.BEGAN", Moment(now.wall + hour, now.steady))
    time.sleep(0.02)  # as above
    Path(str(lazy.__file__)).write_text("n = 2")
    old_code_runs = code_fingerprint(app.f)
    sys.modules.pop("lazy")
    assert old_code_runs != code_fingerprint(app.f), "a fresh process accepts nothing of it"


def test_trap_2_closures_of_one_factory_differ_by_what_they_captured(tmp_path: Path) -> None:
    app = load(tmp_path, "def m(n):\n def g(): return n\n return g\nf = m(1)")
    assert code_fingerprint(app.m(1)) == code_fingerprint(app.m(1)) != code_fingerprint(app.m(2))
    assert code_fingerprint(app.m(1)) != code_fingerprint(app.m(True))


def test_trap_3_two_lambdas_on_one_line_differ(tmp_path: Path) -> None:
    app = load(tmp_path, "f, g = (lambda x: x + 1), (lambda x: x + 2)")
    assert code_fingerprint(app.f) != code_fingerprint(app.g)


def test_trap_4_equal_bytecode_with_other_constants_or_names_differs(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        "def a(x): return x + .5\ndef b(x): return x + 1.5\ndef c(x): return len(x)\ndef d(x): return sum(x)",
    )
    for one, other in ((app.a, app.b), (app.c, app.d)):
        other = types.FunctionType(other.__code__.replace(co_name=one.__name__), vars(app), one.__name__)
        other.__qualname__ = one.__qualname__
        assert one.__code__.co_code == other.__code__.co_code
        assert code_fingerprint(one) != code_fingerprint(other)


def test_trap_5_globals_are_read_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load(tmp_path, "N = {'a': [1]}\ndef g(): return N\ndef f(): return g()")
    seen = [code_fingerprint(app.f)]
    app.N["a"].append(2)
    seen.append(code_fingerprint(app.f))
    app.N = 3
    seen.append(code_fingerprint(app.f))
    monkeypatch.setattr(app, "g", lambda: 4)
    seen.append(code_fingerprint(app.f))
    assert len(set(seen)) == 4
    monkeypatch.undo()
    app.N = {"a": [1]}
    assert code_fingerprint(app.f) == seen[0]


def test_trap_6_the_fingerprint_is_stable_while_the_interpreter_specialises(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        "class K:\n n = 1\nk = K()\ndef f(x):\n for i in range(x):\n  x = x + k.n + len('a')\n return x",
    )
    raw, before = app.f.__code__.co_code, code_fingerprint(app.f)
    for _ in range(2000):
        app.f(50)
    code_reach.known_codes.clear()
    assert app.f.__code__.co_code == raw
    assert code_fingerprint(app.f) == before


def test_trap_6_the_fingerprint_is_stable_while_a_debugger_or_a_coverage_tool_marks_instructions(
    tmp_path: Path,
) -> None:
    app = load(
        tmp_path, "N = 1\ndef f(x):\n for i in range(x):\n  x = x + len('a') + N\n return [y for y in [x]]"
    )
    before, seen = code_fingerprint(app.f), set[str]()

    def trace(frame: types.FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes = True
        if frame.f_code is app.f.__code__:
            seen.add(event)
            code_reach.known_codes.clear()
            assert code_fingerprint(app.f) == before
        return trace

    outside, here = sys.gettrace(), inspect.currentframe()
    assert here is not None
    here.f_trace_opcodes = True  # before: the first versions of 3.12 tell of no opcode otherwise
    sys.settrace(trace)
    try:
        app.f(3)
    finally:
        sys.settrace(outside)
    assert seen == {"call", "line", "opcode", "return"}
    code_reach.known_codes.clear()
    assert code_fingerprint(app.f) == before


def test_trap_6_the_release_of_python_is_a_part(tmp_path: Path) -> None:
    app = load(tmp_path, "def f(): return 1")
    release = ".".join(map(str, sys.version_info[:3]))
    wanted = f"{sys.implementation.name} {release}"
    assert names(app.f, "python") == {wanted}


SHOW = """
import sys
sys.path[:0] = [{root!r}, {place!r}]
for name in {order!r}: __import__(name)
import app
import engine.code.fingerprint
engine.code.fingerprint.STARTED_NS = 2**62  # the files look older than this process
from engine.code.fingerprint import code_fingerprint
print(code_fingerprint(app.f).hex())
"""


def test_traps_7_and_8_processes_agree_whatever_the_hash_seed_and_the_order_of_imports(
    tmp_path: Path,
) -> None:
    text = """
        import attrs, enum, helpers, dataclasses, msgspec, typing
        WORDS = {"alpha", "beta", "gamma", "delta"}
        FROZEN = frozenset({("a", 1), ("b", 2.0), "c"})
        def a(): return 1
        def b(): return 2
        CALLS = {a, b, len}
        shared = ["x"]
        TABLE = {"one": shared, "two": shared, "three": ["x"]}
        class C(enum.Flag):
            A = 1
            B = 2
        @attrs.define
        class P:
            x: int = 1
            y: set[str] = attrs.field(factory=lambda: {"a", "b", "c"})
            def m(self): self.z = self.w = 3
        @attrs.frozen
        class Q:
            x: int = 1
            y: str = "a"
        @attrs.frozen(cache_hash=True, order=True)
        class R(Q):
            z: frozenset[str] = frozenset({"a", "b", "c"})
        @dataclasses.dataclass(frozen=True, slots=True)
        class D:
            x: int = 1
        class S(msgspec.Struct, frozen=True, order=True):
            x: int = 1
            y: frozenset[str] = frozenset({"a", "b", "c"})
        class N(typing.NamedTuple):
            x: int = 1
        class T(typing.TypedDict, total=False):
            x: int
            y: int
        class I(typing.Protocol):
            x: int
            def m(self) -> int: ...
        class J(I):
            pass
        p = P(), Q(), R(), D(), S(), N(), T(x=1), I, J()
        def f(x):
            class K:
                def m(self): self.first = self.second = self.third = x
            from lazy import n
            return x in {"alpha", "beta", "gamma"}, WORDS, FROZEN, CALLS, TABLE, C.A, p, helpers.n, K, n
    """
    load(tmp_path, {"app.py": text, "helpers.py": "n = {'x', 'y', 'z'}", "lazy.py": "n = {'u', 'v'}"})
    place = str(Path(sys.path[0]))
    seen = set()
    for seed, order in (("0", ()), ("1", ("helpers",)), ("2", ("lazy", "helpers")), ("random", ("app",))):
        script = SHOW.format(root=str(ROOT), place=place, order=order)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True))
    assert len(seen) == 1, seen


EACH = """
import itertools, sys, time
sys.path.insert(0, {root!r})
sys.dont_write_bytecode = True
from pathlib import Path
from tests import loading, test_code_edits
import engine.code.fingerprint
engine.code.fingerprint.STARTED_NS = time.time_ns() + 10**15
loading.counter = itertools.count({first})
programs = {{**test_code_edits.DIFFERENT, **test_code_edits.SAME}}
for claim in sorted(programs, reverse={reverse}):
    loaded = loading.load(Path({place!r}), programs[claim][0])
    print(engine.code.fingerprint.code_fingerprint(loaded.f).hex(), claim)
"""


def test_traps_7_and_8_processes_agree_about_every_program_of_these_tests(tmp_path: Path) -> None:
    seen = []
    for seed, start, reverse in (("1", 0, False), ("2", 5_000, True)):
        script = EACH.format(root=str(ROOT), place=str(tmp_path), first=start, reverse=reverse)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        seen.append(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True))
    first, second = (sorted(lines.splitlines()) for lines in seen)
    assert first == second
    assert len(first) > 150


def test_trap_8_equal_values_count_as_equal_whether_or_not_they_are_one_object(tmp_path: Path) -> None:
    check(
        tmp_path,
        "a = ['x']\nN = {1: a, 2: a}\ndef f(): return N",
        "N = {1: ['x'], 2: ['x']}\ndef f(): return N",
        same=True,
    )


def test_trap_9_values_that_compare_equal_differ_by_type(tmp_path: Path) -> None:
    app = load(tmp_path, "N = None\ndef f(): return N")
    values: list[object] = [
        1,
        True,
        1.0,
        0,
        False,
        0.0,
        -0.0,
        1 + 0j,
        "1",
        b"1",
        (1,),
        [1],
        {1},
        frozenset({1}),
    ]
    values += [{1: 1}, {True: 1}, {1.0: 1}, float("nan"), None, ..., (True,), (1.0,), [0.0], [-0.0]]
    seen = set()
    for value in values:
        app.N = value
        seen.add(code_fingerprint(app.f))
    assert len(seen) == len(values)


@pytest.mark.parametrize(
    "several",
    [
        "{lambda x: x + 1, lambda x: x + 2}",
        "{type('C', (), {'f': lambda self: 1}), type('C', (), {'f': lambda self: 2})}",
    ],
)
def test_a_set_of_things_of_one_name_is_the_same_wherever_they_are_in_memory(
    tmp_path: Path, several: str
) -> None:
    seen, kept = set(), []
    for number in range(40):
        app = load(tmp_path, f"SEVERAL = {several}\ndef f():\n return SEVERAL")
        kept.append((app, [object() for _ in range(7 * number % 13)]))  # others come to lie elsewhere
        seen.add(code_fingerprint(app.f))
    assert len(seen) == 1


def test_plugins_of_one_name_in_several_modules_are_the_same_wherever_they_are_in_memory(
    tmp_path: Path,
) -> None:
    plugin = "from app import Base\nclass Plugin(Base): n = "
    files = {"app.py": "class Base: pass\ndef f(one: Base): return one.n"}
    seen, kept = set(), list[object]()
    for number in range(40):
        app = load(tmp_path, {**files, "helpers.py": f"{plugin}1", "deep.py": f"{plugin}2"})
        kept.append((app, [object() for _ in range(7 * number % 13)]))  # others come to lie elsewhere
        kept.append((importlib.import_module("helpers"), importlib.import_module("deep")))
        seen.add(code_fingerprint(app.f))
    assert len(seen) == 1


def test_a_class_of_classes_that_answers_to_any_name_makes_no_struct(tmp_path: Path) -> None:
    """Languages within the language do that: what it gave was gone through as the defaults of a struct."""
    app = load(
        tmp_path,
        """\
        class Meta(type):
            def __getattr__(cls, name): return Column()
        class Column: ...
        class Person(metaclass=Meta):
            name: str
        def f(): return Person.name
        """,
    )
    assert code_fingerprint(app.f) == code_fingerprint(app.f)
