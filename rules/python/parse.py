"""Parse: one Python file as a syntax tree.

Invariants
    P1  Any text has an answer: whatever is wrong with it is a `ParseError` value, never an exception.
    P2  The answer depends on the text and the Python version alone: not on how deep the caller is, on
        the warning filters, or on the thread.
    P3  A broken file keeps what can be read of it: the statement with the error is left out, the rest is
        parsed (`repair.py`). The result says that it is broken.

    P4  No memo holds a tree: it takes 50 times the memory of its text, and an engine may keep the values of
        a whole repository until its next commit. A few recent trees are kept aside for those who read a
        file twice.

P3 is a function of the present text. Keeping the last good facts instead would make the answer depend
on history, and then an incremental result could differ from one computed from scratch.
"""

from __future__ import annotations

import ast
import platform
import re
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from attrs import field, frozen

from engine import Transient, query
from engine.rules.files import FileError
from engine.rules.python.repair import repaired
from engine.rules.python.source import source

SOURCE_LIMIT = 2 * 1024 * 1024  # characters: a tree takes some 100 bytes of memory per character
STACK_BYTES = 256 * 1024 * 1024  # address space, not memory; 10**6 nested terms were measured to fit 512 MB
SAFE_RECURSION = 10_000  # frames that an 8 MB stack holds; above it a RecursionError may be a crash
RECENT_TREES = 16  # more than threads that parse at a time; a tree of 20 KB takes 1 MB
PROBE_BYTES = 64 * 1024 * 1024  # if this can be allocated, a MemoryError was the parser's own limit

FILE_NAME = "<python source>"  # what warnings of the parser are filed under
# Those in force here. From 3.14 on a host can have some for a context alone (`-X context_aware_warnings`).
_filters: Callable[[], Sequence[Any]] = getattr(warnings, "_get_filters", lambda: warnings.filters)
_muted = re.compile(re.escape(FILE_NAME) + r"\Z").pattern
# Until Python 3.13 threads that parse share the count of how deep they are (gh-106905), and failed by that
# where the collector let another in. No time is lost, as a parse keeps the interpreter to itself. Its own
# thread may take the lock again, because what the collector finds may parse too.
# See test_threads_that_parse_while_the_collector_runs_get_trees.
_parser = threading.RLock()
_stack_size = threading.Lock()
_warning_filters = threading.Lock()


@frozen
class ParseError:
    """What is wrong with a file. `line` and `column` count from 1; 0 says: the file as a whole.

    `kind` is "syntax", "encoding", "nested" (too deep or complex for the parser), "size" (over
    `SOURCE_LIMIT`), or the kind of the `FileError` for files that cannot be read at all.
    """

    kind: str
    message: str
    line: int = 0
    column: int = 0


@frozen
class Parsed:
    """A text that parses, and what was wrong with the file if that had to be left out of it."""

    text: str = field(repr=False)
    error: ParseError | None = None

    @property
    def tree(self) -> ast.Module:
        """The syntax tree. Readers must not change it: others may have the same one."""
        return _recent_tree(self.text)


@query(persist=False, version=platform.python_version())
def parse(path: str) -> Parsed:
    """The syntax tree of a Python file. Never fails: see `Parsed.error`.

    Costs about 0.2 ms per kilobyte. Read `facts` or `spans` instead where they suffice: they are stored,
    and stay equal where this does not.
    """
    try:
        text = source(path)
    except FileError as error:
        return _broken(error.kind, f"the file cannot be read: {error.kind}")
    except SyntaxError as error:
        return _broken("encoding", error.msg)
    return parse_text(text)


@query
def parse_error(path: str) -> ParseError | None:
    """What is wrong with a Python file, with its position, or None."""
    return parse(path).error


def parse_text(text: str) -> Parsed:
    """The same for a text."""
    if len(text) > SOURCE_LIMIT:
        return _broken("size", f"{len(text):,} characters, where {SOURCE_LIMIT:,} are the limit")
    if "\0" in text:
        return _broken("syntax", "source contains a NUL character", text.count("\n", 0, text.index("\0")) + 1)
    try:
        _recent_tree(text)
    except SyntaxError as error:
        return Parsed(repaired(text, error, _recent_tree), _syntax(error))
    except UnicodeEncodeError as error:  # from an editor's buffer; no file decodes to that
        return _broken("encoding", error.reason, text.count("\n", 0, error.start) + 1)
    except RecursionError:
        return _broken("nested", "too deeply nested for the parser")
    except MemoryError:
        bytearray(PROBE_BYTES)  # raises again when memory is really short: that is not the file's fault
        return _broken("nested", "too complex for the parser")
    return Parsed(text)


def _broken(kind: str, message: str, line: int = 0) -> Parsed:
    return Parsed("", ParseError(kind, message, line))


def _syntax(error: SyntaxError) -> ParseError:
    return ParseError("syntax", error.msg, error.lineno or 0, error.offset or 0)


# -- one parse -------------------------------------------------------------------------------------


@lru_cache(maxsize=RECENT_TREES)
def _recent_tree(text: str) -> ast.Module:
    if sys.getrecursionlimit() > SAFE_RECURSION:
        return _on_big_stack(lambda: _parse(text))
    try:
        return _parse(text)
    except (RecursionError, MemoryError):
        # The caller may have used up the recursion that this needs, so the answer would depend on who
        # asks first (P2). See test_depth_of_the_caller_does_not_matter.
        return _on_big_stack(lambda: _parse(text))


def _parse(text: str) -> ast.Module:
    _mute()
    try:
        with _parser:
            return ast.parse(text, FILE_NAME)
    except SyntaxError as error:
        if all(action != "error" for action, *_ in _filters()):
            raise error
        # Where the host turns warnings into errors, and has put its filter before ours just now, the
        # parser's warning about "\d" arrives as a SyntaxError, though the file is fine (P2).
        with _warning_filters, warnings.catch_warnings(), _parser:
            warnings.simplefilter("ignore")
            return ast.parse(text, FILE_NAME)


def _mute() -> None:
    """Keep the parser's warnings about the sources off the screen of the host.

    `warnings.catch_warnings` would be the usual way, but it is not safe with threads. A filter that
    matches our file name alone is; it is put in front again when somebody has reset the filters.
    """
    first = next(iter(_filters()), None)
    if first is None or first[0] != "ignore" or getattr(first[3], "pattern", first[3]) != _muted:
        warnings.filterwarnings("ignore", module=_muted)


def _on_big_stack(work: Callable[[], ast.Module]) -> ast.Module:
    """Run `work` on a thread of its own, with the whole recursion limit and a big stack before it."""
    done: list[ast.Module] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # handed to the caller below
            failed.append(error)

    thread = threading.Thread(target=run, name="engine-parse", daemon=True)
    with _stack_size:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        except RuntimeError as error:
            raise Transient(f"no thread for parsing: {error}") from error
        finally:
            threading.stack_size(before)
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
