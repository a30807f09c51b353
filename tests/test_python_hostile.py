"""Hostile sources are values: never an exception, never a signal, and the same from any depth or thread."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Literal

import pytest

from engine.rules.python.facts import Broken, facts, facts_of
from engine.rules.python.parse import SOURCE_LIMIT, ParseError, parse_text

# What is too deep for the conversion of a tree is only known by the stack since 3.14, and ours is large.
DEEP = None if sys.version_info >= (3, 14) else "nested"
HOSTILE = {
    "a sum of a million terms": ("1+" * 10**6 + "1", DEEP),
    "a hundred thousand parentheses": ("(" * 100_000 + ")" * 100_000, "syntax"),
    "a hundred thousand operators": ("~" * 100_000 + "1", "nested"),
    "a hundred thousand attributes": ("a" + ".b" * 100_000, DEEP),
    "a hundred thousand calls": ("a" + "()" * 100_000, DEEP),
    "fifty thousand elif": ("if a: pass\n" + "elif b: pass\n" * 50_000, "nested"),
    "a million digits": ("x = " + "1" * 10**6, "syntax"),
    "a NUL": ("x = 1\0", "syntax"),
    "a byte order mark in the middle": ("x = 1\n\ufeffy = 2", "syntax"),
    "half of a surrogate pair": ("x = '\ud800'", "encoding"),
    "a hundred million characters": ("x = '" + "a" * 10**8 + "'", "size"),
    "a hundred blocks in each other": ("".join(" " * n + "if x:\n" for n in range(101)), "syntax"),
    "two hundred thousand errors": ("a b\n" * 200_000, "syntax"),
    "one line of a million brackets": ("[" * 10**6, "syntax"),
    "nothing but quotes": ('"""' * 100_001, "syntax"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_source_is_a_value(case: str) -> None:
    text, kind = HOSTILE[case]
    parsed = parse_text(text)
    assert (parsed.error and parsed.error.kind) == kind
    found = facts_of(parsed)
    assert (found.broken and found.broken.kind) == kind


FINE = {
    "a sum that the parser takes but a recursive walk would not": "x = " + "1+" * 2500 + "1",
    "a chain of two thousand attributes": "a" + ".b" * 2000,
    "many statements": "x = 1\n" * 100_000,
    "ninety blocks in each other": "".join(" " * n + "if x:\n" for n in range(90)) + " " * 90 + "y",
    "form feeds and unusual line ends in strings": "x = '\x0c\x85\u2028'\ny = 1",
}


@pytest.mark.parametrize("case", FINE)
def test_large_source_is_read(case: str) -> None:
    assert facts_of(parse_text(FINE[case])).broken is None


def test_no_signal_with_a_huge_recursion_limit() -> None:
    """A host that raised the limit would crash in `ast.parse` itself."""
    program = (
        "import sys; sys.setrecursionlimit(10**7)\n"
        "from engine.rules.python.parse import parse_text\n"
        "from engine.rules.python.facts import facts_of\n"
        f"for text in ('1+' * {SOURCE_LIMIT // 2 - 1} + '1', 'a' + '.b' * 100_000, '(' * 100_000):\n"
        "    facts_of(parse_text(text))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_depth_of_the_caller_does_not_matter() -> None:
    text = "x = " + "1+" * 2500 + "1"
    flat = facts_of(parse_text(text))

    def deep(levels: int) -> object:
        return deep(levels - 1) if levels else facts_of(parse_text(text + " # not the one kept"))

    for levels in (100, 600, sys.getrecursionlimit() - 200):
        assert deep(levels) == flat


def test_results_of_threads_agree() -> None:
    texts = ["x = " + "1+" * length + "1" for length in (10, 2500, 100_000)]
    expected = [facts_of(parse_text(text)) for text in texts]
    results: list[object] = []

    def run() -> None:
        results.append([facts_of(parse_text(text + " ")) for text in texts])

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8
    assert threading.stack_size() == 0
    assert gc.isenabled()


def test_threads_that_parse_while_the_collector_runs_get_trees() -> None:
    """The other thread parses whenever the collector runs amid a parse of this one, where it is let in."""
    text = "x = " + "1+" * 60 + "1\n"
    wanted, given = threading.Semaphore(0), threading.Semaphore(0)
    asked: list[None] = []

    def parse(number: int) -> None:
        assert parse_text(text * 20 + f"y = {number}\n").error is None

    def other() -> None:
        while wanted.acquire() and asked:
            parse(-len(asked))
            given.release()

    def collects(phase: str, info: object) -> None:
        if phase == "start" and threading.current_thread() is threading.main_thread() and len(asked) < 20:
            asked.append(None)
            wanted.release()
            given.acquire(timeout=0.05)

    thread = threading.Thread(target=other)
    thread.start()
    before = gc.get_threshold()
    gc.callbacks.append(collects)
    try:
        gc.set_threshold(50)
        for number in range(10):
            parse(number)
    finally:
        gc.callbacks.remove(collects)
        gc.set_threshold(*before)
        asked.clear()
        wanted.release()
        thread.join()


@pytest.mark.parametrize("action", ["error", "always", "default"])
def test_warnings_of_sources_stay_with_them(
    action: Literal["error", "always", "default"], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        for number in range(2):
            parsed = parse_text(f"x = '\\d' # {action} {number}\nassert (1, 'a')\n1or 2\n")
            assert parsed.error is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("action", ["error", "always"])
def test_warnings_of_sources_stay_with_them_where_filters_are_those_of_a_context(action: str) -> None:
    program = (
        "import sys, warnings\n"
        "from engine.rules.python.parse import parse_text\n"
        "assert parse_text(\"x = '\\\\d'\").error is None\n"
        "with warnings.catch_warnings():\n"
        f"    warnings.simplefilter({action!r})\n"
        "    for number in range(2):\n"
        "        assert parse_text(f\"x = '\\\\d' # {number}\").error is None\n"
    )
    flags = ["-X", "context_aware_warnings=1"]  # unknown before 3.14, which does no harm
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, *flags, "-c", program], env=environment, capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_warnings_that_are_errors_do_not_break_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when another thread puts its filter before ours in the middle of things."""
    monkeypatch.setattr(sys.modules["engine.rules.python.parse"], "_mute", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_text("x = '\\d' # the filter came in between").error is None


def test_a_real_shortage_of_memory_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MemoryError is believed to be the parser's only while memory can be had."""
    monkeypatch.setattr("builtins.bytearray", _no_memory)
    with pytest.raises(MemoryError):
        parse_text("~" * 50_000 + "1")


def _no_memory(size: int) -> bytearray:
    raise MemoryError


def test_messages_hold_no_line_numbers() -> None:
    for text in ("if x:\ny", "x = (1\n]", "x = '''", "def f(:\n"):
        found = facts_of(parse_text(text)).broken
        assert found is not None
        assert found == facts_of(parse_text("\n" * 7 + text)).broken


def test_position_of_an_error() -> None:
    assert parse_text("x = 1\ny = = 2\n").error == ParseError("syntax", "invalid syntax", 2, 5)


def test_broken_stdlib_fixtures_are_values(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Path(os.__file__).parent
    monkeypatch.chdir(library)
    fixtures = sorted(path for path in library.glob("test/**/bad*.py") if path.is_file())
    for path in fixtures:
        broken = facts(path.relative_to(library).as_posix()).broken
        assert broken is None or isinstance(broken, Broken)
