"""Wire: what goes over the socket of a watch. One request and its answer to a connection, as lines of JSON.

    request     {"version": 2, "engine": ..., "python": ..., "prefix": ..., "do": "run", ...}
    between     {"out": text}, a piece of the answer; {"progress": counts}, which also says: still at it
    the end     {"ok": {...}}, {"error": {"text", "exit_code", "early"}}, {"retry": reason} or
                {"refused": reason, "because": "version" or "place"}

Invariants
    W1  An answer without its last line is no answer. Every request may be repeated.
    W2  Lines are bounded, ASCII, and hold one object. Whatever else arrives is `Malformed`.
    W3  Two sides that are not of the same version do not talk.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from engine import __version__

VERSION: Final = 2  # raised when a message changes its meaning
SOCKET: Final = "watch.sock"  # its name in the store's directory
MAX_REQUEST: Final = 16 << 20  # bytes of one line: arguments of a query, written by hand or by a script
MAX_ANSWER: Final = 256 << 20  # bytes of one line: the keys that read a key, as one list
PIECE: Final = 1 << 17  # characters of the answer in one line: some milliseconds of work on both sides
_CHUNK: Final = 1 << 16  # bytes read at once

Message = dict[str, Any]
Form = TypeVar("Form")


class Malformed(ValueError):
    """What came over the socket is not a message."""


def socket_path(store: str | os.PathLike[str]) -> str:
    """Where a watch of the store in this directory listens."""
    return os.path.join(store, SOCKET)


def identity() -> Message:
    """Who we are: what both sides must have in common, because the answer depends on it (W3)."""
    return {
        "version": VERSION,
        "engine": __version__,
        "python": sys.implementation.cache_tag,
        "prefix": os.path.realpath(sys.prefix),
    }


def difference(other: Mapping[str, Any]) -> str:
    """How another side differs from us, in words; empty where it does not."""
    for name, ours in identity().items():
        theirs = other.get(name)
        if theirs != ours:
            what = {"version": "protocol", "prefix": "environment"}.get(name, name)
            return f"{what} {theirs}, not {ours}"
    return ""


def encoded(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def converted(message: Message, form: type[Form]) -> Form:
    """What a message asks for, as an object of a class. Raises `Malformed`."""
    import msgspec  # late: clients begin without it

    try:
        return msgspec.convert(message, form)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter amid telling of such a text
        raise Malformed(str(error)) from None


def names_files(_: object, attribute: object, value: Any) -> None:
    """A validator of attrs, for a text or several: ValueError for what can be the name of no file."""
    for text in (value,) if isinstance(value, str) else value:
        if b"\0" in os.fsencode(text):
            raise ValueError("a name with a NUL")


def pieces(lines: Iterator[str]) -> Iterator[Message]:
    """The text of an answer in messages of a bearable size; each line of it ends with a newline."""
    waiting: list[str] = []
    size = 0
    for line in lines:
        for start in range(0, len(line) + 1, PIECE):  # a document of JSON is one line
            waiting.append(line[start : start + PIECE])
            size += PIECE if start + PIECE <= len(line) else len(line) - start + 1
            if start + PIECE > len(line):
                waiting.append("\n")
            if size >= PIECE:
                yield {"out": "".join(waiting)}
                waiting, size = [], 0
    if waiting:
        yield {"out": "".join(waiting)}


class Lines:
    """The messages that arrive on a socket, one by one."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._buffer = bytearray()

    def next(self, seconds: float | None = None) -> Message | None:
        """The next message; None if the other side has ended before its first byte.

        seconds     for the whole line; without it, what the socket's own timeout grants to each part
        Raises `Malformed`, or OSError: TimeoutError, ConnectionResetError for a line without an end.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > self._limit:
                raise Malformed(f"a line is longer than {self._limit} bytes")
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the line took too long")
                self._connection.settimeout(left)
            chunk = self._connection.recv(_CHUNK)
            if not chunk:
                if self._buffer:
                    raise ConnectionResetError("it ended within a line")
                return None
            self._buffer += chunk
        if end > self._limit:
            raise Malformed(f"a line is longer than {self._limit} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _decoded(line)


def _decoded(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise Malformed(f"it is not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise Malformed("it is not an object")
    return message
