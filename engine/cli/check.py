"""Commands that compute again and compare: verify, audit. Exit code 1 if they find something.

Invariants
    C1  While another process has the store, what it committed is checked, and nothing is saved.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from signal import SIGINT
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from engine.cli.session import as_json, places

if TYPE_CHECKING:
    from engine import Counts, Engine, Fold, Table, Verification
    from engine.settings import Settings
    from engine.tables.audit import Audit

T = TypeVar("T")
SAMPLE: Final = click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Only N nodes, or members, chosen at random."
)
QUIET: Final = click.option(
    "-q", "--quiet", is_flag=True, help="No progress, and nothing where nothing is wrong."
)
SHOWN: Final = 50  # differences that people are shown

VERIFY: Final = """\b
Examples:
  engine verify                                  every key that was ever asked for
  engine verify rules.py:report rules.py:words   these keys, tables or folds
  engine verify --sample 100                     only 100 nodes of them, chosen at random
"""
AUDIT: Final = """\b
Examples:
  engine audit rules.py:words                    a table, all of it
  engine audit rules.py:line_total --sample 100  a fold, by 100 of its members
"""


@click.command("verify", epilog=VERIFY, short_help="Compute everything from scratch, and compare.")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@SAMPLE
@as_json
@QUIET
@places
def verify(keys: tuple[str, ...], sample: int | None, json_: bool, quiet: bool, **options: Any) -> None:
    """Compute everything once more from scratch, and compare it with what is kept.

    In an engine of its own, in memory, with no help of the store. KEY is MODULE:QUERY, a table or a fold, or
    what other commands display; default: every key that was ever asked for and whose rules are configured.
    Files that change meanwhile are looked at again. Differences are told by key, those first where they
    begin. Exit code 1 if there are any. Costs what a first build costs.
    """
    from engine.cli.look import load_quietly, loaded_key
    from engine.cli.output import write, write_json
    from engine.cli.session import settings_of
    from engine.errors import NothingVerified

    settings = settings_of(options)
    load_quietly(settings)
    asked = [loaded_key(text, (), (), settings) for text in keys]
    with _opened(settings, quiet) as db:
        _load_ours(db)
        found = _working(db, quiet, lambda: db.verify(*asked, sample=sample), "verify")
    if found.left_out and not found.keys:
        unknown = ", ".join(found.left_out)
        raise NothingVerified(cause="no rules of what is stored are loaded", queries=unknown)
    if not found.keys:
        cause = "the store has no key that anybody asked for"
        raise NothingVerified(store=settings.store, cause=cause, hint="Name one: engine verify MODULE:QUERY.")
    if json_:
        write_json(verification_document(found))
    elif not quiet or found.differences:
        write(_verification_lines(found))
    if found.differences:
        raise click.exceptions.Exit(1)


@click.command("audit", epilog=AUDIT, short_help="Compute a table or a fold from its members, and compare.")
@click.argument("name", metavar="TABLE|FOLD")
@SAMPLE
@as_json
@QUIET
@places
def audit(name: str, sample: int | None, json_: bool, quiet: bool, **options: Any) -> None:
    """Compute a table or a fold from its members once more, and compare it with what is kept.

    Reads what its members read as it is kept: `engine verify` trusts nothing. Exit code 1 if there are
    differences.
    """
    from engine.cli.output import write, write_json
    from engine.cli.session import settings_of

    settings = settings_of(options)
    asked = named_collection(name, settings)
    with _opened(settings, quiet) as db:
        found = _working(db, quiet, lambda: db.audit(asked, sample=sample), name)
    if json_:
        write_json(audit_document(found))
    elif not quiet or found.differences:
        write(_audit_lines(found))
    if found.differences:
        raise click.exceptions.Exit(1)


def named_collection(name: str, settings: Settings) -> Table[Any, Any] | Fold[Any]:
    """The table or fold of this name. Raises `BadTable` for what is neither."""
    from engine import Fold, Table
    from engine.cli.look import load_quietly
    from engine.errors import BadTable
    from engine.message import escaped
    from engine.modules.load import collection_of, find_defined, load_query

    load_quietly(settings)
    found = collection_of(find_defined(name) or load_query(name, settings))
    if found is None:
        hint = f"To check a query: engine verify {escaped(name)}. Else name what @table or fold(...) made."
        raise BadTable(name=name, cause="it is a query", hint=hint)
    return Table(found) if found.kind == "table" else Fold(found)


def _load_ours(db: Engine) -> None:
    """The ready-made rules that somebody asked for once, by a command of ours or otherwise, are to be had."""
    for module in {name.partition(":")[0] for name in db.query_names() if name.startswith("engine.rules.")}:
        with suppress(ImportError):  # of another version
            importlib.import_module(module)


@contextmanager
def _opened(settings: Settings, quiet: bool) -> Iterator[Engine]:
    """The engine, opened to compute; for reading where another process has the store (C1)."""
    from engine.cli.output import tell
    from engine.cli.session import check_store, writing
    from engine.errors import StoreInUse

    check_store(settings)
    try:
        with writing(settings, quiet=quiet) as db:
            yield db
            return
    except StoreInUse as error:
        tell(f"note: {error.headline}: what it committed is checked, and nothing is saved")
    with writing(settings, read_only=True, quiet=quiet) as db:
        yield db


def _working(db: Engine, quiet: bool, work: Callable[[], T], what: str) -> T:
    """What `work` gives, with progress on a terminal; ends with the first signal."""
    from engine.cli.output import answer_only
    from engine.cli.progress import Progress
    from engine.cli.report import of_query
    from engine.signals import Interrupted, stopping

    with stopping(db.stop) as state:
        try:
            with Progress(cast("Engine", _Both(db)), "computing once more", quiet=quiet), answer_only():
                found = work()
        except BaseException as error:  # a query may call sys.exit, and an interrupt ends the work
            state.unwound()
            if not state.number and not isinstance(error, KeyboardInterrupt):
                raise of_query(error, what) from error
            db.close()
            raise Interrupted(state.number or SIGINT, "nothing was found out") from None
        state.unwound()
    return found


class _Both:
    """An engine and the one beside it that verifies it, as far as progress is shown of them."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self.listen = db.listen

    @property
    def revision(self) -> int:
        return self._db.revision

    def counts(self) -> Counts:
        from engine.event import Counts

        several = [self._db.counts(), *(one.scratch.counts() for one in tuple(self._db._verifiers))]
        names = [name for name in Counts.__slots__ if name[0] != "_"]
        return Counts(*(sum(getattr(one, name) for one in several) for name in names))


# -- for JSON and for people ---------------------------------------------------------------------


def verification_document(found: Verification) -> dict[str, Any]:
    """For JSON."""
    from attrs import asdict

    return asdict(found)


def _verification_lines(found: Verification) -> Iterable[str]:
    from engine.message import escaped
    from engine.watch.progress import count

    first = [one for one in found.differences if not one.because]
    rest = [one for one in found.differences if one.because]
    for one in (first or rest)[:SHOWN]:
        yield from _difference(one.key, one.kept, one.right)
    if len(first or rest) > SHOWN:
        yield f"and {len(first or rest) - SHOWN} more"
    if first and rest:
        yield f"{count(len(rest), 'key')} that rest on them:"
        yield from (f"  {escaped(one.key)}, because of {escaped(one.because)}" for one in rest[:SHOWN])
        if len(rest) > SHOWN:
            yield f"  and {len(rest) - SHOWN} more"
    for name in found.moved:
        yield f"{escaped(name)} did not stand still: what rests on it was not compared"
    for name in found.left_out:
        yield f"{escaped(name)} is in no rule module that is loaded: its keys were not compared"
    if found.left_out:
        yield "  Name their modules in the setting rules, or say MODULE:QUERY."
    differences = count(len(found.differences), "difference") if found.differences else "no difference"
    yield (
        f"{count(found.keys, 'key')} from scratch, {count(found.compared, 'node')} compared, "
        f"revision {found.revision}: {differences}"
    )


def audit_document(found: Audit) -> dict[str, Any]:
    """For JSON."""
    from attrs import asdict

    return asdict(found)


def _audit_lines(found: Audit) -> Iterable[str]:
    from engine.message import escaped
    from engine.watch.progress import count

    for one in found.differences[:SHOWN]:
        yield from _difference(one.where, one.kept, one.right)
    if len(found.differences) > SHOWN:
        yield f"and {len(found.differences) - SHOWN} more"
    differences = count(len(found.differences), "difference") if found.differences else "no difference"
    yield (
        f"{escaped(found.name)}: {count(found.members, 'member')} and {count(found.lookups, 'lookup')} "
        f"computed again: {differences}"
    )


def _difference(where: str, kept: str, right: str) -> Iterable[str]:
    from engine.message import escaped

    yield escaped(where)
    yield f"  kept   {escaped(kept)}"
    yield f"  right  {escaped(right)}"
