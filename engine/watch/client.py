"""Client: asks the watch that holds a store. Finds out quickly that there is none, and never waits for ever.

Invariants
    K1  What `ask` returns is whole: nothing of an answer is handed out before its end arrived (wire W1).
    K2  A lost connection is tried again: the watch may be replacing itself, and its socket stays open.
    K3  Silence, refusal, and a watch that goes are `NotServed`: the caller does the work itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import socket
from typing import Any, Final, NamedTuple

from engine.watch import wire
from engine.watch.unix_socket import connect
from engine.watch.wire import Lines, Malformed, Message

SILENCE_SECONDS: Final = 30.0  # a watch that works is heard twice a second; one that replaces itself is not
WORD_SECONDS: Final = 3.0  # of silence, after which people are told what is waited for
RETRY_SECONDS: Final = 20.0  # for new rule code to be taken over: starting Python, on a busy machine too
STEP_SECONDS: Final = 0.05  # between two attempts
LOSSES: Final = 5  # connections lost in one request, before it is taken for the request's fault
ELSEWHERE: Final = "A watch of another root holds the store: stop it, or name another store."


class Reply(NamedTuple):
    """A whole answer: the text of it, and its last message."""

    out: str
    last: Message


class NotServed(Exception):
    """The watch does not answer this.

    reason      what people should know; empty where there simply is no watch
    hint        what they can do, if they need the watch's store
    leaving     whether it was there a moment ago, so that its store may be free soon
    """

    def __init__(self, reason: str = "", hint: str = "", *, leaving: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.leaving = leaving


def ask(
    store: str | os.PathLike[str],
    request: Mapping[str, Any],
    *,
    silence: float | None = None,
    progress: Callable[[Message], None] | None = None,
    waiting: Callable[[], None] | None = None,
) -> Reply:
    """The answer of the watch of this store; its last message has "ok" or "error". Raises `NotServed`.

    silence     seconds without a word that mean that nobody is there; default SILENCE_SECONDS
    progress    called with the counts so far, about twice a second
    waiting     called where it says nothing for some seconds, and is waited for all the same
    """
    path = wire.socket_path(store)
    line = wire.encoded({**wire.identity(), **request})
    silence = SILENCE_SECONDS if silence is None else silence
    until: float | None = None
    lost = 0
    while True:
        try:
            reply = _once(path, line, silence, progress, waiting)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotServed(leaving=lost > 0 or until is not None) from None
        except PermissionError:
            raise NotServed("its socket belongs to another user") from None
        except TimeoutError:
            raise NotServed(
                "it does not answer", "The watch that holds it does not answer: stop it."
            ) from None
        except Malformed as error:
            raise _of_another_version(f"its answer cannot be read: {error}") from None
        except OSError as error:
            lost += 1
            if lost >= LOSSES:
                raise NotServed(f"the connection was lost: {error.strerror or error}") from None
            time.sleep(STEP_SECONDS)
            continue
        if "refused" in reply.last:
            if reply.last.get("because") == "place":
                raise NotServed(f"it works elsewhere ({reply.last['refused']})", ELSEWHERE)
            raise _of_another_version(str(reply.last["refused"]))
        if "retry" not in reply.last:
            return reply
        until = until or time.monotonic() + RETRY_SECONDS
        if time.monotonic() > until:
            hint = "The watch that holds it is busy taking over new rules: try again."
            raise NotServed(str(reply.last["retry"]), hint, leaving=True)
        time.sleep(STEP_SECONDS)


def sync(store: str | os.PathLike[str], *, crawl: bool = False) -> int:
    """Return when the watch sees everything saved before this call; how many inputs differed."""
    reply = ask(store, {"do": "sync", "crawl": crawl})
    if "ok" not in reply.last:
        raise NotServed(str(reply.last["error"]["text"]))
    return int(reply.last["ok"]["differing"])


def _of_another_version(difference: str) -> NotServed:
    hint = "A watch of another version holds the store: stop it."
    return NotServed(f"it is of another version ({difference})", hint)


def _once(
    path: str,
    line: bytes,
    silence: float,
    progress: Callable[[Message], None] | None,
    waiting: Callable[[], None] | None,
) -> Reply:
    """One connection. OSError: no watch, silence, or a connection that was lost."""
    with connect(path, silence) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)  # refused before it was read to its end? The reason may have arrived
        arriving = Lines(connection, wire.MAX_ANSWER)
        out: list[str] = []
        while (message := _heard(arriving, connection, silence, waiting)) is not None:
            if message.keys() & {"ok", "error", "retry", "refused"}:
                return Reply("".join(out), message)
            if isinstance(message.get("out"), str):
                out.append(message["out"])
            elif progress is not None and message.get("progress"):
                progress(message["progress"])
    raise ConnectionResetError("it ended without an answer")


def _heard(
    arriving: Lines, connection: socket, silence: float, waiting: Callable[[], None] | None
) -> Message | None:
    """The next message of an answer. TimeoutError: silence."""
    if waiting is None or silence <= WORD_SECONDS:
        return arriving.next()
    connection.settimeout(WORD_SECONDS)
    try:
        return arriving.next()
    except TimeoutError:
        waiting()
    connection.settimeout(silence - WORD_SECONDS)
    return arriving.next()
