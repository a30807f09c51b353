"""Output: values and records for people and as JSON, on standard output; everything else goes to stderr.

Invariants
    W1  Standard output holds the answer and nothing else; what queries print goes to stderr.
    W2  No control character reaches a terminal, whatever a file is called or a value says.
    W3  JSON is one document, keys sorted, ASCII: the same bytes for the same answer.
    W4  A reader that goes away (`| head -1`) ends the command quietly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TextIO

import attrs

from engine.errors import CannotAnswer, NoJson
from engine.key import short
from engine.key import shown as text_of
from engine.message import escaped

if TYPE_CHECKING:
    from engine.key import Key

SCHEMA: Final = 1  # of every JSON document; raised when a field changes its meaning or goes
MAX_LINE: Final = 100_000  # characters of one line for people; JSON is never cut
MAX_DEPTH: Final = 100  # levels for people: as many as a store keeps. What contains itself has no end
LONG: Final = 10**4300  # integers from here on are refused by Python's own reader of JSON, and others
_SCALARS: Final = (str, bytes, int, float, complex, bool, type(None), enum.Enum, PurePath)


class ReaderGone(Exception):
    """Whoever read our standard output has gone."""


def write(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Lines to standard output, or where it was before queries ran."""
    out = sys.stdout if stream is None else stream
    try:
        for line in lines:
            try:
                out.write(line + "\n")
            except UnicodeEncodeError:  # LANG=C: the terminal has no such characters
                out.write(line.encode("ascii", "backslashreplace").decode() + "\n")
        out.flush()
    except OSError as error:
        if stream is not None:
            _drop(stream)
        raise unwritten(error) from None


def unwritten(error: OSError) -> Exception:
    """What it means to the command that standard output could not be written."""
    return ReaderGone() if isinstance(error, BrokenPipeError) else CannotAnswer(reason=error.strerror)


def _drop(stream: TextIO) -> None:
    """Let what it still has go nowhere: Python >= 3.13 would tell at its end that it could not be written."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def tell(text: str) -> None:
    """A line, or an error of several, to standard error. Never raises: there is nobody to tell."""
    with contextlib.suppress(OSError, ValueError):
        try:
            sys.stderr.write(text + "\n")
        except UnicodeEncodeError:
            sys.stderr.write(text.encode("ascii", "backslashreplace").decode() + "\n")
        sys.stderr.flush()


def write_json(document: Mapping[str, Any]) -> None:
    """One JSON document, with its schema number; indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    write([json_text(document, indent)])


def json_text(document: Mapping[str, Any], indent: int | None) -> str:
    """The same as text; what queries gave is `plain` in it."""
    import json

    return json.dumps({"schema": SCHEMA, **document}, sort_keys=True, indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as JSON can say it: records as objects, sets sorted, bytes as base64, enums by value."""
    import msgspec

    try:
        return _readable(msgspec.to_builtins(value, order="sorted", str_keys=True, enc_hook=_plain_other))
    except (TypeError, ValueError, RecursionError) as error:
        raise NoJson(type=type(value).__name__, cause=error) from None


def _readable(value: Any) -> Any:
    """JSON has no NaN and no infinity, and readers refuse very long integers: they are written as text."""
    match value:
        case dict():
            return {key: _readable(part) for key, part in value.items()}
        case list() | tuple():
            return [_readable(part) for part in value]
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case int() if abs(value) >= LONG:
            return text_of(value)
    return value


def plain_answer(key: Key[Any], value: Any) -> Any:
    """The same for the value of a key: the rows of a table are objects, of whatever class they are."""
    collection = key.query.collection
    if collection is None or collection.row is None or not hasattr(collection.columns.row, "_fields"):
        return plain(value)
    names = collection.columns.names
    if isinstance(value, collection.columns.row):
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [plain_answer(key, one) for one in value]
    return plain(value)


def _plain_other(value: Any) -> Any:
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not supported")


# -- for people --------------------------------------------------------------------------------


def shown(value: Any) -> Iterator[str]:
    """A value as lines: a text as it is, members of a collection one by one, records as a tree."""
    if isinstance(value, str):
        yield from (_line(line) for line in value.split("\n")) if value else ()
    elif not isinstance(value, _SCALARS) and _members(value) is not None:
        yield from _tree(value, "")
    else:
        yield _line(_scalar(value))


def _tree(value: Any, indent: str) -> Iterator[str]:
    if len(indent) > 2 * MAX_DEPTH:
        yield f"{indent}…"
        return
    for name, member in _members(value) or ():
        prefix = f"{indent}{name}: " if name else indent
        inside = None if isinstance(member, _SCALARS) else _members(member)
        if inside is None or not inside:
            yield _line(f"{prefix}{_scalar(member) if inside is None else '(none)'}")
        elif not name and all(isinstance(one, _SCALARS) for _, one in inside):
            yield _line(prefix + _on_one_line(member, inside))
        else:
            yield _line(f"{indent}{name or _title(member)}:")
            yield from _tree(member, indent + "  ")


def _members(value: Any) -> list[tuple[str, Any]] | None:
    """Name and value of each member; None for what has none."""
    kind: Any = type(value)
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    if attrs.has(kind):
        names = tuple(field.name for field in attrs.fields(kind))
    elif dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
    elif issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
    if names is not None:
        return [(name, getattr(value, name)) for name in names]
    if isinstance(value, Mapping):
        return [(_scalar(key), one) for key, one in value.items()]
    if isinstance(value, AbstractSet):
        return [("", one) for one in sorted(value, key=lambda one: (type(one).__name__, short(one)))]
    return [("", one) for one in value] if isinstance(value, tuple | list) else None


def _on_one_line(value: Any, members: list[tuple[str, Any]]) -> str:
    if members[0][0]:
        return f"{_title(value)}({', '.join(f'{name}={text_of(one)}' for name, one in members)})"
    return "  ".join(_scalar(one) for _, one in members)


def _title(value: Any) -> str:
    return type(value).__name__


def _scalar(value: Any) -> str:
    if isinstance(value, str | PurePath):
        return str(value)
    name = value.name if isinstance(value, enum.Enum) else None  # a flag that is not set has none
    return text_of(value) if name is None else name


def _line(text: str) -> str:
    return escaped(text.replace("\t", "    "), limit=MAX_LINE)


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def table(rows: Iterable[tuple[object, ...]], indent: str = "") -> Iterator[str]:
    """Rows in aligned columns."""
    texts = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)] if texts else []
    for row in texts:
        yield (
            indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        ).rstrip()


# -- what queries print ------------------------------------------------------------------------


@contextlib.contextmanager
def answer_only() -> Iterator[None]:
    """Send what runs inside prints to standard error, also what child processes print (W1)."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            sys.__stdout__.flush() if sys.__stdout__ else None
            kept = os.dup(1)
        except (OSError, ValueError):
            yield
            return
        try:
            os.dup2(2, 1)
            yield
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os.dup2(kept, 1)
            os.close(kept)
