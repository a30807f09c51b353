"""`engine` and `python -m engine`: the way in. Here because it has to be fast, and to fail well.

Invariants
    A1  `engine --version` imports neither click nor anything of the store.
    A2  Nobody sees a traceback for a mistake of theirs, for a signal, or for a reader that went away.
    A3  `python -m engine` imports nothing from the working directory, just like the script.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import NoReturn

from engine import __version__, collector


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    arguments = sys.argv[1:]
    _keep_standard_descriptors()
    if arguments in (["--version"], ["-V"]):
        _end(_print_version())
    from engine.signals import end_at_once

    end_at_once()
    collector.relax()  # the process is ours
    if "_ENGINE_COMPLETE" in os.environ:
        from engine.cli.completing import complete

        complete()
    _end(answer(arguments))


def answer(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    from engine.cli import invoke

    try:
        invoke(arguments)
    except BaseException as error:  # told on one line, with an exit code of its kind
        from engine.cli.report import report  # 40 ms: only what fails pays for it

        return report(error)
    return 0


def _keep_standard_descriptors() -> None:
    """Point closed ones at nothing: else the store would get number 1 or 2, and what is printed with it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 -- open until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 -- as above


def _print_version() -> int:
    try:
        print(f"engine {__version__}", flush=True)
    except OSError as error:
        from engine.cli.output import unwritten
        from engine.cli.report import report  # as above

        return report(unwritten(error))
    return 0


def _end(code: int) -> NoReturn:
    """Exit, quietly if the streams are gone, and without waiting for interrupted queries."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os._exit(code)
    if code > 128:
        os._exit(code)
    gc.freeze()  # Python looks for garbage several times as it ends: a sixth of a command that ran nothing
    sys.exit(code)


if __name__ == "__main__":
    with contextlib.suppress(FileNotFoundError):  # the working directory is gone
        if sys.path and not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
            del sys.path[0]  # put there by -m (A3)
    main()
