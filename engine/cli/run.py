"""`engine run`: compute the value of a key and print it."""

from __future__ import annotations

from contextlib import ExitStack
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import click

from engine.cli.session import as_json, by_name, places

if TYPE_CHECKING:
    from engine import Engine, Key
    from engine.cli.progress import Progress

EPILOG = """\b
Examples:
  engine run rules.py:report                  a query of a file
  engine run shop.rules:total 2026 --json     a query of a module, with an argument
  engine run report                           a query of the configured rule modules
  engine run rules.py:lines -- -1             an argument that starts with a dash
  engine run rules.py:lines -a path=a.py      an argument by name
  engine run rules.py:words a.txt             the rows of one source key of a table; without it, all rows
  engine run rules.py:words.where text=two    the rows that have a value in an indexed column
"""


@click.command("run", epilog=EPILOG)
@click.argument("query", metavar="MODULE:QUERY")
@click.argument("args", nargs=-1, metavar="[ARGS]...")
@by_name
@as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress, and no summary at the end.")
@click.option("--workers", type=int, metavar="N", help="Threads for parallel groups.")
@click.option("--processes", metavar="N", help="Processes for large parallel groups; or auto: one a core.")
@click.option("--strict", is_flag=True, help="Never run a query that might turn out not to be needed.")
@click.option("--depth-limit", type=int, metavar="N", help="How deep running queries may nest.")
@click.option(
    "--sync/--no-sync",
    default=True,
    help="While a watch runs: see everything saved before (the default), or only what it saw already.",
)
@click.option("--crawl", is_flag=True, help="While a watch runs: look at every file, trust no event.")
@click.option("--read-only", is_flag=True, help="Use what is stored, save nothing.")
@click.option("--no-store", is_flag=True, help="Compute everything in memory.")
@places
def command(query: str, args: tuple[str, ...], named: tuple[str, ...], json_: bool, **options: Any) -> None:
    """Bring a query up to date and print its value.

    Runs only what a change since the last time makes necessary. ARGS are read by the annotations of the
    query's parameters: texts as they are, numbers, true/false, paths, names of enum members, and JSON for
    everything else. While `engine watch` has the store, it answers.
    """
    from engine.cli.remote import Alone, engine_unless_watched, run
    from engine.cli.session import settings_of, tell_notes, writing

    quiet, read_only, no_store = (options.pop(name) for name in ("quiet", "read_only", "no_store"))
    far = {"json": json_, "quiet": quiet, "sync": options.pop("sync"), "crawl": options.pop("crawl")}
    if far["crawl"] and not far["sync"]:
        raise click.UsageError("--crawl looks at every file, --no-sync at none: say one of them.")
    settings = settings_of(options)
    by_ourselves = read_only or no_store

    def ask() -> Alone | None:
        return run(query, args, named, settings, far)

    alone = Alone() if by_ourselves else ask()
    if alone is None:
        return
    from attrs import asdict

    from engine.cli.arguments import key_to_run
    from engine.cli.output import plain, plain_answer, shown, write, write_json
    from engine.modules.load import load_query

    key = key_to_run(load_query(query, settings), args, named)
    with ExitStack() as stack:
        db = (
            stack.enter_context(writing(settings, read_only=read_only, in_memory=no_store, quiet=quiet))
            if by_ourselves
            else engine_unless_watched(settings, stack, alone, ask, quiet=quiet)
        )
        if db is None:
            return
        value, progress = compute(db, key, quiet)
        document = {
            "query": key.query.name,
            "args": [plain(value) for value in key.args],
            "revision": db.revision,
            "value": plain_answer(key, value) if json_ else None,
            "counts": asdict(progress.counts()),
        }
        tell_notes(db)
    if json_:
        write_json(document)
    else:
        write(shown(value))
    progress.tell_summary()


def compute(db: Engine, key: Key[Any], quiet: bool) -> tuple[Any, Progress]:
    """The value of a key, with progress; ends with the first signal. Failures are told as a query's."""
    from engine.cli.output import answer_only
    from engine.cli.progress import Progress
    from engine.cli.report import of_query
    from engine.cli.session import kept
    from engine.signals import Interrupted, stopping

    progress = Progress(db, f"computing {key}", quiet=quiet)
    value: Any = None
    with stopping(db.stop) as state:
        try:
            with progress, answer_only():
                value = db.get(key)
        except BaseException as error:  # a query may call sys.exit, and an interrupt ends the work
            state.unwound()
            if not state.number and not isinstance(error, KeyboardInterrupt):
                raise of_query(error, str(key)) from error
            state.number = state.number or SIGINT  # raised by hand
        state.unwound()
        if state.number:
            db.close()
            what = f"{db.counts().executed} results kept"
            raise Interrupted(state.number, kept(db, in_order=True, what=what))
    return value, progress
