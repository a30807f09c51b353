"""Directories: listings, and files found by pattern, one node for each directory.

Invariants
    D1  A file that appears or vanishes runs the nodes of its directory; those above run only where the
        names that match changed. Elsewhere nothing runs.
    D2  Only directories in which something can match are listed: "src/*.py" looks at the root and "src".
    D3  Ignored directories are not listed, whatever lies in them. `.git` and `.engine` never are.
    D4  A link to a directory is followed where it is named, before the first wildcard, and by no wildcard.
        So no walk is endless, and no file is found twice by one. Links to files are found by their names.
    D5  Results are sorted by the text of the path.

Ignore rules are those of `.gitignore` files at the root and below, as git reads them. What git takes from
elsewhere is left out, because answers must not depend on the machine: a user's global ignore file,
`.git/info/exclude`, directories above the root. A repository inside the tree is walked like any directory.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from attrs import frozen

from engine import ChangedWhileRead, EngineError, each, input, query
from engine.rules.files import FileError, FileMissing, full_path, kind, open_below_root, place_of, read_bytes
from engine.rules.ignore import ALWAYS_SKIPPED, IGNORE_FILE, Matcher, matcher, parse
from engine.rules.stat import file_stamp, file_stamps, kind_of, record_of, settled

MAX_DEPTH = 100  # directories inside each other; a walk by plain calls takes six frames of 1,000 for each


class BadPattern(EngineError):
    headline = "this pattern cannot match a path below the root"
    hint = "Write it relative to the root, without empty parts, '.' or '..': src/**/*.py"
    exit_code = 1  # it is written in a query as a rule, seldom in what was asked for


@frozen(slots=True)
class Entry:
    """One name in a directory. `kind` is that of the name itself: a link is a "symlink"."""

    name: str
    kind: str


@input(stamp=file_stamp, stamps=file_stamps, settled=settled, place=place_of, persist=False)
def listing(path: str = "") -> tuple[Entry, ...]:
    """What a directory contains, sorted by name. The root is "".

    Raises FileError: "missing", "not a directory", "unreadable".
    """
    descriptor, before = open_below_root(path, "directory")
    try:
        with os.scandir(descriptor) as found:
            entries = [Entry(one.name, _entry_kind(one)) for one in found]
        if record_of(os.fstat(descriptor)) != record_of(before):
            raise ChangedWhileRead(f"{path!a} changed while it was listed")
    except FileNotFoundError as error:  # an entry vanished before its kind was known
        raise ChangedWhileRead(f"{path!a} changed while it was listed") from error
    except PermissionError as error:  # its names may be read, and nothing may be looked up in it
        raise FileError(path, "unreadable") from error
    finally:
        os.close(descriptor)
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _entry_kind(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    if entry.is_symlink():  # as a rule the directory itself tells so much
        return "symlink"
    return kind_of(entry.stat(follow_symlinks=False).st_mode)


# -- what is ignored -----------------------------------------------------------------------------


@query
def ignore_lines(directory: str) -> tuple[bytes, ...]:
    """The lines of a directory's own ignore file that mean something; none where it has no such file."""
    try:
        return parse(read_bytes(_joined(directory, IGNORE_FILE)))
    except FileMissing:
        return ()


@query
def ignore_rules(directory: str) -> tuple[str, ...]:
    """The directories whose ignore files speak about the entries of `directory`, the nearest first."""
    above = ignore_rules(directory.rpartition("/")[0]) if directory else ()
    # By the listing, which is needed anyhow: no stamp for a file that most directories do not have. Git
    # does not follow a link here either.
    named = any(entry.name == IGNORE_FILE and entry.kind == "file" for entry in listing(directory))
    return (directory, *above) if named and ignore_lines(directory) else above


@query
def visible(directory: str) -> tuple[Entry, ...]:
    """The entries of a directory that its ignore rules leave. Not asked: whether it is ignored itself."""
    rules = _rules_for(directory)
    start = _joined(directory, "").encode("utf-8", "surrogateescape")
    return tuple(
        entry
        for entry in listing(directory)
        if entry.name not in ALWAYS_SKIPPED
        and not (rules and _is_ignored(rules, start, entry.name, entry.kind == "directory"))
    )


@query
def ignored(path: str) -> bool:
    """Whether ignore rules leave out an existing path, or a directory above it."""
    full_path(path)
    if not path:
        return False
    directory, _, name = path.rpartition("/")
    return ignored(directory) or all(entry.name != name for entry in visible(directory))


def _rules_for(directory: str) -> list[tuple[int, Matcher]]:
    """Length of the part of a path above each ignore file, and its lines; the nearest first."""
    return [
        (len(_joined(base, "").encode("utf-8", "surrogateescape")), matcher(ignore_lines(base)))
        for base in ignore_rules(directory)
    ]


def _is_ignored(rules: list[tuple[int, Matcher]], start: bytes, name: str, is_directory: bool) -> bool:
    path = start + name.encode("utf-8", "surrogateescape")
    for length, lines in rules:
        decision = lines.decide(path[length:], is_directory)
        if decision is not None:
            return decision
    return False


def _joined(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


# -- what matches --------------------------------------------------------------------------------


@query
def glob(pattern: str, *, ignore: bool = True) -> tuple[str, ...]:
    """The files whose paths match, sorted. Directories are never among them.

    `*`, `?`, `[abc]`, `[!abc]` match within one name, hidden ones too; `**` stands for any number of
    directories, and at the end for every file below. `[*]` is a plain star. Alternatives in braces are
    refused: ask for each of them. Links to directories are followed where the pattern names them before its
    first wildcard. With `ignore=False`, ignore files are not looked at.
    """
    if not isinstance(pattern, str):
        raise BadPattern(
            pattern=repr(pattern), cause="it is not a string", hint="Give one pattern, as a str: src/**/*.py"
        )
    _compiled(pattern)
    return matches_below("", pattern, ignore)


@query
def files_below(directory: str = "", *, ignore: bool = True) -> tuple[str, ...]:
    """All files below a directory, sorted. Raises FileError where there is no such directory."""
    listing(directory)
    if ignore and ignored(directory):
        return ()
    return matches_below(directory, "**", ignore)


@query
def matches_below(directory: str, pattern: str, ignore: bool) -> tuple[str, ...]:
    """The part of `glob(pattern)` that lies below one directory. A part of the answer of `glob`.

    A directory that was replaced since its parent was listed has nothing below it.
    """
    if directory.count("/") >= MAX_DEPTH:
        raise FileError(directory, "too deep")
    segments = _compiled(pattern)
    states = _states_in(pattern, directory)
    accepted = [segments[state] for state in states if state == len(segments) - 1]
    try:
        entries = visible(directory) if ignore else listing(directory)
    except FileError as error:
        if directory and error.kind in ("missing", "dangling link", "not a directory"):
            return ()
        raise
    names = []
    for entry in entries:
        name = entry.name
        if entry.kind == "directory" or (
            entry.kind == "symlink" and _enters(pattern, _joined(directory, name))
        ):
            if name not in ALWAYS_SKIPPED and _next_states(segments, states, name):
                names.append(name + "/")
        elif any(matches is None or matches(name) for matches in accepted):
            reached = entry.kind if entry.kind != "symlink" else kind(_joined(directory, name))
            if reached == "file" and name not in ALWAYS_SKIPPED:
                names.append(name)
    names.sort()  # directories with their slash: then all paths below come in order as well (D5)
    below = iter(
        each(
            [
                matches_below.key(_joined(directory, name[:-1]), pattern, ignore)
                for name in names
                if name.endswith("/")
            ]
        )
    )
    paths: list[str] = []
    for name in names:
        if name.endswith("/"):
            paths += next(below)
        else:
            paths.append(_joined(directory, name))
    return tuple(paths)


_ALTERNATIVES = re.compile(r"\[!?\]?[^\]/]*\]|(\{[^{}]*,[^{}]*\})")  # in `[...]` braces are plain ones
Segment = Callable[[str], object] | None  # what tells whether a name fits; None is `**`


@lru_cache(maxsize=1024)  # patterns are written by people: a few for each program
def _compiled(pattern: str) -> tuple[Segment, ...]:
    braces = next(filter(None, _ALTERNATIVES.findall(pattern)), "")
    if braces:  # taken as it is written, it would match nothing, and nobody would know
        raise BadPattern(
            pattern=pattern,
            cause=f"{braces} is not understood as alternatives",
            hint="Ask for each of them: {*glob('*.md'), *glob('*.txt')}. A brace in a name is written [{].",
        )
    segments: list[Segment] = []
    for part in pattern.split("/"):
        if part in ("", ".", "..") or "\0" in part:
            raise BadPattern(pattern=pattern)
        if part == "**":
            if not segments or segments[-1] is not None:  # `**/**` says no more than `**`
                segments.append(None)
        elif any(character in part for character in "*?["):
            # Linear: `translate` makes each star but the last take as little as it can.
            segments.append(re.compile(fnmatch.translate(part)).match)
        else:
            segments.append(part.__eq__)
    return tuple(segments)


def _enters(pattern: str, link: str) -> bool:
    """Whether a pattern names this link before its first wildcard, and it leads to a directory (D4)."""
    is_named = pattern.startswith(f"{link}/") and not any(character in link for character in "*?[")
    return is_named and kind(link) == "directory"


@lru_cache(maxsize=4096)  # a walk goes from a directory to those in it
def _states_in(pattern: str, directory: str) -> tuple[int, ...]:
    """Which segments a name in `directory` may have to fit: the states of the pattern as an automaton."""
    segments = _compiled(pattern)
    if not directory:
        return _with_skipped(segments, (0,))
    above, _, name = directory.rpartition("/")
    return _next_states(segments, _states_in(pattern, above), name)


def _next_states(segments: tuple[Segment, ...], states: tuple[int, ...], name: str) -> tuple[int, ...]:
    following = []
    for state in states:
        matches = segments[state]
        if matches is None:
            following.append(state)
        elif matches(name):
            following.append(state + 1)
    return _with_skipped(segments, following)


def _with_skipped(segments: tuple[Segment, ...], states: Iterable[int]) -> tuple[int, ...]:
    """The states, and those behind a `**` that stands for no directory; without the end."""
    found: dict[int, None] = {}
    for state in states:
        while state < len(segments) and state not in found:
            found[state] = None
            if segments[state] is not None:
                break
            state += 1
    return tuple(found)
