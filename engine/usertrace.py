"""User trace: a traceback as the person who wrote the rules wants to see it, without our frames.

Invariants
    B1  Frames of this package, of the import system and of the command line library are left out.
    B2  What is shown has no control characters but newlines.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.message import EngineError, escaped

_OURS: Final = tuple(
    {
        os.path.join(os.path.realpath(folder), "")
        for package in (Path(__file__).parent,)
        for folder in (package, package / "store", package / "rules")
    }
)

_STDLIB: Final = os.path.join(os.path.realpath(sysconfig.get_path("stdlib")), "")


def is_ours(filename: str) -> bool:
    """Whether a frame of this file is of no interest to who wrote the rules."""
    if filename.startswith("<"):
        return not filename.startswith(("<stdin>", "<string>", "<doctest"))
    place = filename.replace(os.sep, "/")
    return os.path.realpath(filename).startswith(_OURS) or "/click/" in place or "/importlib/" in place


def frames_of_user(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of the traceback that are the user's, outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not is_ours(frame.filename)]


def where(error: BaseException) -> str:
    """`file:line in function` of the innermost frame of the user; empty when there is none."""
    frames = [frame for frame in frames_of_user(error) if not _is_library(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


def _is_library(filename: str) -> bool:
    place = filename.replace(os.sep, "/")
    return "/site-packages/" in place or os.path.realpath(filename).startswith(_STDLIB)


def shown(error: BaseException) -> str:
    """Traceback and message, trimmed to the user's frames; an `EngineError` as it renders itself."""
    if isinstance(error, EngineError):
        return "\n".join([str(error), *(f"  {escaped(note)}" for note in getattr(error, "__notes__", ()))])
    whole = traceback.TracebackException.from_exception(error)
    for part in _parts(whole, set()):
        kept = [frame for frame in part.stack if not is_ours(frame.filename)]
        part.stack = traceback.StackSummary.from_list(kept)
    lines = "".join(whole.format()).splitlines()
    return "\n".join(_clean(line) for line in lines)


def _parts(error: traceback.TracebackException, seen: set[int]) -> Iterator[traceback.TracebackException]:
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            yield from _parts(other, seen)


def _clean(line: str) -> str:
    return escaped(line.replace("\t", "    "))
