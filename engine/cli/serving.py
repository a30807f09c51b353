"""Serving: the socket on which a running watch answers other commands; from the store's directory, 0600.

Invariants
    S1  The socket is there exactly while a watch holds the store; a watch that goes on in a fresh interpreter
        keeps it, and who connects meanwhile waits. Where its file is removed it is made again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engine.cli.answers import answer
from engine.cli.output import tell
from engine.watch.server import Server
from engine.watch.unix_socket import listen, withdraw
from engine.watch.wire import socket_path

if TYPE_CHECKING:
    import socket

    from engine import Engine
    from engine.cli.takeover import Handed
    from engine.settings import Settings
    from engine.watch.rule_code import RuleCode
    from engine.watch.session import Watch


class Serving:
    """A watch as its server sees it (`engine.watch.server.Served`), and the server."""

    def __init__(
        self,
        db: Engine,
        watch: Watch,
        rules: RuleCode,
        settings: Settings,
        environment: dict[str, str],
        handed: Handed,
    ) -> None:
        self.db = db
        self.environment = environment  # in which the watch was started, see `answers`
        self._watch = watch
        self._rules = rules
        self._since = handed.since
        self._path = socket_path(settings.store)
        self._server: Server | None = None
        try:
            self._serve(_listener(handed, self._path))
        except OSError as error:
            tell(f"note: other commands cannot ask this watch: {error.strerror or error} ({self._path})")
            return
        handed.place = self._path

    def _serve(self, listener: socket.socket) -> None:
        self._listener = listener
        self._server = Server(listener, self, answer)

    def look(self) -> None:
        """Listen anew where the file of the socket is gone, as with the whole directory of the store.

        As long as that is not there, nobody looks for a socket in it: it is tried at the next look.
        """
        if self._server is None or os.path.lexists(self._path):
            return
        with suppress(OSError):
            listener = listen(self._path)
            self._server.close()
            self._serve(listener)

    def sync(self, *, crawl: bool = False) -> int:
        """See `Served.sync`."""
        return self._watch.sync(crawl=crawl)

    def status(self) -> dict[str, Any]:
        """See `Served.status`."""
        return {
            "pid": os.getpid(),
            "since": round(self._since, 3),
            "watched": [str(key) for key in self._watch.watched],
            "failures": {str(key): text for key, text in self._watch.failing.items()},
            **self._watch.progress().as_dict(),
        }

    def stale_rules(self) -> tuple[str, ...]:
        """See `Served.stale_rules`."""
        return self._rules.changed()

    def hand_over(self) -> socket.socket | None:
        """The listening socket, for who comes after us."""
        return None if self._server is None else self._listener.dup()

    def close(self, *, keep: bool) -> None:
        """Serve no more. With `keep`, the socket goes on listening for who comes after us."""
        if self._server is None:
            return
        self._server.pause()
        if not keep:
            with suppress(OSError):  # where its file stays nobody listens, which is as if it were not there
                withdraw(self._listener, self._path)
        self._server.close()


def _listener(handed: Handed, path: str) -> socket.socket:
    """The one that was handed over, or a new one if that one is of another store, or its file was removed."""
    listener, handed.listener = handed.listener, None
    if listener is not None:
        if handed.place == path and os.path.exists(path):
            return listener
        withdraw(listener, handed.place)
    return listen(path)
