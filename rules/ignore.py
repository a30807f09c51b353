"""Ignore rules: the lines of a `.gitignore`, and what they say about one entry, exactly as git does.

Invariants
    I1  One entry is judged at a time, top down: nothing below an ignored directory is asked about.
    I2  The last line that matches decides; a file that has none leaves the decision to the one above.
    I3  Names are matched as bytes, as git does: `?` is one byte.
    I4  Matching takes at most quadratic time: a wildcard never gives back what the next text has matched.

Why not pathspec: a line of it matches whole paths (all that lies below what it names as well), so that
"ignored" cannot be asked of one entry, and it reads `[[:digit:]]`, `\\]` in brackets, names that are not
ASCII and some negations differently. On 2,700 random trees, 828 answers were not git's; here, none
(test_what_is_ignored_is_what_git_ignores).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from attrs import frozen

IGNORE_FILE = ".gitignore"
ALWAYS_SKIPPED = frozenset((".git", ".engine"))  # what git and the engine keep: never sources

_ASCII = frozenset(range(128))
_SPACE = frozenset(b" \t\n\r")  # git's own idea: no form feed
_CONTROL = frozenset((*range(32), 127))
_CLASSES: dict[bytes, frozenset[int]] = {  # git looks at ASCII only
    b"alnum": frozenset((string.ascii_letters + string.digits).encode()),
    b"alpha": frozenset(string.ascii_letters.encode()),
    b"blank": frozenset(b" \t"),
    b"cntrl": _CONTROL,
    b"digit": frozenset(string.digits.encode()),
    b"graph": _ASCII - _CONTROL - _SPACE,
    b"lower": frozenset(string.ascii_lowercase.encode()),
    b"print": _ASCII - _CONTROL,
    b"punct": frozenset(string.punctuation.encode()),
    b"space": _SPACE,
    b"upper": frozenset(string.ascii_uppercase.encode()),
    b"xdigit": frozenset(string.hexdigits.encode()),
}


class _Token(Enum):
    STAR = "*"
    STARS = "**"  # that crosses directories
    SLASH = "/"


_Tokens = list[bytes | _Token]


class _NeverMatches(Exception):
    """The pattern is malformed; git lets such a line match nothing."""


@frozen
class _Line:
    ignores: bool
    directories_only: bool
    by_name: bool  # no slash in it: matched with the name alone, at every level
    regex: re.Pattern[bytes]


class Matcher:
    """The compiled lines of one ignore file."""

    __slots__ = ("_by_name", "_by_path", "_lines")

    def __init__(self, lines: Iterable[bytes]) -> None:
        compiled = [line for line in map(_compile, lines) if line is not None]
        self._lines = compiled[::-1]  # the last one that matches decides (I2)
        self._by_name = _any_of(line.regex for line in compiled if line.by_name)
        self._by_path = _any_of(line.regex for line in compiled if not line.by_name)

    def decide(self, path: bytes, is_directory: bool) -> bool | None:
        """Whether an entry is ignored; None when no line matches. `path` is relative to the ignore file."""
        name = path[path.rfind(b"/") + 1 :]
        if not self._by_name.match(name) and not self._by_path.match(path):
            return None  # nearly always: two probes instead of one for each line
        for line in self._lines:
            text = name if line.by_name else path
            if (is_directory or not line.directories_only) and line.regex.match(text):
                return line.ignores
        return None


@lru_cache(maxsize=1024)  # one entry for each distinct ignore file of a tree
def matcher(lines: tuple[bytes, ...]) -> Matcher:
    """The compiled form of what `parse` returned."""
    return Matcher(lines)


@lru_cache(maxsize=64)  # for walks without an engine, which read the same few files at every directory
def parse(content: bytes) -> tuple[bytes, ...]:
    """The lines of an ignore file that mean something: no comments, no blank lines, no trailing spaces."""
    lines = []
    for raw in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not raw.startswith(b"#"):
            line = _without_trailing_spaces(raw.removesuffix(b"\r").split(b"\0")[0])
            if line:
                lines.append(line)
    return tuple(lines)


def _without_trailing_spaces(line: bytes) -> bytes:
    """`line` without the spaces at its end, except one that a backslash protects."""
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if len(kept) < len(line) and backslashes % 2 else kept


def _compile(line: bytes) -> _Line | None:
    """One line as a regular expression, or None when it can match nothing."""
    ignores = not line.startswith(b"!")
    pattern = line if ignores else line[1:]
    directories_only = pattern.endswith(b"/")
    if directories_only:
        pattern = pattern[:-1]
    by_name = b"/" not in pattern
    if not by_name:
        pattern = pattern.removeprefix(b"/")
    if not pattern:
        return None
    try:
        text = _regex_of(_tokens(pattern, crossing=not by_name))
    except _NeverMatches:
        return None
    return _Line(ignores, directories_only, by_name, re.compile(text, re.DOTALL))


def _any_of(patterns: Iterable[re.Pattern[bytes]]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(pattern.pattern for pattern in patterns) or rb"(?!)", re.DOTALL)


def _tokens(pattern: bytes, crossing: bool) -> _Tokens:
    """`pattern` cut into regular expressions of one byte, and tokens."""
    tokens: _Tokens = []
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            start = at
            while pattern[at + 1 : at + 2] == b"*":
                at += 1
            # As the manual says. To git 2.47 and older that of `a/b**` crosses too, an accident: they compare
            # the text before the first wildcard by itself.
            opens = start == 0 or pattern[start - 1 : start] == b"/"
            closes = pattern[at + 1 : at + 2] in (b"", b"/") or pattern.startswith(b"\\/", at + 1)
            tokens.append(_Token.STARS if crossing and at > start and opens and closes else _Token.STAR)
        elif byte == b"?":
            tokens.append(rb"[^/]")
        elif byte == b"[":
            members, at = _bracket(pattern, at + 1)
            tokens.append(_one_of(members))
        elif byte == b"\\":
            at += 1
            if at == len(pattern):
                raise _NeverMatches
            tokens.append(_literal(pattern[at : at + 1]))
        else:
            tokens.append(_literal(byte))
        at += 1
    return tokens


def _literal(byte: bytes) -> bytes | _Token:
    return _Token.SLASH if byte == b"/" else re.escape(byte)


def _one_of(members: set[int]) -> bytes:
    inside = b"".join(b"\\x%02x" % byte for byte in sorted(members - {ord("/")}))
    return b"[" + inside + b"]" if inside else rb"(?!)"


def _bracket(pattern: bytes, at: int) -> tuple[set[int], int]:
    """The bytes that a bracket expression stands for, and where its `]` is. `at` is behind its `[`."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    low: int | None = None  # the byte that a range may start with
    first = at
    while at == first or pattern[at : at + 1] != b"]":
        if pattern.startswith(b"[:", at) and (end := pattern.find(b"]", at + 2)) != at + 2:
            if end < 0:
                raise _NeverMatches
            if pattern[end - 1 : end] == b":":
                name = pattern[at + 2 : end - 1]
                if name not in _CLASSES:
                    raise _NeverMatches
                members |= _CLASSES[name]
                low, at = None, end + 1
                continue
        is_range = low is not None and pattern.startswith(b"-", at)
        if is_range and pattern[at + 1 : at + 2] not in (b"", b"]"):
            high, at = _bracket_byte(pattern, at + 1)
            members.update(range(low or 0, high + 1))
            low = None
        else:
            low, at = _bracket_byte(pattern, at)
            members.add(low)
    return (set(range(256)) - members if negated else members), at


def _bracket_byte(pattern: bytes, at: int) -> tuple[int, int]:
    """One byte of a bracket expression, and where the next begins; a backslash protects it."""
    at += pattern.startswith(b"\\", at)
    if at >= len(pattern):
        raise _NeverMatches
    return pattern[at], at + 1


def _regex_of(tokens: _Tokens) -> bytes:
    """One regular expression for a whole path (I4).

    What lies between two `**` is taken where it fits first, in an atomic group: the `**` behind it can
    take up all the rest, so a later place is never needed.
    """
    runs: list[_Tokens] = [[]]
    for token in tokens:
        if token is _Token.STARS:
            runs.append([])
        else:
            runs[-1].append(token)
    text = _regex_of_run(runs[0])
    for number, run in enumerate(runs[1:], 1):
        if not run:
            text += rb".*"  # only the last one can be empty: `**` ends at a slash or at the end
        elif number < len(runs) - 1:
            text += rb"(?>(?:.*?/)??" + _regex_of_run(run[1:]) + rb")"
        else:
            text += rb"(?:.*/)?" + _regex_of_run(run[1:])
    return text + rb"\Z"


def _regex_of_run(run: _Tokens) -> bytes:
    """Text without `**`; each `*` but the last of its segment takes as little as it can."""
    segments: list[list[bytes]] = [[b""]]  # for each path segment, what stands between its stars
    for token in run:
        if token is _Token.SLASH:
            segments.append([b""])
        elif token is _Token.STAR:
            segments[-1].append(b"")
        else:
            assert isinstance(token, bytes)  # `_regex_of` took the others out
            segments[-1][-1] += token
    return b"/".join(
        first
        + b"".join(rb"(?>[^/]*?" + middle + b")" for middle in rest[:-1])
        + b"".join(rb"[^/]*" + last for last in rest[-1:])
        for first, *rest in segments
    )
