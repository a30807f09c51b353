"""`engine watch`: keep queries right while files change, until Ctrl-C.

Invariants
    T1  It runs in the foreground and belongs to a terminal or to whoever started it: no daemon.
    T2  Changed rule code runs in a fresh interpreter: this process replaces itself (the same process id), and
        whoever asks over the socket meanwhile waits a moment.
    T3  Rules that cannot be loaded do not end a running watch: it says so, and waits for the next change.
    T4  Ending and replacing take END_SECONDS at most: what was not committed until then is computed again.
        The main thread waits for nothing else, and has signals handled at any time.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from engine.cli.session import places

if TYPE_CHECKING:
    from contextlib import ExitStack

    from engine import Engine, Key
    from engine.cli.imports import Finder
    from engine.cli.serving import Serving
    from engine.cli.takeover import Handed
    from engine.message import EngineError
    from engine.settings import Settings
    from engine.signals import Stopping
    from engine.watch.backend import Factory
    from engine.watch.events import WatchEvent
    from engine.watch.rule_code import RuleCode
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
    "check",
    *("poll", "scan", "wait_root", "quiet", "no_store"),
)
# Python changes threads every 5 ms by itself: while queries compute, who looks at files would wait so long
# after each system call, and `sync` with it.
SWITCH_SECONDS: Final = 0.0005
TURN_SECONDS: Final = 0.2  # the longest until a signal is noticed
END_SECONDS: Final = 2.0  # to end in order: queries that read nothing are waited for half of it
# After a signal, whatever hangs (a terminal that takes nothing): then the process ends.
LAST_SECONDS: Final = 4.0
# Loaded before the store is taken, not after: who finds it taken does not wait long for the socket.
SERVING: Final = ("engine.cli.serving", "engine.watch.session", "engine.watch.rule_code")
ROOT_HINT: Final = "Put it back and start again, or say --wait-root."


@click.command("watch", epilog=EPILOG)
@click.argument("queries", nargs=-1, required=True, metavar="KEY...")
@click.option("--events", metavar="OUT", help="Write events as JSON lines: to a FILE, - or unix:PATH.")
@click.option("--metrics", metavar="ADDR", help="Serve metrics for Prometheus: PORT (loopback) or unix:PATH.")
@click.option("--print", "print_", is_flag=True, help="Print the values of the keys whenever they change.")
@click.option("--deltas", is_flag=True, help="Tell which lines and definitions of a file changed.")
@click.option("--audit", type=float, metavar="SECONDS", help="Look at every file at least so often (60).")
@click.option(
    "--check",
    type=float,
    metavar="SECONDS",
    help="After so long a quiet, audit some members (600; 0: never).",
)
@click.option("--poll", is_flag=True, help="Let watchfiles compare files instead of asking the kernel.")
@click.option("--scan", is_flag=True, help="Ask no events of anybody: look at every file every second or so.")
@click.option("--wait-root", is_flag=True, help="If the root goes away, wait until it is back.")
@click.option("-q", "--quiet", is_flag=True, help="Tell only what goes wrong.")
@click.option("--no-store", is_flag=True, help="Keep everything in memory.")
@click.option("--workers", type=int, metavar="N", help="Threads for parallel groups.")
@click.option("--processes", metavar="N", help="Processes for large parallel groups; or auto: one a core.")
@click.option("--strict", is_flag=True, help="Never run a query that might turn out not to be needed.")
@click.option("--depth-limit", type=int, metavar="N", help="How deep running queries may nest.")
@places
def command(queries: tuple[str, ...], **options: Any) -> None:
    """Keep queries right while files change.

    KEY is MODULE:QUERY, a query of the configured rule modules, or one with its arguments in parentheses, as
    other commands show it. While this runs, it answers `engine run`, `graph`, `why` and other questions,
    from memory. Changed rules are taken over by themselves. Ends with Ctrl-C.
    """
    from engine.errors import BadSettings

    own = {name: options.pop(name) for name in OWN}
    if own["print_"] and own["events"] == "-":
        raise BadSettings(cause="--print and --events - both write to standard output", hint="Choose one.")
    if own["poll"] and own["scan"]:
        raise BadSettings(cause="--poll and --scan are two different ways", hint="Choose one.")
    if own["audit"] is not None and not 0 < own["audit"] < threading.TIMEOUT_MAX:
        raise BadSettings(audit=own["audit"], hint="Name a number of seconds above 0.")
    if own["check"] is not None and not 0 <= own["check"] < threading.TIMEOUT_MAX:
        raise BadSettings(check=own["check"], hint="Name a number of seconds, or 0 for never.")
    _Command(queries, own, options).run()


class _Command:
    """One run of `engine watch`, until it ends or another interpreter goes on."""

    def __init__(self, queries: tuple[str, ...], options: dict[str, Any], places: dict[str, Any]) -> None:
        from engine.cli.audience import Audience
        from engine.cli.imports import Finder
        from engine.cli.takeover import Handed, Start, taken_over
        from engine.code.moment import Moment

        handed = taken_over()
        self._start = Start()  # after: what was handed is not to be handed on
        self._began = Moment.now()
        self._goes_on = handed is not None  # this interpreter took over from the one before
        self._handed: Handed = handed or Handed(time.time())
        self._finder: Finder = Finder()
        self._queries = queries
        self._options = options
        self._places = places
        self._state: Stopping | None = None
        self._stop = False
        self._kept = ""  # what became of the work
        self._changed = False  # rules did: a fresh interpreter has to go on
        self._audience = Audience(options, self._handed, self._end)

    def run(self) -> None:
        from engine.cli.waiting import open_engine
        from engine.signals import stopping

        sys.setswitchinterval(SWITCH_SECONDS)
        self._finder.install()
        settings, keys = self._load()
        for module in SERVING:
            importlib.import_module(module)
        db, store = open_engine(settings, in_memory=self._options["no_store"], patient=self._goes_on)
        try:
            with stopping(self._end_in_time) as self._state:
                self._watch(db, store, keys, settings)
        except KeyboardInterrupt:  # it was at something that took too long, see `signals`
            self._raise_interrupted()
            raise
        self._raise_interrupted()
        if self._changed and not self._stop:
            self._replace()

    # -- loading -------------------------------------------------------------------------------

    def _load(self) -> tuple[Settings, list[Key[Any]]]:
        """The settings, and the keys to watch. Where a watch goes on, their cure is waited for (T3)."""
        from engine.cli.look import loaded_key
        from engine.cli.session import settings_of
        from engine.message import EngineError

        settings: Settings | None = None
        try:
            settings = settings_of(dict(self._places))
            keys = [loaded_key(text, (), (), settings) for text in self._queries]
        except EngineError as error:
            if not self._goes_on:
                raise
            self._wait_for_cure(error, settings)
        return settings, list(dict.fromkeys(keys))

    def _wait_for_cure(self, error: EngineError, settings: Settings | None) -> NoReturn:
        from engine.cli.output import tell
        from engine.cli.report import report
        from engine.cli.waiting import Cure, module_files, settings_files, wait
        from engine.errors import RootGone
        from engine.signals import stopping

        root = str(error.fields.get("root", ""))
        if settings is None and root and not os.path.isdir(root) and not self._options["wait_root"]:
            raise RootGone(root=root, hint=ROOT_HINT)
        report(error)
        tell("the watch waits until that changes")
        rules = settings.rules if settings else ()
        files = (
            *self._finder.files(),
            *module_files((*self._queries, *self._places.get("rules", ()), *rules)),
            *settings_files(self._directory(), settings),
        )
        cure = Cure(error, files, [root] if root else [], self._began)
        with stopping(self._end_in_time) as self._state:
            wait(cure, str(error).partition("\n")[0], self._handed, lambda: self._stop)
        if not self._stop:
            self._replace()
        self._raise_interrupted()
        raise click.exceptions.Exit(0)

    def _directory(self) -> str:
        return os.path.join(self._start.directory, self._places.get("directory") or "")

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, db: Engine, store: ExitStack, keys: list[Key[Any]], settings: Settings) -> None:
        """Watch until somebody ends it, or the rules change; then end in order, as far as that is quick."""
        from contextlib import ExitStack

        from engine.cli.output import answer_only
        from engine.cli.session import kept

        watch: Watch | None = None
        serving: Serving | None = None
        outside = ExitStack()  # what may wait for a reader or a terminal
        with ExitStack() as inside:
            try:
                self._audience.open(keys, outside)
                inside.enter_context(answer_only())
                watch, rules = self._make_watch(db, keys, settings, outside)
                serving = self._serve(db, watch, rules, settings)  # who sees the first answer may ask
                self._follow(watch, rules, serving)
            finally:
                if self._state is not None:
                    self._state.unwound()  # nothing here waits for a query any more
                db.stop()
                if serving is not None and self._changed:
                    self._handed.listener = serving.hand_over()
                ending = threading.Thread(
                    target=self._close, args=(watch, serving, store, outside), daemon=True
                )
                ending.start()
                ending.join(END_SECONDS)
                self._kept = f", {kept(db, in_order=not ending.is_alive())}"
        self._audience.check()

    def _close(
        self, watch: Watch | None, serving: Serving | None, store: ExitStack, outside: ExitStack
    ) -> None:
        """In a thread of its own (T4). What matters most comes first; the rest follows if that fails."""
        from contextlib import ExitStack

        from engine.cli.report import report
        from engine.message import EngineError

        reason = "rules changed" if self._changed else "interrupted" if self._stop else "ended"
        try:
            with ExitStack() as steps:  # the last one first
                steps.callback(outside.close)
                if watch is not None:
                    steps.callback(self._audience.tell_rest, watch)
                if serving is not None:
                    steps.callback(serving.close, keep=self._changed)
                steps.callback(store.close)
                if watch is not None:
                    steps.callback(watch.close, reason)
        except EngineError as error:  # of the store: it is gone, say
            report(error)

    def _make_watch(
        self, db: Engine, keys: list[Key[Any]], settings: Settings, stack: ExitStack
    ) -> tuple[Watch, RuleCode]:
        from engine.cli.waiting import settings_files
        from engine.watch.rule_code import RuleCode

        options = self._options
        named = {"audit_seconds": options["audit"], "check_seconds": options["check"]}
        extra: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        watch = db.watch(*keys, deltas=options["deltas"], backend=_backend(options), **extra)
        rules = RuleCode(settings_files(self._directory(), settings), self._began, self._finder.missing)
        self._audience.follow(db, watch, stack)
        return watch, rules

    def _serve(self, db: Engine, watch: Watch, rules: RuleCode, settings: Settings) -> Serving | None:
        from engine.cli.serving import Serving

        if db.store is None:
            return None
        return Serving(db, watch, rules, settings, self._start.environment, self._handed)

    def _follow(self, watch: Watch, rules: RuleCode, serving: Serving | None) -> None:
        """Tell what happens, until the end. Looks at the rules itself, so that no build delays that."""
        import gc

        from engine.watch.events import RulesChanged, Started

        look = rules.follow(lambda paths: watch.tell(RulesChanged(paths)))
        mailbox = iter(watch)  # it starts here
        while not self._stop:
            look()
            if serving is not None:
                serving.look()
            try:
                event = mailbox.get(TURN_SECONDS)
            except TimeoutError:
                continue
            if event is None:
                return
            self._audience.tell(event)
            if isinstance(event, RulesChanged):
                self._changed = True
                return
            self._check_root(event)
            if isinstance(event, Started):
                gc.collect()
                gc.freeze()  # what was built stays: a full collection would take a second to go through it

    def _check_root(self, event: WatchEvent) -> None:
        from engine.errors import RootGone
        from engine.watch.events import Trouble

        if isinstance(event, Trouble) and event.cause == RootGone.headline and not self._options["wait_root"]:
            raise RootGone(root=event.place, hint=ROOT_HINT)

    # -- ending --------------------------------------------------------------------------------

    def _end(self) -> None:
        """Somebody asked for the end."""
        self._stop = True

    def _end_in_time(self) -> None:
        """A signal asked for the end. Runs in a signal handler."""
        self._stop = True
        number = signal.SIGINT if self._state is None else self._state.number
        last = threading.Timer(LAST_SECONDS, os._exit, [128 + number])
        last.daemon = True
        last.start()

    def _raise_interrupted(self) -> None:
        from engine.signals import Interrupted

        if self._state is not None and self._state.number:
            raise Interrupted(self._state.number, f"the watch ended{self._kept}")

    def _replace(self) -> NoReturn:
        """Let a fresh interpreter go on (T2). A directory that is gone is waited for, or the end."""
        from engine.errors import RootGone

        directory = self._start.directory
        while directory and not os.path.isdir(directory):
            if not self._options["wait_root"]:
                raise RootGone(root=directory, hint=ROOT_HINT)
            time.sleep(TURN_SECONDS)
        self._start.again(self._handed)


def _backend(options: dict[str, Any]) -> Factory:
    from engine.watch.kernel import KernelBackend
    from engine.watch.scanning import ScanningBackend

    if options["scan"]:
        return ScanningBackend
    return lambda cookies, suggest, fail: KernelBackend(cookies, suggest, fail, polling=options["poll"])
