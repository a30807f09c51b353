"""Repair: what can be read of a file that does not parse, as while somebody is typing in it.

The statement around the error is replaced by `pass`, by indentation alone: first the innermost one, then
the ones around it, then on to the next error; after some of them the rest of the file is given up. What
comes out is a guess, so its users must say that the file is broken. It is a function of the text alone.

Invariants
    R1  Line numbers of what is left are those of the file.
    R2  At most `ATTEMPTS` parses and one, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ATTEMPTS = 12  # one or two are enough for a statement being typed; a file of prose should not cost more

_continues = re.compile(r"(?:elif|else|except|finally)\b|[)\]}]")  # lines that belong to the one above
_blames = re.compile(r" on line (\d+)$")  # "expected an indented block after 'if' statement on line 3"


def repaired(text: str, error: SyntaxError, parse: Callable[[str], object]) -> str:
    """`text` without the statements that do not parse; empty where that does not work.

    `error` is what the parser said of `text`; `parse` raises SyntaxError where it fails.
    """
    lines = text.split("\n")
    level: int | None = None  # statements deeper than this were tried for the present error
    blamed = _blamed(lines, error)
    for _ in range(ATTEMPTS):
        first, last, level = _statement(lines, blamed, level)
        before = lines[first:last]
        lines[first:last] = [lines[first][:level] + "pass", *[""] * (last - first - 1)]
        try:
            return _checked("\n".join(lines), parse)
        except SyntaxError as again:
            next_blamed = _blamed(lines, again)
        except (RecursionError, MemoryError):
            break
        if next_blamed >= last:
            blamed, level = next_blamed, None  # this one is out of the way: on to the next
        elif level > 0:
            lines[first:last] = before  # no help: the statement around it
        elif next_blamed < first:
            blamed, level = next_blamed, None
        else:
            break
    first, _, _ = _statement(lines, blamed, 1)
    try:
        return _checked("\n".join(lines[:first]), parse)
    except (SyntaxError, RecursionError, MemoryError):
        return ""


def _checked(text: str, parse: Callable[[str], object]) -> str:
    parse(text)
    return text


def _blamed(lines: list[str], error: SyntaxError) -> int:
    """The index of the line to leave out. Not always the one where the parser noticed."""
    at = min(max((error.lineno or 1) - 1, 0), len(lines) - 1)
    if found := _blames.search(error.msg):
        return min(int(found[1]) - 1, at)
    if error.msg.startswith("expected 'except'"):
        for line in range(at - 1, -1, -1):
            if lines[line].lstrip().startswith("try:") and _indent(lines[line]) <= _indent(lines[at]):
                return line
    while at > 0 and not lines[at].strip():
        at -= 1
    return at


def _statement(lines: list[str], at: int, below: int | None) -> tuple[int, int, int]:
    """The statement around a line, as (first, last + 1, indentation less than `below`)."""
    level = _indent(lines[at])
    first = at
    while first > 0 and ((below is not None and level >= below) or not _starts(lines[first])):
        first -= 1
        if _starts(lines[first]):
            level = min(level, _indent(lines[first]))
    last = at + 1
    while last < len(lines) and not (_starts(lines[last]) and _indent(lines[last]) <= level):
        last += 1
    while first > 0 and lines[first - 1].startswith(lines[first][:level] + "@"):
        first -= 1
    return first, last, level


def _starts(line: str) -> bool:
    bare = line.strip()
    return bool(bare) and bare[0] != "#" and not _continues.match(bare)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
