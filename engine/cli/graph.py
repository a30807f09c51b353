"""`engine graph`: questions about the code of a Python project. One subcommand asks one query.

Invariants
    G1  An answer is what the query gives; what people see besides are lines of source, looked up at the end.
    G2  Every answer says why it is one: the way on which it was found, or what the row says.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click

from engine.cli.output import tell
from engine.cli.questions import Asker, asked, located, named, shown, written
from engine.errors import UnknownSymbol
from engine.message import escaped

DEPTH: Final = click.option(
    "--depth",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Steps; 0: any number.",
)

EPILOG: Final = """\b
Examples:
  engine graph definitions greet               where it is defined
  engine graph callers app/core.py:run         who calls it (a plain name will do if it is the only one)
  engine graph callers Shape.area --depth 0    and who calls these, any number of steps, each with its way
  engine graph path main save                  how one refers to the other
  engine graph affected --since main --tests   which tests a branch can break
A symbol is PATH:QUALIFIED, or a plain, qualified or dotted name that only one definition has.
"""


@click.group("graph", epilog=EPILOG, short_help="Ask who calls, imports, overrides what in a Python project.")
def command() -> None:
    """Ask about the code of the Python project below the root: who calls, imports, overrides what."""


@command.command("summary")
@asked
def summary(ask: Asker) -> Iterable[str]:
    """The project in numbers."""
    found = ask("code_graph")
    return [f"{name}: {value}" for name, value in found.items()]


@command.command("broken")
@asked
def broken(ask: Asker) -> Iterable[str]:
    """Files that cannot be read as a whole, and why. What can be read of them counts in all answers."""
    errors = {path: ask("parse_error", path) for path in ask("broken_files")}
    ask.answer = [{"path": path, **error} for path, error in errors.items()]
    places = [f"{path}:{one['line']}" if one["line"] else path for path, one in errors.items()]
    reads = ", for Python " + ".".join(platform.python_version_tuple()[:2])  # newer syntax is an error for it
    causes = [one["message"] + reads * (one["kind"] == "syntax") for one in errors.values()]
    return [f"{place}  {cause}" for place, cause in zip(places, causes, strict=True)]


@command.command("definitions")
@click.argument("name")
@click.option("--starting", is_flag=True, help="All names that begin so.")
@asked
def definitions(ask: Asker, name: str, starting: bool) -> Iterable[str]:
    """Where a name is defined. NAME is plain ("area"), qualified ("Shape.area"), dotted, or a symbol."""
    if ":" in name:
        found = ask("definitions_at", name)
    elif starting:
        found = ask("definitions_starting", name)
    else:
        found = named(ask("definitions_of", name.rpartition(".")[2]), name)
    ask.answer = found
    symbols = [f"{one['path']}:{one['definition']['qualified']}" for one in found]
    kinds = [one["definition"]["kind"] for one in found]
    return [f"{place}  {kind}" for place, kind in zip(located(ask, symbols), kinds, strict=True)]


@command.command("references")
@click.argument("symbol")
@click.option("--from", "outwards", is_flag=True, help="What it refers to, resolved or not.")
@click.option("--possible", is_flag=True, help="Uses of its name on something that is not known.")
@asked
def references(ask: Asker, symbol: str, outwards: bool, possible: bool) -> Iterable[str]:
    """What refers to a symbol."""
    if possible:
        found = ask("possible_references", symbol.rpartition(":")[2])
    else:
        found = ask("references_from" if outwards else "references_to", ask.symbol(symbol))
    places = located(ask, [row["source"] for row in found])
    return [
        f"{place}  {row['usage']} {row['name']}" + (f" -> {_meaning(row)}" if outwards else "")
        for place, row in zip(places, found, strict=True)
    ]


@command.command("callers")
@click.argument("symbol")
@DEPTH
@asked
def callers(ask: Asker, symbol: str, depth: int) -> Iterable[str]:
    """Who calls a symbol, nearest first, each with its way."""
    return _reached(ask, ask("callers", ask.symbol(symbol), str(depth)))


@command.command("callees")
@click.argument("symbol")
@DEPTH
@asked
def callees(ask: Asker, symbol: str, depth: int) -> Iterable[str]:
    """What a symbol calls, nearest first, each with its way."""
    return _reached(ask, ask("callees", ask.symbol(symbol), str(depth)))


@command.command("path")
@click.argument("source")
@click.argument("target")
@asked
def path(ask: Asker, source: str, target: str) -> Iterable[str]:
    """A shortest way on which one symbol refers to another."""
    steps = ask("path_between", ask.symbol(source), ask.symbol(target))
    places = located(ask, [step["source"] for step in steps])
    return [f"{place}  {written(step)}" for place, step in zip(places, steps, strict=True)]


@command.command("imports")
@click.argument("file")
@DEPTH
@asked
def imports(ask: Asker, file: str, depth: int) -> Iterable[str]:
    """Which files of the project a file imports."""
    return _files(ask("dependencies", ask.project_file(file), str(depth)))


@command.command("importers")
@click.argument("file")
@DEPTH
@asked
def importers(ask: Asker, file: str, depth: int) -> Iterable[str]:
    """Which files import a file."""
    return _files(ask("dependents", ask.project_file(file), str(depth)))


@command.command("cycles", short_help="Groups of files that import each other.")
@asked
def cycles(ask: Asker) -> Iterable[str]:
    """Groups of files that import each other while they are imported."""
    return [" ".join(one) for one in ask("import_cycles")]


@command.command("dead")
@click.option("--public", is_flag=True, help="Also what others outside of the project may use.")
@asked
def dead(ask: Asker, public: bool) -> Iterable[str]:
    """Definitions that nothing refers to. `engine graph verdict SYMBOL` says why one is not among them."""
    found = ask("dead_definitions", str(public).lower())
    places = located(ask, [one["symbol"] for one in found])
    return [f"{place}  {one['kind']}: {one['reason']}" for place, one in zip(places, found, strict=True)]


@command.command("verdict")
@click.argument("symbol")
@asked
def verdict(ask: Asker, symbol: str) -> Iterable[str]:
    """Whether a definition is used, and how that is known."""
    found = ask("verdicts.where", f"symbol={ask.symbol(symbol)}")
    return [f"{one['symbol']}  {one['kind']}: {one['verdict']}, {one['reason']}" for one in found]


@command.command("hierarchy", short_help="What a class inherits from, and what inherits from it.")
@click.argument("symbol")
@asked
def hierarchy(ask: Asker, symbol: str) -> Iterable[str]:
    """What a class inherits from, in the order of its attributes, and what inherits from it."""
    wanted = ask.symbol(symbol)
    order, below = ask("resolution_order", wanted), ask("subclasses", wanted)
    ask.answer = {"order": order, "subclasses": below}
    if not below and len(order["classes"]) == 1:
        _check_class(ask, wanted, wanted, "no class")
    above = [f"above  {place}" for place in located(ask, order["classes"][1:])]
    others = [f"above  {detail} ({outcome})" for outcome, detail in order["others"]]
    return [*above, *others, *(f"below  {place}" for place in located(ask, below))]


@command.command("overrides", short_help="What takes the place of a method in subclasses.")
@click.argument("symbol")
@click.option("--over", is_flag=True, help="What it overrides itself.")
@asked
def overrides(ask: Asker, symbol: str, over: bool) -> Iterable[str]:
    """What takes the place of a method or class attribute in subclasses, also by what they mix in."""
    wanted = ask.symbol(symbol)
    found = ask("overridden" if over else "overrides", wanted)
    if not found:
        _check_class(ask, wanted.rpartition(".")[0], wanted, "no method or attribute of a class")
    several = [one["over" if over else "definition"] for one in found]
    return located(ask, [f"{one['path']}:{one['qualified']}" for one in several])


@command.command("affected", short_help="What a change of files can affect, also which tests.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--since", metavar="COMMIT", help="The files that differ from a commit of git.")
@click.option("--tests", is_flag=True, help="Only files of tests, one a line: for `pytest $(...)`.")
@click.option(
    "--depth", type=click.IntRange(min=0), default=0, metavar="N", help="Steps; 0, the default: any."
)
@asked
def affected(ask: Asker, files: tuple[str, ...], since: str | None, tests: bool, depth: int) -> Iterable[str]:
    """Files, definitions and tests that a change of FILEs can affect, each with its way.

    A folder stands for all Python files below it.
    """
    if bool(files) == (since is not None):
        raise click.UsageError("Name the files that changed, or a commit with --since.")
    changed = ask.changed_since(since) if since is not None else tuple(_changed(ask, files))
    found = ask("affected_files" if tests else "affected", ask.as_argument(changed), str(depth))
    ask.answer = {"changed": changed, **found}
    unknown = "not Python, so nobody knows who reads it"
    if tests:
        if found["unknown"]:
            tell(f"{unknown}: {escaped(shown(found['unknown']))}")
        return [one["symbol"] for one in found["tests"]]
    parts: list[str] = []
    for title in ("files", "definitions", "tests", "likely"):
        parts += [f"{title}:", *(f"  {line}" for line in _files(found[title]))]
    parts += [f"{unknown}: {name}" for name in found["unknown"]]
    return parts


# -- for people ----------------------------------------------------------------------------------


def _changed(ask: Asker, names: Iterable[str]) -> Iterator[str]:
    """The files that somebody means who says what changed. A wrong path would be an answer without tests."""
    for name in names:
        path = ask.file(name)
        if os.path.isabs(path) or path.partition("/")[0] == "..":
            tell(f"{escaped(name)} is not below the root: what it affects is not known")
        elif os.path.isdir(ask.settings.root / path):
            below = (
                ask("project_files.where") if path == "." else ask("project_files.starting", f"path={path}/")
            )
            yield from [one["path"] for one in below] or [path]  # which is told to be no Python
        else:
            if not os.path.lexists(ask.settings.root / path):
                tell(f"there is no file {escaped(name)} now: it counts as removed")
            yield path


def _check_class(ask: Asker, symbol: str, wanted: str, what: str) -> None:
    """That a symbol is a class: else the question makes no sense, and nothing found is no answer."""
    answer = ask.answer
    if not any(one["definition"]["kind"] == "class" for one in ask("definitions_at", symbol)):
        raise UnknownSymbol(symbol=wanted, cause=f"it is {what}")
    ask.answer = answer


def _meaning(row: dict[str, Any]) -> str:
    return str(row["target"] or f"{row['outcome']}: {row['detail']}")


def _reached(ask: Asker, found: list[dict[str, Any]]) -> Iterable[str]:
    places = located(ask, [one["symbol"] for one in found])
    return [f"{place}  {_way(one)}" for place, one in zip(places, found, strict=True)]


def _files(found: list[dict[str, Any]]) -> Iterable[str]:
    return [f"{one['symbol']}  {_way(one)}".rstrip() for one in found]


def _way(one: dict[str, Any]) -> str:
    shown: Callable[[dict[str, Any]], str] = written
    return ", ".join(map(shown, one["steps"]))
