"""Audience: whom `engine watch` tells: people, programs that read events or values, metrics.

Invariants
    A1  Who is told on standard output has it before it is kept for answers.
    A2  A reader that waits or is gone holds up nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from engine import Engine, Key
    from engine.cli.live import Live
    from engine.cli.printing import Printer
    from engine.cli.takeover import Handed
    from engine.watch.event_output import EventOutput
    from engine.watch.events import WatchEvent
    from engine.watch.session import Watch


class Audience:
    """Everybody who is told by one run of the command. `end` asks for its end, when a reader is gone."""

    def __init__(self, options: dict[str, Any], handed: Handed, end: Callable[[], None]) -> None:
        self._options = options
        self._handed = handed
        self._end = end
        self._output: EventOutput | None = None
        self._printer: Printer | None = None
        self._live: Live | None = None

    def open(self, keys: list[Key[Any]], stack: ExitStack) -> None:
        """Before standard output is kept for answers: these are the answers."""
        options = self._options
        if options["events"]:
            from engine.watch.event_output import open_output

            self._output = open_output(options["events"], tell=self.tell, on_gone=self._end)
            stack.callback(self._output.close)
        if options["print_"]:
            from engine.cli.printing import Printer

            self._printer = Printer(keys, self._handed.printed, self._end)
            stack.callback(self._printer.close)

    def follow(self, db: Engine, watch: Watch, stack: ExitStack) -> None:
        """Tell what this watch does, from its start, which is not here: who sees an answer may ask it."""
        from engine.cli.live import Live

        self._live = stack.enter_context(Live(watch.progress, self._options["quiet"]))
        if self._output is not None:
            self._output.follow(watch.events(start=False))
        if self._printer is not None:
            self._printer.follow(db, watch.events(start=False))
        if self._options["metrics"]:
            self._serve_metrics(stack, watch)

    def _serve_metrics(self, stack: ExitStack, watch: Watch) -> None:
        from engine.cli.output import tell
        from engine.watch.metrics_server import serve_metrics

        # Who asked for any free port goes on at the one that people know by now.
        address = self._handed.metrics or self._options["metrics"]
        server = stack.enter_context(serve_metrics(address, watch.progress))
        if not self._options["quiet"] and not self._handed.metrics:
            tell(f"metrics at {server.address}")
        self._handed.metrics = server.address

    def tell(self, event: WatchEvent) -> None:
        """Tell people an event. The others take theirs by themselves."""
        if self._live is not None:
            self._live.tell(event)

    def tell_rest(self, watch: Watch) -> None:
        """Tell people what an ended watch had still to tell."""
        if self._live is not None:
            for event in watch:
                self._live.tell(event)

    def check(self) -> None:
        """Keep what was printed for who goes on. Raises what ended the printing."""
        if self._printer is not None:
            self._handed.printed = self._printer.printed
            if self._printer.error is not None:
                raise self._printer.error
