"""Questions: ask queries of the code graph one after another, by the watch or by an engine opened for it.

Invariants
    Q1  All queries of one command are answered in one place: by the watch as long as it answers, else here.
    Q2  A symbol that somebody writes is found before it is asked about; several or none is an error that says
        which.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.session import as_json, places, settings_of, tell_roots
from engine.errors import UnknownFile, UnknownSymbol

if TYPE_CHECKING:
    from engine import Engine
    from engine.cli.remote import Alone, Answered
    from engine.settings import Settings

RULES: Final = "engine.rules.python"
SHOWN: Final = 8  # of several names, in what is told


class Asker:
    """Answers queries of the code graph as JSON says them."""

    def __init__(self, settings: Settings, stack: ExitStack, *, in_memory: bool, quiet: bool) -> None:
        self.settings = settings
        self._quiet = quiet
        self._in_memory = in_memory
        self.answer: Any = None  # of the whole command; by default that of the last query
        self.revision = 0
        self._stack = stack
        self._db: Engine | None = None

    def __call__(self, query: str, *args: str) -> Any:
        """The value of a query of `engine.rules.python`, with arguments as on a command line."""
        from engine.cli.remote import Alone, value

        name = f"{RULES}:{query}"
        if self._db is None:

            def ask() -> Answered | Alone:
                return value(name, args, self.settings, quiet=self._quiet)

            found = Alone() if self._in_memory else ask()
            answered = self._open(found, ask) if isinstance(found, Alone) else found
            if answered is not None:
                self.answer, self.revision = answered
                return self.answer
        self.answer = self._here(name, args)
        return self.answer

    def symbol(self, text: str) -> str:
        """The symbol that somebody means. Raises `UnknownSymbol`."""
        if ":" in text:
            path, _, qualified = text.rpartition(":")
            if not qualified:
                return f"{self.project_file(path)}:"
            symbol = f"{self.file(path)}:{qualified}"
            if self("definitions_at", symbol):
                return symbol
            raise UnknownSymbol(symbol=symbol, hint=self._close(qualified))
        plain = text.rpartition(".")[2]
        sites = self("definitions_of", plain)
        meant = named(sites, text)
        several = sorted({f"{one['path']}:{one['definition']['qualified']}" for one in meant or sites})
        if len(several) == 1 and meant:
            return several[0]
        if several:
            raise UnknownSymbol(
                name=text,
                cause="several definitions have this name"
                if meant
                else f"what is called {plain} is elsewhere",
                are=shown(several),
                hint="Say which: PATH:QUALIFIED.",
            )
        raise UnknownSymbol(name=text, hint=self._close(plain))

    def file(self, text: str) -> str:
        """A path relative to the root, of one relative to the working directory."""
        root = Path(os.path.realpath(self.settings.root))
        whole = Path(os.path.abspath(text))
        for candidate in (whole, Path(os.path.realpath(whole))):
            if candidate.is_relative_to(root) and (
                os.path.exists(candidate) or not os.path.exists(root / text)
            ):
                return candidate.relative_to(root).as_posix()
        return Path(os.path.normpath(text)).as_posix()  # relative to the root already, or gone

    def project_file(self, text: str) -> str:
        """The Python file of the project that somebody means. Raises `UnknownFile`."""
        path = self.file(text)
        if self("project_files.exists", f"path={path}"):
            return path
        name = path.rpartition("/")[2]
        known = [one["path"] for one in self("project_files.where")]
        same = [one for one in known if one.rpartition("/")[2] == name]
        close = same[:SHOWN] or get_close_matches(path, known, n=3)
        raise UnknownFile(file=path, hint=f"Did you mean {' or '.join(close)}?" if close else None)

    def changed_since(self, commit: str) -> tuple[str, ...]:
        """The files that differ from a commit of git."""
        from engine.rules.python import changed_since

        return changed_since(self.settings.root, commit)

    def as_argument(self, value: Sequence[str]) -> str:
        """A tuple of texts as an argument."""
        return json.dumps(list(value))

    def _close(self, name: str) -> str | None:
        plain = name.rpartition(".")[2]
        known = (
            {one["definition"]["name"] for one in self("definitions_starting", plain[:1])} if plain else set()
        )
        close = get_close_matches(plain, sorted(known), n=3)
        return f"Did you mean {' or '.join(close)}?" if close else None

    def _open(self, alone: Alone, ask: Callable[[], Answered | Alone]) -> Answered | None:
        """Open an engine; None: that was done. Else what a watch answered that has just begun."""
        from engine.cli.remote import engine_unless_watched
        from engine.cli.session import writing
        from engine.errors import StoreInUse

        if self._in_memory:
            self._db = self._stack.enter_context(writing(self.settings, in_memory=True))
            return None
        try:
            opened = engine_unless_watched(
                self.settings, self._stack, alone, ask, patience=0.0, quiet=self._quiet
            )
        except StoreInUse:
            opened = self._stack.enter_context(writing(self.settings, read_only=True, quiet=self._quiet))
        if isinstance(opened, tuple):
            return opened
        self._db = opened
        return None

    def _here(self, name: str, args: tuple[str, ...]) -> Any:
        from engine.cli.arguments import key_to_run
        from engine.cli.output import plain
        from engine.cli.run import compute
        from engine.modules.load import load_query

        assert self._db is not None
        key = key_to_run(load_query(name, self.settings), args, ())
        value, _ = compute(self._db, key, self._quiet)
        self.revision = self._db.revision
        return plain(value)


def asked(function: Callable[..., Iterable[str]]) -> Callable[..., None]:
    """Make a command of a function that asks, and gives lines for people."""

    @click.option("--no-store", is_flag=True, help="Compute everything in memory.")
    @as_json
    @click.option("-q", "--quiet", is_flag=True, help="No progress.")
    @places
    @functools.wraps(function)
    def command(json_: bool, no_store: bool, quiet: bool, **options: Any) -> None:
        from engine.cli.output import tell, write, write_json
        from engine.message import escaped

        settings = settings_of(options)
        tell_roots(settings)
        with ExitStack() as stack:
            ask = Asker(settings, stack, in_memory=no_store, quiet=quiet)
            lines = list(function(ask, **options))
        if json_:
            question = function.__name__
            write_json({"question": question, "revision": ask.revision, "answer": ask.answer})
        else:
            write(escaped(line) for line in lines)
            if not lines:
                tell("nothing was found")

    return command


def shown(several: Sequence[str]) -> str:
    """The first of several names, and how many more there are."""
    more = f", and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
    return ", ".join(several[:SHOWN]) + more


def named(sites: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The definitions that somebody may mean who writes `text`: with their module, if none without it."""
    return [one for one in sites if _ends_with(one["definition"]["qualified"], text)] or [
        one for one in sites if _ends_with(_dotted(one), text)
    ]


def _dotted(site: dict[str, Any]) -> str:
    """As code that imports it would name it, from the root on."""
    place = site["path"].rpartition(".")[0].removesuffix("/__init__")
    return f"{place.replace('/', '.')}.{site['definition']['qualified']}"


def _ends_with(name: str, text: str) -> bool:
    return name == text or name.endswith(f".{text}")


def located(ask: Asker, symbols: Sequence[str]) -> list[str]:
    """`path:line qualified` of symbols; the answer of the command stays what it was."""
    if not symbols:
        return []
    answer = ask.answer
    lines = ask("lines_of", ask.as_argument(symbols))
    ask.answer = answer
    found = []
    for symbol, line in zip(symbols, lines, strict=True):
        path, _, qualified = symbol.rpartition(":")
        place = f"{path}:{line}" if line else path
        found.append(f"{place} {qualified}".rstrip())
    return found


def written(step: dict[str, Any]) -> str:
    """One step of a way."""
    names = f" as {step['name']}" if step["name"] and step["usage"] == "import" else ""
    return f"{_short(step['source'])} {_verb(step['usage'])} {_short(step['target'])}{names}"


def _short(symbol: str) -> str:
    path, colon, qualified = symbol.rpartition(":")
    return symbol if not colon else qualified or path


def _verb(usage: str) -> str:
    verbs = {
        "call": "calls", "read": "reads", "write": "writes", "base": "inherits from", "import": "imports",
        "decorator": "is decorated by", "overrides": "overrides", "conftest": "uses the fixtures of",
        "fixture": "asks for", "instance": "has the method", "inside": "holds", "setup": "runs with",
        "class": "is a test of",
    }  # fmt: skip
    return verbs.get(usage, usage)
