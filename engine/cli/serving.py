"""Serving: the socket on which a running watch answers other commands; from the store's directory, 0600.

Invariants
    S1  The socket is there exactly while a watch holds the store; a watch that goes on in a fresh interpreter
        keeps it, and who connects meanwhile waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.cli.answers import answer
from engine.cli.output import tell
from engine.watch.server import Server
from engine.watch.unix_socket import listen, withdraw
from engine.watch.wire import socket_path

if TYPE_CHECKING:
    import socket

    from engine import Engine
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
        inherited: socket.socket | None,
        end: Callable[[], None],
    ) -> None:
        self.db = db
        self._watch = watch
        self._rules = rules
        self._since = time.time()
        self._path = socket_path(settings.store)
        self._server: Server | None = None
        try:
            self._listener = inherited or listen(self._path)
        except OSError as error:
            tell(f"note: other commands cannot ask this watch: {error.strerror or error} ({self._path})")
            return
        self._server = Server(self._listener, self, end, answer)

    def sync(self, *, crawl: bool = False) -> int:
        """See `Served.sync`."""
        return self._watch.sync(crawl=crawl)

    def status(self) -> dict[str, Any]:
        """See `Served.status`."""
        return {
            "pid": os.getpid(),
            "since": round(self._since, 3),
            "watched": [str(key) for key in self._watch.watched],
            "failing": {str(key): text for key, text in self._watch.failing.items()},
            **self._watch.progress().as_dict(),
        }

    def stale_rules(self) -> tuple[str, ...]:
        """See `Served.stale_rules`."""
        return self._rules.changed()

    def close(self, *, keep: bool) -> socket.socket | None:
        """Serve no more. With `keep`, the socket goes on listening for who comes after us, and is returned."""
        if self._server is None:
            return None
        if keep:
            kept = self._listener.dup()
            self._server.close()
            return kept
        self._server.pause()
        withdraw(self._listener, self._path)
        self._server.close()
        return None
