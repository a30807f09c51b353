"""Waiting: what a running watch does while it cannot go on: its rules cannot be loaded, its store is taken.

Invariants
    N1  Whatever may have made them fail is looked at: files that were loaded or are missing, settings.
    N2  The store is free meanwhile. Who asks over the socket is told at once, and goes to work alone.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.settings import FILE, PYPROJECT
from engine.watch.rule_code import RuleCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from engine import Engine
    from engine.cli.takeover import Handed
    from engine.code.moment import Moment
    from engine.settings import Settings
    from engine.watch.server import Served

LOOK_SECONDS: Final = 0.25  # between two looks: some hundred files take a millisecond
STORE_SECONDS: Final = 2.0  # that a store in use is waited for without a word
STEP_SECONDS: Final = 0.05  # between two attempts at it


class Cure:
    """Notices that what could not be loaded may be loaded now.

    files, directories      which of them may have to change, or to appear
    since       when loading began
    """

    def __init__(
        self, error: BaseException, files: Iterable[str], directories: Iterable[str], since: Moment
    ) -> None:
        frames = [
            frame.filename for part in _chain(error) for frame in traceback.extract_tb(part.__traceback__)
        ]
        places = dict.fromkeys(map(os.path.abspath, (*files, *(name for name in frames if name[:1] != "<"))))
        self._rules = RuleCode(places, since)
        # A directory may be missing, too. Its content counts only where a file in it is looked for.
        wanted = dict.fromkeys((*directories, *map(os.path.dirname, places)))
        self._directories = {path: os.path.isdir(path) for path in wanted}

    def found(self) -> bool:
        """Whether anything changed."""
        if self._rules.changed():
            return True
        return any(os.path.isdir(path) != was for path, was in self._directories.items())

    def wait(self, ended: Callable[[], bool]) -> None:
        """Return when something changed, or the watch `ended`."""
        while not ended() and not self.found():
            time.sleep(LOOK_SECONDS)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def settings_files(directory: str, settings: Settings | None) -> list[str]:
    """The files that settings may come from, also those that do not exist."""
    found = []
    for place in (Path(directory), *Path(directory).parents):
        here = [place / PYPROJECT, place / FILE]
        found += [os.fspath(path) for path in here]
        if settings is not None and any(path in settings.files for path in here):
            break
    return found


def module_files(texts: Iterable[str]) -> Iterator[str]:
    """The files of keys and modules that are named by file."""
    for text in texts:
        name = text.partition("(")[0]
        for path in (name, name.rpartition(":")[0]):
            if path.endswith(".py") or os.path.isfile(path):
                yield os.path.expanduser(path)


# -- for those who ask ---------------------------------------------------------------------------


class Absent:
    """`Served` of a watch that cannot answer."""

    def __init__(self, reason: str, since: float) -> None:
        from engine import Engine

        self._reason = reason
        self._since = since
        self.db: Engine = Engine(None, root=os.sep)

    def sync(self, *, crawl: bool = False) -> int:
        """Nothing is watched, so nothing is found to differ."""
        return 0

    def status(self) -> dict[str, Any]:
        """That it waits, and for what."""
        return {
            "pid": os.getpid(),
            "since": round(self._since, 3),
            "state": "waiting for rules that can be loaded",
            "reason": self._reason,
        }

    def stale_rules(self) -> tuple[str, ...]:
        """Nothing runs, so nothing is stale."""
        return ()


def answer(request: dict[str, Any], served: Served) -> Generator[dict[str, Any], None, None]:
    """What is said while the watch waits."""
    status = served.status()
    if request.get("do") == "status":
        yield {"ok": status}
    else:
        yield {"error": {"text": f"it waits: {status['reason']}", "exit_code": 75, "early": True}}


def wait(cure: Cure, reason: str, handed: Handed, ended: Callable[[], bool]) -> None:
    """Wait for a cure, and tell those who ask for what `reason`. Where the watch `ended`, the socket goes."""
    from engine.watch.server import Server
    from engine.watch.unix_socket import withdraw

    server = None
    if handed.listener is not None:
        server = Server(handed.listener.dup(), Absent(reason, handed.since), answer)
    cure.wait(ended)
    if server is not None:
        server.close()
    if handed.listener is not None and ended():
        with suppress(OSError):  # as in `Serving.close`
            withdraw(handed.listener, handed.place)


# -- for a store ---------------------------------------------------------------------------------


def open_engine(settings: Settings, *, in_memory: bool, patient: bool) -> tuple[Engine, ExitStack]:
    """The engine, and what closes it. `patient` is who goes on: it waits for who took the store meanwhile."""
    from contextlib import ExitStack

    from engine.cli.output import tell
    from engine.cli.report import report
    from engine.cli.session import tell_notes, writing
    from engine.errors import StoreInUse

    hint = "If that is a watch, `engine run` and `engine status` ask it. Stop it, or name another store."
    told_at = time.monotonic() + STORE_SECONDS
    told = False
    while True:
        stack = ExitStack()
        try:
            db = stack.enter_context(writing(settings, in_memory=in_memory, hint=hint))
        except StoreInUse as error:
            if not patient:
                raise
            if not told and time.monotonic() > told_at:
                told = True
                report(error)
                tell("the watch waits for it")
            time.sleep(STEP_SECONDS)
            continue
        tell_notes(db)
        return db, stack
