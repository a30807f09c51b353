"""What a watch says about a changed file: ranges of lines, and definitions. Plain calls, no engine."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.lines import line_digests_of
from engine.rules.python.chunks import Chunk, chunks_of
from engine.rules.python.parse import parse_text
from engine.watch.differences import Version, changed_definitions, changed_lines, file_delta
from engine.watch.events import FileDelta


def ranges(before: str, after: str) -> tuple[tuple[int, int], ...]:
    """Of texts in which each character is a line."""
    return changed_lines(*(line_digests_of("\n".join([*text, ""]).encode()) for text in (before, after)))


LINES: dict[str, tuple[str, str, list[tuple[int, int]]]] = {
    "nothing": ("abc", "abc", []),
    "nothing of nothing": ("", "", []),
    "a line": ("abc", "axc", [(2, 2)]),
    "the first": ("abc", "xbc", [(1, 1)]),
    "the last": ("abc", "abx", [(3, 3)]),
    "several in a row": ("abcde", "axyze", [(2, 4)]),
    "some here, some there": ("abcdefg", "xbcyzfg", [(1, 1), (4, 5)]),
    "lines more": ("abc", "abxyc", [(3, 4)]),
    "lines more at the start": ("abc", "xyabc", [(1, 2)]),
    "lines more at the end": ("abc", "abcxy", [(4, 5)]),
    "lines less": ("abcd", "ad", [(2, 1)]),
    "lines less at the start": ("abcd", "cd", [(1, 0)]),
    "lines less at the end": ("abcd", "ab", [(3, 2)]),
    "lines less here, more there": ("abcde", "acdxe", [(2, 1), (4, 4)]),
    "all that there was": ("abc", "", [(1, 0)]),
    "all that there is": ("", "abc", [(1, 3)]),
    "everything": ("abc", "xyz", [(1, 3)]),
    "a line that is there twice": ("aab", "aaab", [(3, 3)]),
    "lines that are there often": ("a--b--c--d", "a--x--c--d--", [(4, 4), (11, 12)]),
    "moved lines": ("abcdef", "defabc", [(1, 0), (4, 6)]),
    "lines that repeat, without one that is there once": ("abab", "baba", [(1, 1), (5, 4)]),
}


@pytest.mark.parametrize("case", LINES)
def test_changed_lines(case: str) -> None:
    before, after, expected = LINES[case]
    assert list(ranges(before, after)) == expected


short = st.text("abcdef-", max_size=30)


@settings(max_examples=400, deadline=None)
@given(short, short)
def test_what_is_outside_of_the_ranges_is_as_it_was(before: str, after: str) -> None:
    found = ranges(before, after)
    pattern, at = "", 0
    for first, last in found:
        assert at <= first - 1 <= last
        pattern += re.escape(after[at : first - 1]) + ".*"
        at = last
    assert re.fullmatch(pattern + re.escape(after[at:]), before)
    assert (found == ()) == (before == after)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=200), st.sets(st.integers(0, 199)))
def test_only_edited_lines_are_in_ranges_where_others_are_there_once(
    lines: list[int], edited: set[int]
) -> None:
    """Forty of the lines may be equal to others, so that these do not count."""
    before = [f"{number} {index}" if number else "" for index, number in enumerate(lines)]
    after = [f"{line}!" if index in edited and line else line for index, line in enumerate(before)]
    found = changed_lines(*(line_digests_of("\n".join(text).encode()) for text in (before, after)))
    named = {index for first, last in found for index in range(first - 1, last)}
    different = {index for index, line in enumerate(before) if line != after[index]}
    assert different <= named
    assert all(not before[index] for index in named - different)


def test_edits_far_from_each_other_in_a_long_file_are_told_apart() -> None:
    """All pairs of its 20,000 blank lines would be far over the limit."""
    before = [f"line {number}\n\n" for number in range(20_000)]
    after = before.copy()
    after[10] = "another\n\n"
    after[10_000] += "one more\n"
    del after[15_000]
    found = changed_lines(*(line_digests_of("".join(lines).encode()) for lines in (before, after)))
    assert found == ((21, 21), (20_003, 20_003), (30_001, 30_000))


def test_what_would_take_long_to_compare_is_one_range() -> None:
    before, after = "".join(("x", "ab" * 500, "y")), "".join(("x", "bba" * 400, "y"))
    assert ranges(before, after) == ((2, 1201),)
    assert len(ranges("x" + "ab" * 50 + "y", "x" + "bba" * 40 + "y")) > 1


# -- definitions -----------------------------------------------------------------------------------


def chunks(source: str) -> tuple[Chunk, ...]:
    return chunks_of(parse_text(source), source)


CLASS = "import a\nclass C:\n    x = 1\n    def m(self): return 1\n    def n(self): return 2\n"
THREE = "def f(): 1\ndef f(): 2\ndef f(): 3"
REORDERED = "import a\nclass C:\n    def n(self): return 2\n    def m(self): return 1\n    x = 1"
DEFINITIONS = {
    "nothing": (CLASS, CLASS, "", "", ""),
    "a method": (CLASS, CLASS.replace("2", "3"), "", "", "method C.n"),
    "text of the module": (CLASS, CLASS.replace("import a", "import b"), "", "", "module"),
    "lines above": (CLASS, "\n\n" + CLASS, "", "", ""),
    "a method more": (CLASS, CLASS + "    async def o(self): pass", "async method C.o", "", ""),
    "a method less": (CLASS, CLASS.partition("    def n")[0], "", "method C.n", ""),
    "another name": (CLASS, CLASS.replace("n(", "o("), "method C.o", "method C.n", ""),
    "another kind": (CLASS, CLASS.replace("x = 1", "def x(self): pass"), "method C.x", "variable C.x", ""),
    "all indented": (CLASS, "if a:\n  " + CLASS.replace("\n", "\n  "), "", "", "module"),
    "another order": (CLASS, REORDERED, "", "", ""),
    "an overload before": ("def f(): 1", "def f(): 2\ndef f(): 1", "function f", "", ""),
    "an overload less": (THREE, "def f(): 1\ndef f(): 3", "", "function f", ""),
    "an overload among others": (THREE, "def f(): 4\ndef f(): 3\ndef f(): 1", "", "", "function f"),
    "overloads in another order": ("def f(): 1\ndef f(): 2", "def f(): 2\ndef f(): 1", "", "", ""),
    "overloads changed, and one more": ("def f(): 4\ndef f(): 5", THREE, "function f", "", "function f"),
    "one of two that are equal": ("def f(): 1\ndef f(): 1", "def f(): 1", "", "function f", ""),
    "everything": (CLASS, "x = 1", "variable x", "class C, method C.m, method C.n, variable C.x", "module"),
    "a definition called module": ("def module(): 1", "def module(): 2", "", "", "function module"),
}


@pytest.mark.parametrize("case", DEFINITIONS)
def test_changed_definitions(case: str) -> None:
    before, after, *expected = DEFINITIONS[case]
    assert [", ".join(names) for names in changed_definitions(chunks(before), chunks(after))] == expected


# -- files -----------------------------------------------------------------------------------------


def version(source: str) -> Version:
    return Version(line_digests_of(source.encode()), chunks(source))


ONE, TWO = version("def f(): 1\n"), version("def g(): 1\n\ndef f(): 2\n")
F, G, BOTH = ("function f",), ("function g",), ("function f", "function g")
UNREADABLE, NOT_PYTHON = Version(None, ()), Version(line_digests_of(b"a\nb\n"))
DELTAS = {
    "added": (None, TWO, False, FileDelta("a", "added", ((1, 3),), BOTH)),
    "added where an earlier one was removed": (ONE, TWO, False, FileDelta("a", "added", ((1, 3),), BOTH)),
    "added and empty": (None, version(""), False, FileDelta("a", "added")),
    "new to us": (None, TWO, True, FileDelta("a", "new to us", ((1, 3),), BOTH)),
    "changed": (ONE, TWO, True, FileDelta("a", "changed", ((1, 3),), G, (), F)),
    "changed, and nothing of it is seen": (ONE, ONE, True, FileDelta("a", "changed")),
    "changed to empty": (ONE, version(""), True, FileDelta("a", "changed", ((1, 0),), (), F)),
    "removed": (TWO, None, True, FileDelta("a", "removed", (), (), BOTH)),
    "removed, and never known": (None, None, True, FileDelta("a", "removed")),
    "not readable any more": (ONE, UNREADABLE, True, FileDelta("a", "changed", (), (), F)),
    "readable again": (UNREADABLE, ONE, True, FileDelta("a", "changed", ((1, 1),), F)),
    "not Python": (ONE, NOT_PYTHON, True, FileDelta("a", "changed", ((1, 2),))),
    "definitions not known before": (Version(ONE.lines), ONE, True, FileDelta("a", "changed", (), F)),
    "of none is anything known": (Version(), Version(), True, FileDelta("a", "changed")),
}


@pytest.mark.parametrize("case", DELTAS)
def test_file_delta(case: str) -> None:
    before, after, existed, expected = DELTAS[case]
    assert file_delta("a", before, after, existed) == expected
