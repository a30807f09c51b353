"""What tests ran against what is said: lines belong to the innermost definition, and a miss is told."""

from __future__ import annotations

from pathlib import Path

from benchmarks import executed
from benchmarks.affected import compare
from benchmarks.executed import Executed, owners_of
from engine import Engine

TEXT = """\
import os

@os.mark
def f(a,
      b=1):
    x = 1

    def g():
        return x

    return g

class C:
    y = 1

    def m(self):
        return 2
"""


def test_a_line_belongs_to_the_innermost_function_and_to_its_class() -> None:
    owners = dict(owners_of("a.py", TEXT))
    assert {line: several for line, several in owners.items() if line not in (7, 10)} == {
        6: ("a.py:f",),
        8: ("a.py:f",),  # `def g` runs in f
        9: ("a.py:f.<locals>.g",),
        11: ("a.py:f",),
        17: ("a.py:C.m", "a.py:C"),
    }


def test_what_ran_and_is_not_said_is_a_miss_of_that_definition(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("def f():\n    return 1\n\ndef g():\n    return 2\n")
    (tmp_path / "test_lib.py").write_text(
        "import lib\n\ndef test_f():\n    lib.f()\n\ndef test_g():\n    vars(lib)['g']()\n"
    )
    f, g = (executed.Test("test_lib.py", f"test_lib.py:test_{one}", f"test_{one}") for one in "fg")
    ran = Executed((f, g), {"lib.py:f": frozenset([f]), "lib.py:g": frozenset([g])})
    with Engine(None, root=tmp_path) as db:
        files, likely, definitions = compare(db, ran, 0)
    assert (files.both, files.ran, files.complete, files.asked) == (2, 2, 2, 2)
    assert likely.missed == {}  # both use the module itself
    assert definitions.missed == {"lib.py:g": ["test_lib.py:test_g"]}
    assert (definitions.both, definitions.ran, definitions.said, definitions.pairs) == (1, 2, 1, 4)
