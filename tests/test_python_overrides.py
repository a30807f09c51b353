"""What takes the place of a method is what Python finds before it: in a subclass, or in what one mixes in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine import Engine
from engine.event import What
from engine.rules import python
from engine.rules.python.hierarchy import member
from engine.rules.python.interfaces import promises
from engine.rules.python.overrides import FEW

MIXED = """
class Base:
    def run(self):
        self._hook()
    def _hook(self): ...
class _Mixin:
    def again(self):
        self._hook()
    def _hook(self): ...
class Both(_Mixin, Base): ...
"""
TESTS = "from lib import Base\ndef test_run(base: Base):\n    base.run()\n"

Ask = Callable[[], Engine]
RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    (tmp_path / "lib.py").write_text(MIXED)
    (tmp_path / "test_lib.py").write_text(TESTS)
    return lambda: Engine(None, root=tmp_path)


def test_what_a_subclass_mixes_in_takes_the_place_of_what_python_finds_after_it(ask: Ask) -> None:
    with ask() as db:
        below = db.get(python.overrides, "lib.py:Base._hook")
        assert [str(one.definition) for one in below] == ["lib.py:_Mixin._hook"]
        above = db.get(python.overridden, "lib.py:_Mixin._hook")
        assert [str(one.over) for one in above] == ["lib.py:Base._hook"]
        assert db.get(python.overrides, "lib.py:_Mixin._hook") == ()
        assert db.get(python.overridden, "lib.py:Base._hook") == ()


def test_a_change_of_what_is_mixed_in_affects_who_calls_what_it_takes_the_place_of(ask: Ask) -> None:
    with ask() as db:
        found = db.get(python.affected_by, ("lib.py:_Mixin._hook",))
        assert [one.symbol for one in found.likely] == ["test_lib.py:test_run"]


def test_what_is_mixed_in_and_runs_in_the_place_of_another_method_is_not_dead(
    ask: Ask, tmp_path: Path
) -> None:
    text = MIXED.replace("    def again(self):\n        self._hook()\n", "")
    (tmp_path / "lib.py").write_text(text)
    with ask() as db:
        assert _said(db) == ("kept", "it overrides lib.py:Base._hook")
        (tmp_path / "lib.py").write_text(text.replace("_Mixin, Base", "Base"))
        db.sync()
        assert _said(db) == ("dead", "nothing refers to it")


def _said(db: Engine) -> tuple[str, str]:
    (verdict,) = db.get(python.verdicts.where, symbol="lib.py:_Mixin._hook")
    return verdict.verdict, verdict.reason


def test_overrides_are_those_of_python_in_random_hierarchies(tmp_path: Path) -> None:
    """Every class of a hierarchy may be what runs: who stands before whom in one of their orders."""
    most = 0
    for seed in range(60):
        chance = Random(seed)
        lines: list[str] = []
        names: list[str] = []
        known: dict[str, type] = {}
        for number in range(9 if seed % 4 else 30):
            above = chance.sample(names, min(len(names), chance.randrange(4)))
            text = f"class C{number}({', '.join(above)}):\n    " + chance.choice(["def m(self): ...", "pass"])
            try:
                exec(text, known)
            except TypeError:
                continue  # bases without an order
            names.append(f"C{number}")
            lines.append(text)
        (tmp_path / "lib.py").write_text("\n".join(lines))
        orders = [[one.__name__ for one in known[name].__mro__[:-1]] for name in names]
        having = [name for name in names if "m" in vars(known[name])]
        with Engine(None, root=tmp_path) as db:
            for name in having:
                before = {one for order in orders if name in order for one in order[: order.index(name)]}
                after = {one for order in orders if name in order for one in order[order.index(name) + 1 :]}
                most = max(most, len(after))
                below = db.get(python.overrides, f"lib.py:{name}.m")
                assert {one.definition.qualified for one in below} == {
                    f"{one}.m" for one in before if one in having
                }
                over = db.get(python.overridden, f"lib.py:{name}.m")
                assert {one.over.qualified for one in over} == {f"{one}.m" for one in after if one in having}
                own = [one for one in known[name].__mro__[1:-1] if one.__name__ in having]
                nearest = [one.over.qualified for one in over][: len(own)]
                assert nearest == [f"{one.__name__}.m" for one in own], f"seed {seed}"
    assert most > FEW


def _nodes_for_one_more(root: Path, methods: int) -> int:
    """What a subclass of a mixin and of a class of its own adds, where there are many such already."""
    text = "class _Mixin:\n" + "".join(f"    def _m{number}(self): ...\n" for number in range(methods))
    subclasses = [
        f"class _B{number}: ...\nclass C{number}(_Mixin, _B{number}): ...\n" for number in range(30)
    ]
    (root / "lib.py").write_text(text + "".join(subclasses[:-1]))
    with Engine(None, root=root) as db:
        assert [row.symbol for row in db.get(python.dead_definitions)] == [
            f"lib.py:_Mixin._m{number}" for number in sorted(map(str, range(methods)))
        ]
        before = len(db._core.graph)
        (root / "lib.py").write_text(text + "".join(subclasses))
        db.sync()
        assert len(db.get(python.dead_definitions)) == methods
        return len(db._core.graph) - before


def test_one_more_class_beside_a_mixin_costs_the_same_however_many_methods_that_has(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "test_lib.py").unlink()
    assert _nodes_for_one_more(tmp_path, 2) == _nodes_for_one_more(tmp_path, 20)


TWICE = """
class _Low:
    def _run(self): ...
class _High:
    def _run(self): ...
try:
    import fast
    class C(_High): ...
except ImportError:
    class C(_Low): ...
def f(c: C):
    c._run()
"""


def test_what_a_class_inherits_by_one_of_its_definitions_is_neither_certain_nor_dead(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "lib.py").write_text(TWICE)
    with ask() as db:
        for name in ("lib.py:_Low._run", "lib.py:_High._run"):
            (verdict,) = db.get(python.verdicts.where, symbol=name)
            assert verdict.verdict == "used"
            assert [one.symbol for one in db.get(python.callers, name)] == ["lib.py:f"]
        (tmp_path / "lib.py").write_text(TWICE.replace("    class C(_Low): ...", "    pass"))
        db.sync()
        assert [row.symbol for row in db.get(python.verdicts.where, verdict="dead")] == [
            "lib.py:_Low", "lib.py:_Low._run"
        ]  # fmt: skip


def test_what_any_definition_of_a_class_inherits_is_among_what_may_be_meant_in_random_hierarchies(
    tmp_path: Path,
) -> None:
    for seed in range(40):
        chance = Random(seed)
        lines, names, twice = [""], list[str](), list[str]()
        for number in range(7):
            name = f"C{number}"
            several: list[str] = []
            for _ in range(2 if len(twice) < 3 and chance.random() < 0.4 else 1):
                above = chance.sample(names, min(len(names), chance.randrange(3)))
                inside = chance.choice(["def m(self): ...", "pass"])
                several.append(f"    class {name}({', '.join(above)}):\n        {inside}")
            twice += [name] * (len(several) - 1)
            lines.append(f"if {name!r} in chosen:\n{several[0]}\nelse:\n{several[-1]}")
            if len(several) == 1:
                lines[-1] = f"if True:\n{several[0]}"
            names.append(name)
        (tmp_path / "lib.py").write_text("\n".join(lines))
        actual = {name: set[str]() for name in names}
        for size in range(len(twice) + 1):
            for chosen in combinations(twice, size):
                known: dict[str, Any] = {"chosen": chosen}
                try:
                    exec("\n".join(lines), known)
                except TypeError:
                    continue  # bases without an order
                for name in names:
                    actual[name].add(getattr(getattr(known[name], "m", None), "__qualname__", ""))
        with Engine(None, root=tmp_path) as db:
            for name in names:
                told = {one.qualified for one in db.get(member, f"lib.py:{name}", "m")}
                assert actual[name] - {""} <= told, f"seed {seed}: {name}"
                if not twice and actual[name]:
                    assert told == actual[name], f"seed {seed}: {name}"


LOOKALIKES = """
import threading
from typing import Protocol
from zope.interface import Interface, implementer
class Shape(Protocol):
    def area(self): ...
    def _unasked(self): ...
class ISized(Interface):
    def size(): ...
class IKnown(ISized): ...
@implementer(IKnown)
class _Square:
    def area(self): ...
    def _unasked(self): ...
    def size(self): ...
    def alone(self): ...
class _Mixin:
    def run(self): ...
    def _own(self):
        self.run()
class Worker(_Mixin, threading.Thread): ...
def total(shape: Shape, sized: IKnown):
    return shape.area(), sized.size()
"""


def test_what_may_run_in_the_place_of_a_protocol_s_method_or_for_a_foreign_base_is_not_dead(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "lib.py").write_text(LOOKALIKES.replace("        self.run()\n", "        pass\n"))
    (tmp_path / "test_lib.py").unlink()
    with ask() as db:
        found = {row.symbol.partition(":")[2]: row for row in db.get(python.verdicts)}
        reasons = {name: row.reason for name, row in found.items() if name.startswith("_")}
        assert reasons == {
            "_Square": "decorated: implementer",
            "_Square.area": "lib.py:Shape.area is used, and it may take its place",
            "_Square.size": "lib.py:ISized.size is used, and it may take its place",
            "_Square._unasked": "nothing refers to it",
            "_Square.alone": "nothing refers to it",
            "_Mixin": "something refers to it",
            "_Mixin.run": "a class that inherits from it inherits from threading.Thread, which may use it",
            "_Mixin._own": "a class that inherits from it inherits from threading.Thread, which may use it",
        }


UNKNOWN = """
def make(): ...
class _Base:
    def _below(self): ...
class Sub(_Base, make()): ...
class _Both:
    def _below(self): ...
class OfBoth(_Both, absent.Base, Exception): ...
class _Own(make):
    def _own(self): ...
"""


def test_an_unknown_base_is_said_to_be_unknown_and_one_with_a_name_is_named_first(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "lib.py").write_text(UNKNOWN)
    (tmp_path / "test_lib.py").unlink()
    with ask() as db:
        reasons = {row.symbol.partition(":")[2]: row.reason for row in db.get(python.verdicts)}
    assert reasons["_Base._below"] == (
        "a class that inherits from it inherits from an unknown base, which may use it"
    )
    assert reasons["_Both._below"] == (
        "a class that inherits from it inherits from Exception, which may use it"
    )
    assert reasons["_Own._own"] == "its class inherits from an unknown base, which may use it"


def test_what_is_no_protocol_any_more_promises_nothing(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "test_lib.py").unlink()
    (tmp_path / "lib.py").write_text(LOOKALIKES)
    (tmp_path / "far.py").write_text("from lib import IKnown\nclass IFar(IKnown):\n    def alone(): ...\n")
    with ask() as db:
        assert [row.symbol for row in db.get(promises)] == [
            "far.py:IFar.alone", "lib.py:ISized.size", "lib.py:Shape._unasked", "lib.py:Shape.area",
        ]  # fmt: skip
        (tmp_path / "lib.py").write_text(LOOKALIKES.replace("(Protocol)", "").replace("(Interface)", ""))
        db.sync()
        assert db.get(promises) == ()
        (verdict,) = db.get(python.verdicts.where, symbol="lib.py:_Square.size")
        assert verdict.reason == "nothing refers to it"


def test_an_order_that_changes_runs_nothing_of_interfaces_where_none_is_concerned(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "test_lib.py").unlink()
    (tmp_path / "lib.py").write_text("class Root: ...\nclass Base(Root): ...\n")
    for number in range(5):
        (tmp_path / f"m{number}.py").write_text(f"from lib import Base\nclass C{number}(Base): ...\n")
    with ask() as db:
        ran: list[str] = []
        assert db.get(promises) == ()
        db.listen(lambda event: ran.append(str(event.key)) if event.what in RAN else None)
        (tmp_path / "lib.py").write_text("class Root: ...\nclass Base: ...\n")
        db.sync()
        assert db.get(promises) == ()
        assert [key.partition(":")[2] for key in ran if ":promises(" in key] == ["promises('lib.py')"]


def _visited_for_one_more(root: Path, others: int) -> int:
    """What is looked at for a class with a method of a name that classes of so many files have."""
    text = "class _C:\n    def fetch(self): ...\n"
    for number in range(others):
        (root / f"m{number}.py").write_text(text)
    with Engine(None, root=root) as db:
        assert len(db.get(python.verdicts)) == 2 * others
        before = db.counts()
        (root / "m0.py").write_text(text + text.replace("_C", "_More"))
        db.sync()
        assert len(db.get(python.verdicts)) == 2 * others + 2
        return db.counts().visited - before.visited


def test_one_more_class_with_a_method_costs_the_same_however_many_others_have_one_of_that_name(
    tmp_path: Path,
) -> None:
    for others in (4, 40):
        (tmp_path / str(others)).mkdir()
    assert _visited_for_one_more(tmp_path / "4", 4) == _visited_for_one_more(tmp_path / "40", 40)


def test_a_change_of_what_may_run_for_a_protocol_or_a_foreign_base_affects_who_names_its_class(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "lib.py").write_text(LOOKALIKES)
    (tmp_path / "test_lib.py").write_text(
        "from lib import Worker, _Square, total\n"
        "def test_total(): total(_Square(), None)\n"
        "def test_area(): _Square().area()\n"
        "def test_worker(): Worker().start()\n"
    )
    with ask() as db:
        by_protocol = db.get(python.affected_by, ("lib.py:_Square.area",))
        assert "test_lib.py:test_total" in [one.symbol for one in by_protocol.likely]
        by_thread = db.get(python.affected_by, ("lib.py:_Mixin.run",))
        assert [one.symbol for one in by_thread.likely] == ["test_lib.py:test_worker"]
