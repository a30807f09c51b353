"""Session: options that every command takes, and the engine they open.

Invariants
    E1  Commands that look open the store for reading, so they work while another process writes.
    E2  A command that looks never makes a store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from engine import Engine
    from engine.errors import StoreError
    from engine.settings import Settings

BUSY: Final = "Wait for it to end, or answer without saving: engine run --read-only."
F = TypeVar("F", bound=Callable[..., Any])


def places(command: F) -> F:
    """Options that say where the project is."""
    for option in reversed(
        (
            click.option("-C", "--directory", metavar="DIR", help="Look for the project from DIR on."),
            click.option("--store", metavar="DIR", help="The store's directory (default: .engine)."),
            click.option("--root", metavar="DIR", help="What file rules are relative to."),
            click.option(
                "--rules", metavar="MODULE", multiple=True, help="Search MODULE too; may be repeated."
            ),
            click.option(
                "--path", metavar="DIR", multiple=True, help="Import from DIR too; may be repeated."
            ),
        )
    ):
        command = option(command)
    return command


def as_json(command: F) -> F:
    """The option --json."""
    return click.option("--json", "json_", is_flag=True, help="Answer with one JSON document.")(command)


def by_name(command: F) -> F:
    """The option -a: arguments of a query by name."""
    named = click.option(
        "-a", "--arg", "named", multiple=True, metavar="NAME=VALUE", help="An argument by name."
    )
    return named(command)


def settings_of(options: dict[str, Any]) -> Settings:
    """Take what `places` and others added out of a command's options, and read the settings."""
    from engine.settings import load_settings

    directory = options.pop("directory", None)
    known = (
        *("root", "store", "rules", "path", "workers", "processes"),
        *("strict", "depth_limit", "synchronous"),
    )
    flags = {name: options.pop(name) for name in known if name in options}
    if str(flags.get("processes")).isdecimal():
        flags["processes"] = int(flags["processes"])
    if flags.get("strict") is False:
        flags["strict"] = None  # not said
    return load_settings(directory, flags=flags)


@contextmanager
def writing(
    settings: Settings,
    *,
    read_only: bool = False,
    in_memory: bool = False,
    hint: str = BUSY,
    quiet: bool = False,
) -> Iterator[Engine]:
    """The engine, opened to compute. Notes go to standard error.

    hint    what to do about a store that is in use
    quiet   nothing is told of how long it takes
    """
    from engine import Engine
    from engine.errors import StoreFull, StoreInUse, StoreReadOnly
    from engine.message import escaped

    try:
        with _opening(settings, quiet or in_memory):
            db = Engine(
                None if in_memory else settings.store,
                root=settings.root,
                workers=settings.workers,
                processes=settings.processes,
                limits=settings.limits,
                strict=settings.strict,
                depth_limit=settings.depth_limit,
                history=settings.history,
                max_memory=None if in_memory else settings.max_memory,
                synchronous=settings.synchronous,
                read_only=read_only,
            )
    except StoreInUse as error:
        error.hint = hint
        raise
    except (StoreFull, StoreReadOnly) as error:
        error.hint = _cure(error)
        raise
    try:
        with db:
            yield db
    except StoreInUse as error:  # it was removed, and another process has made it again
        error.hint = hint
        raise
    except (StoreFull, StoreReadOnly) as error:  # of a command that is about the store
        if not read_only and "hint" not in vars(error):  # its own may be of another file
            error.fields.setdefault("store", escaped(settings.store))
            error.hint = _cure(error)
            if isinstance(error, StoreReadOnly):
                error.hint = "The note says why. Mend that, or name another one with --store."
        raise
    finally:
        tell_notes(db)


def _opening(settings: Settings, quiet: bool) -> AbstractContextManager[None]:
    """A store that was not closed in order is checked as a whole: 2 GB take a minute, like a hang."""
    from engine.cli.progress import told_if_long

    if quiet:
        return nullcontext()
    return told_if_long(f"opening the store {settings.store}: all of it is read once")


def tell_roots(settings: Settings) -> None:
    """What will not come of the setting `source_roots`, which the code graph reads by itself, in the root; or
    of what the build says there, without it."""
    from engine.cli.output import tell
    from engine.errors import BadSettings
    from engine.message import escaped
    from engine.settings import PYPROJECT, read_toml

    origin = settings.origins["source_roots"]
    for file in settings.files:
        if origin.startswith(str(file)) and file.parent != settings.root:
            tell(f"note: source_roots in {escaped(file)} is not used: it lies outside of the root")
            return
    for folder in settings.source_roots:
        if not os.path.isdir(settings.root / folder):
            tell(f"note: source_roots names {escaped(folder)}: there is no such folder below the root")
    if not settings.source_roots:
        try:
            read_toml(settings.root / PYPROJECT, needle=b"tool")
        except BadSettings as error:
            tell(f"note: {PYPROJECT} does not say where imports start: {error.fields['cause']}")


def _cure(error: StoreError) -> str:
    """What to do where a store cannot be written."""
    from engine.errors import StoreFull

    cure = "Make room" if isinstance(error, StoreFull) else "Check the permissions"
    return f"{cure}, or name another one with --store{_or_none()}."


def _or_none() -> str:
    """Said where the command can do without a store."""
    context = click.get_current_context(silent=True)
    options = context.command.params if context is not None else []
    return ", or keep none with --no-store" if any(one.name == "no_store" for one in options) else ""


@contextmanager
def reading(settings: Settings) -> Iterator[Engine]:
    """The engine, opened to look at what is stored."""
    from engine import Engine

    check_store(settings)
    with _opening(settings, quiet=False):
        db = Engine(settings.store, root=settings.root, read_only=True)
    try:
        with db:
            yield db
    finally:
        tell_notes(db)


def saves(db: Engine) -> bool:
    """Whether what an engine computes is for others after it."""
    return db.store is not None and not db.store.read_only


def kept(db: Engine, *, in_order: bool, what: str = "everything computed is kept") -> str:
    """What became of the work of an engine that was ended, be it before it could save all; `what` if not."""
    if not saves(db):
        return "nothing is saved"
    whole = in_order and not db._core.unsaved.disk_full
    return what if whole else "what was committed is kept"


def check_store(settings: Settings) -> None:
    """Raise `StoreError` when nothing was ever stored here (E2)."""
    from engine.errors import StoreError

    if not has_store(settings):
        raise StoreError(
            store=settings.store,
            cause="nothing was stored here yet",
            hint="Run a query first: engine run MODULE:QUERY. Or name the store with --store.",
        )


def has_store(settings: Settings) -> bool:
    """Whether there is anything at the store's place, or may be; what it is, opening finds out."""
    try:
        os.stat(settings.store / "store.db")
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return os.path.exists(settings.store)
    except OSError:  # nobody lets us look
        return True
    return True


def tell_notes(db: Engine) -> None:
    """What the engine wants people to know."""
    from engine.cli.output import tell
    from engine.message import escaped

    for note in db.notes():
        tell("note: " + "\n".join(map(escaped, note.split("\n"))))
