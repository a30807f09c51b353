"""A file has one fingerprint of its code, whether it runs as a program or is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.code.fingerprint import code_parts
from tests import code_edits, code_edits_of_modules, code_edits_of_objects
from tests.code_edits import QUERY
from tests.loading import Files, fresh, load

__all__ = ["fresh"]  # a fixture

# A class statement reads `__name__`, which does differ: of a class in a function it is part of the code.
BY_NAME = ("def f():\n class", "def f():\n  class")
PROGRAMS: dict[str, Files] = {
    "rows with slots": "from attrs import frozen\n@frozen\nclass R:\n x: int\ndef f(): return R(1)",
    "a class with slots": "class R:\n __slots__ = ('x',)\ndef f(): return R()",
    **{
        claim: before
        for edits in (code_edits, code_edits_of_modules, code_edits_of_objects)
        for claim, (before, _) in edits.DIFFERENT.items()
        if isinstance(before, str) and QUERY not in before and not any(text in before for text in BY_NAME)
    },
}


@pytest.mark.parametrize("policy", ["closure", "self"])
@pytest.mark.parametrize("claim", sorted(PROGRAMS))
def test_a_script_that_runs_has_the_fingerprint_that_it_has_where_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: str, policy: str
) -> None:
    imported = load(tmp_path, PROGRAMS[claim])
    script = ModuleType("__main__")
    script.__file__ = imported.__file__
    monkeypatch.setitem(sys.modules, "__main__", script)
    text = Path(imported.__file__).read_text()
    exec(compile(text, imported.__file__, "exec", dont_inherit=True), vars(script))
    assert code_parts(vars(script)["f"], policy=policy) == code_parts(imported.f, policy=policy)
