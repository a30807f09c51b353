"""Printing: the values of watched keys on standard output, each time that they are others.

Invariants
    V1  A value is printed when it differs from the one that was printed of this key last, or when the key
        failed in between. What came and went while we were printing is not.
    V2  It happens in a thread of its own, so a reader that does not read holds up nothing.
    V3  A reader that goes away ends the watch.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.errors import Closed
from engine.message import EngineError

if TYPE_CHECKING:
    from engine import Engine, Key
    from engine.watch.subscribers import Mailbox

LOOK_SECONDS: Final = 1.0  # between two looks whether an idle reader is still there
CLOSE_SECONDS: Final = 0.5  # for what is being printed


class Printer:
    """Prints the values of `keys`. Make it before standard output is kept for answers.

    printed     see `Handed.printed`
    end         called once when nobody reads any more
    """

    def __init__(self, keys: Sequence[Key[Any]], printed: Sequence[str], end: Callable[[], None]) -> None:
        self._keys = {str(key): key for key in keys}
        self._printed = dict(zip(self._keys, printed, strict=False))
        self._end = end
        self._answers = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
        self._thread: threading.Thread | None = None
        self._mailbox: Mailbox | None = None
        self.error: EngineError | None = None  # why nothing can be printed

    @property
    def printed(self) -> list[str]:
        """For who goes on."""
        return [self._printed.get(name, "") for name in self._keys]

    def follow(self, db: Engine, mailbox: Mailbox) -> None:
        """Print from now on. Once."""
        self._mailbox = mailbox
        self._thread = threading.Thread(target=self._run, args=(db, mailbox), daemon=True)
        self._thread.name = "engine-watch-print"
        self._thread.start()

    def close(self) -> None:
        """Print no more."""
        if self._mailbox is not None:
            self._mailbox.finish()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self, db: Engine, mailbox: Mailbox) -> None:
        from engine.cli.output import ReaderGone

        poll = select.poll()
        poll.register(self._answers, 0)
        try:
            while True:
                try:
                    event = mailbox.get(LOOK_SECONDS)
                except TimeoutError:
                    if poll.poll(0):
                        raise ReaderGone from None
                    continue
                if event is None:
                    return
                self._print(db, event)
        except (Closed, KeyboardInterrupt):
            return  # the engine ends
        except ReaderGone:
            self._end()
        except EngineError as error:
            self.error = error
            self._end()

    def _print(self, db: Engine, event: Any) -> None:
        from engine.watch.events import Revised, Skipped, Started

        match event:
            case Revised():
                names = {one.key for one in event.changed}
            case Started() | Skipped():
                names = set(self._keys)
            case _:
                return
        failing = {one.key for one in getattr(event, "failures", ())}
        for name in self._keys:
            if name in failing:
                self._printed[name] = ""
            elif name in names or not self._printed.get(name):
                self._print_one(db, name)

    def _print_one(self, db: Engine, name: str) -> None:
        from blake3 import blake3

        from engine.cli.arguments import key_to_show
        from engine.cli.output import shown, write

        try:
            lines = list(shown(db.get(key_to_show(self._keys[name]))))
        except Closed:
            raise
        except Exception:  # it fails by now: told with the next event
            self._printed[name] = ""
            return
        digest = blake3("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest(16)
        if digest != self._printed.get(name):
            write(lines, self._answers)
            self._printed[name] = digest
