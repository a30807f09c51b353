"""Module trouble: what went wrong while a module was loaded, told to who wrote it.

Whatever a module raises is `BadModule`, with the user's frames only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from engine.errors import BadModule
from engine.message import EngineError

# What only trouble needs is imported when there is some: tracebacks and differences cost 5 ms.


def translate(error: BaseException, shown: str) -> NoReturn:
    """Raise what a failed import means to the user. Interrupts pass."""
    from engine.usertrace import where

    at = where(error)
    place = {"at": at} if at else {}  # what a `lazy` import raises has no frame of the user's

    if isinstance(error, SyntaxError) and error.filename:
        raise BadModule(
            module=shown,
            cause=f"{type(error).__name__}: {error.msg}",
            at=f"{error.filename}:{error.lineno}",
            hint="Correct the line." if not error.text else f"The line is: {error.text.strip()[:200]}",
        ) from None
    if isinstance(error, SystemExit):
        raise BadModule(
            module=shown,
            cause=f"it ended the program: SystemExit({error.code!r})",
            **place,
            hint='Put what runs as a script below `if __name__ == "__main__":`.',
        ) from None
    if not isinstance(error, Exception):
        raise error
    cycle = _cycle(error)
    if len(cycle) > 2:
        raise BadModule(
            module=shown,
            cause="rule modules import each other in a circle",
            cycle=" -> ".join(cycle),
            **place,
            hint="Move what both need to a third module, or import inside the function that uses it.",
        ) from None
    if isinstance(error, EngineError):
        error.add_note(f"while {shown} was loaded, at {at}")
        raise error
    if isinstance(error, ModuleNotFoundError) and error.name:
        raise BadModule(
            module=shown,
            cause=f"it imports {error.name}, which is not there",
            **place,
            hint=f"Install {error.name.partition('.')[0]}, correct the import, or add its folder to the "
            "setting `path`.",
        ) from None
    raise BadModule(
        module=shown,
        cause=f"{type(error).__name__}: {error}",
        **({"at": where(error)} if where(error) else {}),
        hint="Correct the module.",
    ) from error


def _cycle(error: BaseException) -> list[str]:
    """Names of the files on a circle: the innermost wants something of one that is not done yet."""
    wanted = getattr(error, "path", None) or getattr(getattr(error, "obj", None), "__file__", None)
    if not isinstance(error, ImportError | AttributeError) or wanted is None:
        return []
    from engine.usertrace import frames_of_user

    files = [frame.filename for frame in frames_of_user(error) if frame.name == "<module>"]
    if wanted not in files:
        return []
    ring = [Path(file).name for file in dict.fromkeys(files[files.index(wanted) :])]
    return [*ring, ring[0]]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of the known names was meant, if one is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1)), None)
