"""Report: from whatever ended a command to a message and an exit code. No other place decides these.

Invariants
    R1  A mistake of the user is told without a traceback; an exception of their query with their frames.
    R2  Only what cannot be anybody else's fault is called a bug of the engine, and shown whole.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

import click

from engine.cli.output import ReaderGone, tell, unwritten
from engine.errors import BadArguments
from engine.explain import WHILE
from engine.message import (
    EXIT_BAD_REQUEST,
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_QUERY_FAILED,
    EngineError,
    escaped,
)
from engine.raising import notes_of, set_notes
from engine.signals import Interrupted
from engine.usertrace import frames_of_user, shown, where

_CORE: Final = os.path.join(os.path.realpath(Path(__file__).parent.parent), "")
_PASSES_ON: Final = ("answer.py", "snapshot.py")  # where memoized errors are raised again
REMEMBERED: Final = (
    'That is remembered: nothing that it read has changed since. To run it again: engine forget "{}"'
)
RAISED: Final = "raised at "
BUG: Final = "this is a bug in the engine: please report it with the lines above"


class QueryFailed(Exception):
    """A query raised something that is not an `EngineError`."""

    def __init__(self, error: BaseException, key: str) -> None:
        super().__init__(key)
        self.error = error
        self.key = key


def report(error: BaseException) -> int:
    """Tell what happened on standard error; returns the exit code."""
    match error:
        case Interrupted():
            tell(f"interrupted: {error.message}")
            return error.exit_code
        case click.exceptions.Exit():
            return error.exit_code
        case ReaderGone():
            return EXIT_OK
        case click.ClickException():
            return _report_usage(error)
        case EngineError():
            tell(shown(error))
            return exit_code_of(error)
        case QueryFailed():
            tell(f"{error.key} failed")
            tell(shown(error.error))
            if not frames_of_user(error.error):
                tell(REMEMBERED.format(origin(error.error) or error.key))
            return EXIT_QUERY_FAILED
        case KeyboardInterrupt() | click.Abort():
            tell("interrupted")
            return EXIT_INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else EXIT_OK
        case OSError() if traceback.extract_tb(error.__traceback__)[-1].name == "echo":  # click prints
            return report(unwritten(error))
    tell("".join(traceback.format_exception(error)).rstrip())
    tell(BUG)
    return EXIT_BUG


def exit_code_of(error: EngineError) -> int:
    """The exit code of an error of ours, whoever answers the command."""
    in_a_query = isinstance(error, BadArguments) and origin(error)  # not in what was asked for
    return EXIT_QUERY_FAILED if in_a_query else error.exit_code


def origin(error: BaseException) -> str:
    """The key that failed first, from the engine's note of the keys that led to it."""
    for note in notes_of(error):
        if note.startswith(WHILE):
            return str(note.rpartition(" -> ")[2]).removeprefix(WHILE)
    return ""


def of_query(error: BaseException, key: str) -> BaseException:
    """What to report for an error that came out of `Engine.get`."""
    if isinstance(error, EngineError):
        place = where(error)
        if place:  # instead of what was said before: a failure that is kept is raised many times
            notes = [note for note in notes_of(error) if not note.startswith(RAISED)]
            set_notes(error, [*notes, f"{RAISED}{place}"])
        return error
    if _is_bug(error):
        return error
    return QueryFailed(error, key)


def _is_bug(error: BaseException) -> bool:
    """Raised by our own core, with no code of the user in between."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames_of_user(error):
        return False
    innermost = os.path.realpath(frames[-1].filename)
    return innermost.startswith(_CORE) and os.path.basename(innermost) not in _PASSES_ON


def _report_usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    is_help = isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ()))  # since click 8.2
    if context is not None and not is_help:
        tell(context.get_usage())
    message = error.format_message().replace("\t", "  ")  # before each choice of an argument
    tell("\n".join(escaped(line) for line in message.split("\n")))
    if not isinstance(error, click.NoSuchOption):
        if context is not None and not is_help:
            tell(f"See {context.command_path} --help.")
    elif context is not None and isinstance(context.command, click.Group):
        place = "engine run" if context.parent is None else f"{context.command_path} COMMAND"
        tell(f"Options come after the command, as in: {place} {error.option_name} ...")
    else:
        tell("An argument that starts with a dash goes after --.")
    return EXIT_BAD_REQUEST
