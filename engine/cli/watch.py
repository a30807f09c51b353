"""`engine watch`: keep queries right while files change, until Ctrl-C.

Invariants
    T1  It runs in the foreground and belongs to a terminal or to whoever started it: no daemon.
    T2  Changed rule code runs in a fresh interpreter: this process replaces itself (the same process id), and
        whoever asks over the socket meanwhile waits a moment.
    T3  Rules that cannot be loaded do not end a running watch: it says so, and waits for the next change.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import click

from engine.cli.session import places

if TYPE_CHECKING:
    import socket
    from contextlib import ExitStack

    from engine import Engine, Key
    from engine.cli.live import Live
    from engine.settings import Settings
    from engine.watch.backend import Factory
    from engine.watch.event_output import EventOutput
    from engine.watch.events import WatchEvent
    from engine.watch.session import Watch

EPILOG = """\b
Examples:
  engine watch rules.py:report                 keep it right; one line for each revision
  engine watch rules.py:report --print         and print its value whenever it changed
  engine watch 'rules.py:lines("a.py")' todo   several keys, with arguments
  engine watch report --events -               events as JSON lines, for other programs
"""

OWN: Final = (
    *("events", "metrics", "print_", "deltas", "audit"),
    *("poll", "scan", "wait_root", "quiet", "no_store"),
)
# Told to the interpreter that goes on: that it does, and the descriptor of the listening socket.
GOES_ON: Final = "_ENGINE_WATCH_GOES_ON"
INHERITED: Final = "_ENGINE_WATCH_SOCKET"
TURN_SECONDS: Final = 0.2  # the longest until a signal is noticed
LOOK_SECONDS: Final = 0.25  # between looks at rules that could not be loaded


@click.command("watch", epilog=EPILOG)
@click.argument("queries", nargs=-1, required=True, metavar="KEY...")
@click.option("--events", metavar="OUT", help="Write events as JSON lines: to a FILE, - or unix:PATH.")
@click.option("--metrics", metavar="ADDR", help="Serve metrics for Prometheus: PORT (loopback) or unix:PATH.")
@click.option("--print", "print_", is_flag=True, help="Print the values of the keys whenever they change.")
@click.option("--deltas", is_flag=True, help="Tell which lines and definitions of a file changed.")
@click.option("--audit", type=float, metavar="SECONDS", help="Look at every file at least so often (60).")
@click.option("--poll", is_flag=True, help="Let watchfiles compare files instead of asking the kernel.")
@click.option("--scan", is_flag=True, help="Ask no events of anybody: look at every file every second or so.")
@click.option("--wait-root", is_flag=True, help="If the root goes away, wait until it is back.")
@click.option("-q", "--quiet", is_flag=True, help="Tell only what goes wrong.")
@click.option("--no-store", is_flag=True, help="Keep everything in memory.")
@click.option("--workers", type=int, metavar="N", help="Threads for parallel groups.")
@click.option("--strict", is_flag=True, help="Never run a query that might turn out not to be needed.")
@click.option("--depth-limit", type=int, metavar="N", help="How deep running queries may nest.")
@places
def command(queries: tuple[str, ...], **options: Any) -> None:
    """Keep queries right while files change.

    KEY is MODULE:QUERY, a query of the configured rule modules, or one with its arguments in parentheses, as
    other commands show it. While this runs, `engine run`, `why` and `status` are answered by it at once.
    Ends with Ctrl-C.
    """
    from engine.cli.session import settings_of
    from engine.errors import BadSettings

    own = {name: options.pop(name) for name in OWN}
    settings = settings_of(options)
    if own["print_"] and own["events"] == "-":
        raise BadSettings(cause="--print and --events - both write to standard output", hint="Choose one.")
    if own["poll"] and own["scan"]:
        raise BadSettings(cause="--poll and --scan are two different ways", hint="Choose one.")
    if own["audit"] is not None and own["audit"] <= 0:
        raise BadSettings(audit=own["audit"], hint="Name a number of seconds above 0.")
    _Command(queries, settings, own).run()


class _Command:
    """One run of `engine watch`, until it ends or another interpreter goes on."""

    def __init__(self, queries: tuple[str, ...], settings: Settings, options: dict[str, Any]) -> None:
        self._queries = queries
        self._settings = settings
        self._options = options
        self._began = time.time_ns()
        self._stop = False
        self._goes_on = False  # this interpreter took over from the one before
        self._changed = False  # rules did: a fresh interpreter has to go on
        self._kept: socket.socket | None = None
        self._output: EventOutput | None = None
        self._answers: TextIO | None = None
        self._live: Live | None = None

    def run(self) -> None:
        from contextlib import ExitStack

        from engine.cli.output import answer_only
        from engine.cli.session import tell_notes, writing
        from engine.signals import Interrupted, stopping

        self._goes_on = bool(os.environ.pop(GOES_ON, ""))
        listener = _inherited()
        keys = self._keys(listener)
        with ExitStack() as outside, stopping(lambda: setattr(self, "_stop", True)) as state:
            self._open_outputs(outside)
            with writing(self._settings, in_memory=self._options["no_store"]) as db:
                tell_notes(db)
                with answer_only():
                    self._watch(db, keys, listener)
                state.unwound()
            if self._changed:
                outside.close()
                _replace_this_process(self._kept)
            if self._stop and state.number:
                raise Interrupted(state.number, "the watch ended, everything computed is kept")

    def _open_outputs(self, stack: ExitStack) -> None:
        """Before standard output is kept for answers: these are the answers."""
        options = self._options
        if options["events"]:
            from engine.watch.event_output import open_output

            self._output = open_output(options["events"], tell=self._tell, on_gone=self._end)
            stack.callback(self._output.close)
        if options["print_"]:
            self._answers = stack.enter_context(os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding))

    # -- keys ----------------------------------------------------------------------------------

    def _keys(self, listener: socket.socket | None) -> list[Key[Any]]:
        """The keys to watch. Where a watch goes on, rules that cannot be loaded are waited for (T3)."""
        from engine.cli.look import loaded_key
        from engine.cli.output import tell
        from engine.cli.report import report
        from engine.errors import EngineError

        try:
            return [loaded_key(text, (), self._settings) for text in self._queries]
        except EngineError as error:
            if not self._goes_on:
                raise
            report(error)
            tell("the watch waits for the rules to change")
            _wait_for_change(error, self._settings, self._began)
            _replace_this_process(listener)

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, db: Engine, keys: list[Key[Any]], listener: socket.socket | None) -> None:
        """Watch until somebody ends it, or the rules change."""
        from contextlib import ExitStack

        from engine.cli.live import Live
        from engine.cli.serving import Serving

        options = self._options
        extra: dict[str, Any] = {} if options["audit"] is None else {"audit_seconds": options["audit"]}
        with ExitStack() as stack:
            watch = db.watch(*keys, deltas=options["deltas"], backend=_backend(options), **extra)
            rules = watch.follow_rules(map(str, self._settings.files), self._began)
            live = self._live = stack.enter_context(Live(watch.progress, options["quiet"]))
            if self._output is not None:
                self._output.follow(watch.events())
            self._serve_metrics(stack, watch)
            serving = None
            if db.store is not None:
                serving = Serving(db, watch, rules, self._settings, listener, self._end)
            try:
                with watch:
                    self._follow(db, keys, watch)
                    watch.close(
                        "rules changed" if self._changed else "interrupted" if self._stop else "ended"
                    )
                    for event in watch:
                        live.tell(event)
            finally:
                if serving is not None:
                    self._kept = serving.close(keep=self._changed)

    def _follow(self, db: Engine, keys: list[Key[Any]], watch: Watch) -> None:
        for event in self._events(watch):
            self._tell(event)
            if self._answers is not None:
                self._print(db, keys, event)
            if self._ends(event):
                self._changed = True
                return

    def _tell(self, event: WatchEvent) -> None:
        if self._live is not None:
            self._live.tell(event)

    def _serve_metrics(self, stack: ExitStack, watch: Watch) -> None:
        address = self._options["metrics"]
        if address:
            from engine.cli.output import tell
            from engine.watch.metrics import serve_metrics

            server = stack.enter_context(serve_metrics(address, watch.progress))
            if not self._options["quiet"]:
                tell(f"metrics at {server.address}")

    def _events(self, watch: Watch) -> Any:
        mailbox = iter(watch)
        while not self._stop:
            try:
                event = mailbox.get(TURN_SECONDS)
            except TimeoutError:
                continue
            if event is None:
                return
            yield event

    def _end(self) -> None:
        """Somebody who is not a signal asked for the end."""
        self._stop = True

    def _ends(self, event: WatchEvent) -> bool:
        """Whether a fresh interpreter has to go on. Raises RootGone where nobody wants to wait for the root."""
        from engine.errors import RootGone
        from engine.watch.events import RulesChanged, Trouble

        if isinstance(event, Trouble) and event.cause == RootGone.headline and not self._options["wait_root"]:
            raise RootGone(root=event.place, hint="Put it back and start again, or say --wait-root.")
        return isinstance(event, RulesChanged)

    def _print(self, db: Engine, keys: list[Key[Any]], event: WatchEvent) -> None:
        """The values that changed since they were printed last."""
        from engine.cli.output import shown, write
        from engine.watch.events import Revised, Started

        if not isinstance(event, Started | Revised):
            return
        moved = {one.key for one in event.changed} if isinstance(event, Revised) else None
        failing = {one.key for one in event.failures}
        for key in keys:
            if str(key) not in failing and (moved is None or str(key) in moved):
                write(shown(db.get(key)), self._answers)


def _backend(options: dict[str, Any]) -> Factory:
    from engine.watch.kernel import KernelBackend
    from engine.watch.scanning import ScanningBackend

    if options["scan"]:
        return ScanningBackend
    return lambda cookies, suggest, fail: KernelBackend(cookies, suggest, fail, polling=options["poll"])


# -- going on in a fresh interpreter -----------------------------------------------------------


def _replace_this_process(listener: socket.socket | None) -> NoReturn:
    """Run the same command again, with the code that is on disk now. It gets the listening socket."""
    os.environ[GOES_ON] = "1"
    if listener is not None:
        os.set_inheritable(listener.fileno(), True)
        os.environ[INHERITED] = str(listener.fileno())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *_interpreter_options(), *sys.orig_argv[_first_own():]])


def _interpreter_options() -> list[str]:
    return sys.orig_argv[1:_first_own()]


def _first_own() -> int:
    """Where in the original command line the program begins: after the interpreter's own options."""
    at = 1
    while at < len(sys.orig_argv):
        word = sys.orig_argv[at]
        if word in ("-m", "-c") or not word.startswith("-"):
            break
        at += 2 if word in ("-W", "-X", "--check-hash-based-pycs") else 1
    return at


def _inherited() -> socket.socket | None:
    """The listening socket of the interpreter before this one."""
    import socket

    text = os.environ.pop(INHERITED, "")
    if not text.isdecimal():
        return None
    try:
        os.set_inheritable(int(text), False)
        return socket.socket(fileno=int(text))
    except OSError:
        return None


def _wait_for_change(error: Exception, settings: Settings, since: int) -> None:
    """Return when a file may have changed that decides whether the rules can be loaded."""
    import traceback

    from engine.rules.stat import stamp_of
    from engine.watch.rule_code import RuleCode

    frames = [frame.filename for part in _chain(error) for frame in traceback.extract_tb(part.__traceback__)]
    named = [text.rpartition(":")[0].partition("(")[0] for text in sys.argv if ":" in text]
    files = [path for path in (*frames, *named, *map(str, settings.files)) if os.path.isfile(path)]
    rules = RuleCode(files, since)
    folders = {path: stamp_of(path) for path in map(str, settings.path)}  # a module that is missing appears there
    while not rules.changed() and all(stamp_of(path) == stamp for path, stamp in folders.items()):
        time.sleep(LOOK_SECONDS)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
