"""RuleCode: which files the running queries were loaded from, and which of them are others now."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli.imports import Finder
from engine.cli.waiting import Cure
from engine.code.moment import Moment
from engine.watch import rule_code
from engine.watch.rule_code import RuleCode
from tests.folders import coarse


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that modules are imported from; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    finders, before = list(sys.meta_path), set(sys.modules)
    yield tmp_path
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def files(*paths: Path) -> RuleCode:
    return RuleCode(paths, modules=False)


def save(path: Path, text: str) -> None:
    swap = path.with_name("swap~")
    swap.write_text(text)
    swap.replace(path)


def long_after() -> Moment:
    """A moment after everything that a test does: no file was saved since."""
    now = Moment.now()
    return Moment(now.wall + 10**12, now.steady + 10**12)


def load(name: str) -> None:
    importlib.invalidate_caches()
    importlib.import_module(name)


def test_content_decides(tmp_path: Path) -> None:
    path = tmp_path / "rules.py"
    path.write_text("one")
    rules = files(path)
    os.utime(path, (1, 1))
    assert rules.changed() == ()
    save(path, "one")
    assert rules.changed() == ()
    save(path, "two")
    assert rules.changed() == (str(path),)
    assert rules.changed() == (str(path),)
    save(path, "one")
    assert rules.changed() == ()


def test_a_content_that_is_hidden_behind_equal_size_and_time_is_found(tmp_path: Path) -> None:
    path = tmp_path / "rules.py"
    path.write_text("one")
    rules = files(path)
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert rules.changed() == (str(path),)


def test_a_content_that_is_hidden_behind_a_coarse_clock_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse(monkeypatch, 2_000_000_000)
    path = tmp_path / "rules.py"
    path.write_text("0000")
    rules = files(path)
    for number in range(1, 100):
        path.write_text(f"{number:04}")
        assert rules.changed() == (str(path),)
        path.write_text("0000")
        assert rules.changed() == ()


def test_a_file_that_is_missing_for_a_moment_has_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "rules.py"
    path.write_text("one")
    rules = files(path)
    path.unlink()
    assert [rules.changed() for _ in range(rule_code.MISSED)] == [()] * rule_code.MISSED
    path.write_text("one")
    assert rules.changed() == ()
    path.unlink()
    for _ in range(rule_code.MISSED):
        rules.changed()
    assert rules.changed() == (str(path),)
    path.write_text("one")
    assert rules.changed() == ()


def test_a_file_that_appears_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    rules = files(path)
    assert rules.changed() == ()
    path.write_text("")
    assert rules.changed() == (str(path),)


PROJECTS = {
    "another table": ("[project]\nname = 'engine-user'\n", False),
    "our table in another order": ("[project]\n[tool.engine]\nstrict=true\nrules=['a.py']\n", False),
    "our table, changed": ("[tool.engine]\nrules = ['b.py']\nstrict = true\n", True),
    "what is no TOML any more": ("[tool.engine]\nrules = [", True),
    "nothing of ours any more": ("[project]\n", True),
    "a tool that is no table": ("tool = 'engine'\n", True),
}


@pytest.mark.parametrize("what", PROJECTS)
def test_of_a_project_file_our_table_counts(tmp_path: Path, what: str) -> None:
    text, differs = PROJECTS[what]
    path = tmp_path / "pyproject.toml"
    path.write_text(
        "[project]\nname = 'x'\n"
        if what == "another table"
        else "[tool.engine]\nrules=['a.py']\nstrict=true\n"
    )
    rules = files(path)
    save(path, text)
    found = [rules.changed() for _ in range(rule_code.MISSED + 1)][-1]
    assert found == ((str(path),) if differs else ())


def test_a_file_that_was_saved_while_it_was_loaded_counts_as_changed_until_a_fresh_interpreter_loads_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rules.py"
    path.write_text("one")
    began = Moment.now()
    path.write_text("two")
    assert RuleCode([path], began, modules=False).changed() == (str(path),)
    time.sleep(2 * rule_code.CLOCK_NANOSECONDS / 1e9)
    assert RuleCode([path], Moment.now(), modules=False).changed() == ()


def test_a_file_whose_time_is_to_come_is_not_taken_for_one_that_was_saved_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "rules.py"
    path.write_text("one")
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    time.sleep(2 * rule_code.CLOCK_NANOSECONDS / 1e9)
    began = Moment.now()
    assert RuleCode([path], began, modules=False).changed() == ()
    path.write_text("two")
    os.utime(path, (tomorrow, tomorrow))
    assert RuleCode([path], began, modules=False).changed() == (str(path),)


def test_a_file_that_was_saved_after_the_clock_was_set_back_counts_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.py"
    hour = 3_600 * 10**9
    exact = time.time_ns
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: exact() + hour)
        began = Moment.now()
    path.write_text("one")  # an hour before loading began, by its time
    assert RuleCode([path], began, modules=False).changed() == (str(path),)
    os.utime(path, ns=(0, exact() - 2 * hour))
    assert RuleCode([path], Moment.now(), modules=False).changed() == (str(path),), "its change time counts"


def test_a_file_that_was_put_there_with_an_old_time_counts_too(tmp_path: Path) -> None:
    old = tmp_path / "old.py"
    old.write_text("old")
    os.utime(old, (1, 1))
    began = Moment.now()
    old.rename(tmp_path / "rules.py")
    assert RuleCode([tmp_path / "rules.py"], began, modules=False).changed() == (str(tmp_path / "rules.py"),)


def test_modules_of_the_project_are_followed_and_those_that_are_loaded_later(place: Path) -> None:
    (place / "early_module.py").write_text("")
    load("early_module")
    rules = RuleCode(since=Moment.now())
    followed = set(rules.files)
    assert str(place / "early_module.py") in followed
    assert not [path for path in followed if "site-packages" in path or path == os.__file__]
    (place / "later_module.py").write_text("")
    os.utime(place / "later_module.py", (1, 1))
    rules.changed()
    load("later_module")
    rules.changed()
    assert set(rules.files) == {*followed, str(place / "later_module.py")}
    save(place / "later_module.py", "x = 1")
    assert str(place / "later_module.py") in rules.changed()


def test_a_module_that_was_saved_and_loaded_between_two_looks_counts_as_changed(place: Path) -> None:
    rules = RuleCode()
    (place / "quick_module.py").write_text("x = 1")
    load("quick_module")
    save(place / "quick_module.py", "x = 2")
    assert rules.changed() == (str(place / "quick_module.py"),)


def test_each_set_of_changed_files_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_code, "LOOK_SECONDS", 0.0)
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    for path in (one, two):
        path.write_text("1")
    told: list[tuple[str, ...]] = []
    step = files(one, two).follow(told.append)
    step()
    save(one, "2")
    step()
    step()
    save(two, "2")
    step()
    save(one, "1")
    save(two, "1")
    step()
    save(two, "2")
    step()
    assert told == [(str(one),), (str(one), str(two)), (str(two),)]


def test_looks_are_as_far_apart_as_they_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_code, "LOOK_SECONDS", 3600.0)
    path = tmp_path / "rules.py"
    told: list[tuple[str, ...]] = []
    step = files(path).follow(told.append)
    step()
    path.write_text("new")
    step()
    assert told == []


def test_any_thread_may_look(place: Path) -> None:
    rules = RuleCode()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(50):
                rules.changed()
        except BaseException as error:  # told by the test
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        (place / f"many_{number}.py").write_text("")
        load(f"many_{number}")
    for thread in threads:
        thread.join()
    assert failures == []


# -- imports of a watch ----------------------------------------------------------------------------


def test_a_module_is_compiled_anew_although_its_bytecode_has_its_size_and_second(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    source = place / "edited_module.py"
    source.write_text("x = 1")
    os.utime(source, ns=(0, 10**18))
    load("edited_module")
    assert list((place / "__pycache__").iterdir())
    del sys.modules["edited_module"]
    source.write_text("x = 2")
    os.utime(source, ns=(0, 10**18 + 1000))
    for cached in (place / "__pycache__").iterdir():
        os.utime(cached, ns=(0, 10**18 + 500))
    Finder().install()
    load("edited_module")
    assert sys.modules["edited_module"].x == 2


def test_modules_that_are_old_enough_are_left_to_python(place: Path) -> None:
    (place / "plain_module.py").write_text("")
    finder = Finder()
    assert finder.find_spec("plain_module") is None
    assert finder.find_spec("os") is None
    assert finder.find_spec("nowhere_to_be_found") is None


CURES = {
    "a module": ("missing_one", "missing_one.py"),
    "a package": ("missing_one", "missing_one/__init__.py"),
    "a module of a folder that is missing": ("missing_one.two", "missing_one/two.py"),
    "a module of a package": ("known.two", "known/two.py"),
}


@pytest.mark.parametrize("what", CURES)
def test_a_missing_module_is_noticed_when_it_appears(place: Path, what: str) -> None:
    name, file = CURES[what]
    (place / "known").mkdir()
    (place / "known" / "__init__.py").write_text("")
    finder = Finder()
    finder.install()
    began = long_after()
    with pytest.raises(ModuleNotFoundError) as caught:
        load(name)
    cure = Cure(caught.value, finder.files(), (), began)
    assert not cure.found()
    (place / "unrelated.txt").write_text("")
    assert not cure.found()
    (place / file).parent.mkdir(exist_ok=True)
    (place / file).write_text("")
    assert cure.found()


def test_a_module_that_was_loaded_and_forgotten_again_is_looked_at(place: Path) -> None:
    (place / "lacking.py").write_text("")
    (place / "wants.py").write_text("from lacking import name")
    finder = Finder()
    finder.install()
    with pytest.raises(ImportError) as caught:
        load("wants")
    sys.modules.pop("lacking")
    cure = Cure(caught.value, finder.files(), (), long_after())
    assert not cure.found()
    save(place / "lacking.py", "name = 1")
    assert cure.found()
