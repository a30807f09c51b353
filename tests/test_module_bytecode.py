"""What runs is the source that is there, not what Python kept of an earlier one."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from engine.modules.bytecode import Current
from engine.modules.load import load_query
from engine.settings import load_settings

RULES = "from engine import query\nimport {module}\n@query\ndef one() -> int:\n    return {module}.number()\n"
NUMBER = "def number():\n    return {}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of modules that Python keeps bytecode of; they are forgotten afterwards."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    forget(before)


def forget(before: set[str]) -> None:
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


def put(path: Path, number: int) -> None:
    """A source that has the size and the times of the one before it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(NUMBER.format(number))
    os.utime(path, (10**9, 10**9))


def answer(place: Path) -> int:
    """What a fresh process would answer."""
    before = set(sys.modules)
    found: int = load_query("rules.py:one", load_settings(place, environment={}))()
    forget(before)
    return found


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("kept_bytecode", "kept_bytecode.py"),
        ("kept_package", "kept_package/__init__.py"),
        ("kept_package.part", "kept_package/part.py"),
    ],
)
def test_a_source_that_is_put_in_place_with_the_size_and_times_of_the_one_before_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, module: str, file: str
) -> None:
    monkeypatch.chdir(place)
    (place / "rules.py").write_text(RULES.format(module=module))
    if file == "kept_package/part.py":
        (place / "kept_package").mkdir()
        (place / "kept_package" / "__init__.py").touch()
    for number in (1, 2, 3):
        put(place / file, number)
        assert answer(place) == number
        assert Path(cache_from_source(str(place / file))).exists(), "it was kept each time"


def test_the_package_of_a_rule_module_is_no_exception(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for number in (1, 2):
        put(place / "kept_rules" / "__init__.py", number)
        (place / "kept_rules" / "rules.py").write_text(RULES.format(module="kept_rules"))
        before = set(sys.modules)
        assert load_query("kept_rules/rules.py:one", load_settings(place, environment={}))() == number
        forget(before)


def test_bytecode_that_was_made_anew_is_believed_once_it_is_older_than_any_edit_of_now(place: Path) -> None:
    sys.path.insert(0, str(place))
    finder = Current()
    sys.meta_path.insert(0, finder)
    put(place / "kept_again.py", 1)
    importlib.import_module("kept_again")
    assert finder.find_spec("kept_again") is not None, "made a moment after its source"
    kept = cache_from_source(str(place / "kept_again.py"))
    os.utime(kept, (time.time() + 3, time.time() + 3))
    assert finder.find_spec("kept_again") is None
    put(place / "kept_again.py", 2)
    os.utime(kept, (10**9 + 3, 10**9 + 3))
    assert finder.find_spec("kept_again") is not None, "the times of the source alone would do"


def test_what_is_installed_is_left_to_who_installed_it(place: Path) -> None:
    installed = place / "site-packages"
    put(installed / "kept_installed.py", 1)
    sys.path.insert(0, str(installed))
    importlib.import_module("kept_installed")
    assert Path(cache_from_source(str(installed / "kept_installed.py"))).exists()
    assert Current().find_spec("kept_installed") is None
    assert Current().find_spec("json") is None
