"""A file has one fingerprint of its code, whether it runs as a program or is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.code.fingerprint import code_parts
from tests import code_edits, code_edits_asked, code_edits_of_modules, code_edits_of_objects
from tests.code_edits import QUERY
from tests.loading import Files, fresh, load, names

__all__ = ["fresh"]  # a fixture

# A class statement reads `__name__`, which does differ: of a class in a function it is part of the code. What
# the standard library is told of a class, both of these tell it, in this one process.
BY_NAME = ("def f():\n class", "def f():\n  class", "__name__", "Sequence.register")
PROGRAMS: dict[str, Files] = {
    "rows with slots": "from attrs import frozen\n@frozen\nclass R:\n x: int\ndef f(): return R(1)",
    "a class with slots": "class R:\n __slots__ = ('x',)\ndef f(): return R()",
    **{
        claim: before
        for edits in (code_edits, code_edits_asked, code_edits_of_modules, code_edits_of_objects)
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


@pytest.mark.parametrize("name", ["program", "__main__"])
def test_a_module_that_runs_by_its_dotted_name_has_the_imports_that_it_has_where_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = "from . import inner\nimport argparse\nP = argparse.ArgumentParser()\ndef f(): return P"
    files = {"app.py": f"from pkg.{name} import f", "pkg/__init__.py": "", f"pkg/{name}.py": text}
    load(tmp_path, {**files, "pkg/inner.py": "n = 1"})
    imported = sys.modules.pop(f"pkg.{name}")
    script = ModuleType("__main__")
    script.__file__, script.__spec__, script.__package__ = imported.__file__, imported.__spec__, "pkg"
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec(compile(text, str(imported.__file__), "exec", dont_inherit=True), vars(script))
    assert "pkg.inner" in names(script.f, "source")
    if name == "program":
        assert code_parts(script.f) == code_parts(imported.f)
