"""Commands that look at what is stored: why, deps, rdeps, status, db. They open the store for reading."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.session import as_json, by_name, places

if TYPE_CHECKING:
    from engine import Engine, Key, Why
    from engine.settings import Settings

KEYS = """\b
KEY is what is displayed, in quotes, or MODULE:QUERY and its arguments:
  engine {0} "rules:lines('a.py')"
  engine {0} rules.py:lines a.py
  engine {0} rules.py:lines -a path=a.py --json
"""
NEIGHBOURS: Final = {"deps": "dependencies", "rdeps": "dependents"}


def a_key(command: Any) -> Any:
    """The arguments KEY [ARGS]..., also by name, and where the project is."""
    for decorate in (places, as_json, by_name, click.argument("args", nargs=-1, metavar="[ARGS]...")):
        command = decorate(command)
    return click.argument("key")(command)


@click.command("why", epilog=KEYS.format("why"))
@a_key
def why(key: str, args: tuple[str, ...], named: tuple[str, ...], json_: bool, **options: Any) -> None:
    """Say why a key ran last, or why it did not run. Computes nothing."""
    from engine.cli import remote
    from engine.cli.output import write, write_json
    from engine.cli.session import reading, settings_of

    settings = settings_of(options)
    found = remote.look("why", key, args, named, settings)
    if found is None:
        asked = named_key(key, args, named, settings)
        with reading(settings) as db:
            found = why_document(db.why(asked[0], *asked[1]))
    if json_:
        write_json(found)
    else:
        write(_why_lines(found["text"], found["why"]))


def why_document(answer: Why) -> dict[str, Any]:
    """What is known of a key, for JSON."""
    from attrs import asdict

    return {"why": asdict(answer), "text": str(answer)}


def _why_lines(text: str, answer: dict[str, Any]) -> Iterable[str]:
    from engine.cli.output import table
    from engine.message import escaped

    yield escaped(text)
    if answer["state"] == "unknown":
        return
    yield from table(
        (
            ("state", answer["state"] + (", it failed" if answer["failed"] else "")),
            ("changed", f"R{answer['changed_at']}"),
            ("verified", f"R{answer['verified_at']}"),
            ("took", f"{answer['microseconds'] / 1000:.1f} ms"),
            *([("error", answer["error"] or "not stored; engine run tells it")] if answer["failed"] else ()),
        ),
        indent="  ",
    )
    steps = [(f"R{link['changed_at']}", link["key"], link["reason"]) for link in answer["chain"]]
    if steps:
        yield "because"
        yield from table(steps, indent="  ")


@click.command("deps", epilog=KEYS.format("deps"))
@a_key
def deps(**options: Any) -> None:
    """List what a key read when it last ran, in order."""
    _neighbours("deps", **options)


@click.command("rdeps", epilog=KEYS.format("rdeps"))
@a_key
def rdeps(**options: Any) -> None:
    """List the keys that read a key, sorted."""
    _neighbours("rdeps", **options)


def _neighbours(
    which: str, key: str, args: tuple[str, ...], named: tuple[str, ...], json_: bool, **options: Any
) -> None:
    from engine.cli import remote
    from engine.cli.output import tell, write, write_json
    from engine.cli.session import reading, settings_of

    settings = settings_of(options)
    found = remote.look(which, key, args, named, settings)
    if found is None:
        query, values = named_key(key, args, named, settings)
        with reading(settings) as db:
            found = neighbours(db, which, query, *values)
    if json_:
        write_json(found)
        return
    if not found["known"]:
        tell(f"{found['key']} was never computed")
    write(found[NEIGHBOURS[which]])


def neighbours(db: Engine, which: str, query: Any, *values: Any) -> dict[str, Any]:
    """What a key read ("deps"), or who read it ("rdeps"), for JSON."""
    names: list[str] = getattr(db, NEIGHBOURS[which])(query, *values)
    about = db.why(query, *values)
    return {"key": about.key, "known": about.state != "unknown", NEIGHBOURS[which]: names}


@click.command("status", short_help="Show the state of the store, and of the watch that has it.")
@as_json
@places
def status(json_: bool, **options: Any) -> None:
    """Show the state of the store: revision, nodes, what waits to be checked, the last changes.

    And of the watch that keeps it up to date, if there is one.
    """
    from engine.cli import remote
    from engine.cli.output import write, write_json
    from engine.cli.session import has_store, settings_of

    settings = settings_of(options)
    watch = remote.status(settings)
    if not has_store(settings):
        if json_:
            write_json({"store": str(settings.store), "exists": False, "watch": watch})
        else:
            write([f"{settings.store}: nothing was stored here yet", *_watch_lines(watch)])
        return
    found = {**_status(settings), "watch": watch}
    if json_:
        write_json(found)
    else:
        write([*_status_lines(found), *_watch_lines(watch)])


def _status(settings: Settings) -> dict[str, Any]:
    from engine.cli.session import reading

    with reading(settings) as db:
        store = db.store
        assert store is not None
        totals = store.totals()
        changes = store.revisions(10)
        return {
            "store": str(settings.store),
            "root": str(settings.root),
            "exists": True,
            "revision": store.state.revision,
            "nodes": totals.nodes,
            "inputs": totals.inputs,
            "queries": totals.queries,
            "suspects": len(store.state.suspects) // 4,  # packed ids of four bytes
            "bytes": totals.bytes,
            "revisions": [
                {"number": row.number, "at": row.at, "changed": row.changed, "note": row.note}
                for row in changes
            ],
        }


def _status_lines(found: dict[str, Any]) -> Iterable[str]:
    import time

    from engine.cli.output import size, table

    yield from table(
        (
            ("store", f"{found['store']} ({size(found['bytes'])})"),
            ("root", found["root"]),
            ("revision", found["revision"]),
            ("nodes", f"{found['nodes']}, {found['inputs']} of them observed inputs"),
            ("queries", found["queries"]),
            ("suspects", found["suspects"]),
        )
    )
    if found["revisions"]:
        yield "last revisions"
        yield from table(
            (
                (
                    f"R{row['number']}",
                    time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at"])),
                    row["note"],
                )
                for row in found["revisions"]
            ),
            indent="  ",
        )


def _watch_lines(watch: dict[str, Any] | None) -> Iterable[str]:
    import time

    from engine.message import escaped
    from engine.watch.progress import Progress, ago, status_lines

    if watch is None:
        return
    yield f"watch: process {watch.get('pid')}, started {ago(time.time(), watch.get('since'))}"
    if "reason" in watch:
        yield f"  {escaped(watch.get('state'))}: {escaped(watch['reason'])}"
        return
    yield f"  keeps right {', '.join(map(escaped, watch.get('watched', ())))}"
    failures: dict[str, str] = watch.get("failures", {})
    yield from (f"  failing: {escaped(key)}: {escaped(error)}" for key, error in failures.items())
    try:
        lines = status_lines(Progress.from_dict(watch))
    except ValueError:
        return  # a watch of another version says other things
    yield from (f"  {line}" for line in lines)


@click.command("db")
@click.option("--schema", is_flag=True, help="Print the tables, with what each column means.")
@click.option("--export", metavar="FILE", help="Copy the rows of all tables to a new SQLite file.")
@as_json
@places
def db(schema: bool, export: str | None, json_: bool, **options: Any) -> None:
    """Show what the store holds: tables, sizes, nodes by query. It is an SQLite file: look yourself."""
    from engine.cli.output import table, tell, write, write_json
    from engine.cli.session import check_store, reading, settings_of

    if schema and export is not None:
        raise click.UsageError("--schema says what columns mean, --export copies rows: ask for one of them.")
    settings = settings_of(options)
    if schema:
        from engine.store.schema import text

        if json_:
            write_json({"tables": text()})
        else:
            write(text().rstrip("\n").split("\n"))
        return
    check_store(settings)
    with reading(settings) as engine:
        assert engine.store is not None
        if export is None:
            found = engine.store.statistics().as_dict()
        else:
            from engine.store.inspect import export as copy

            found = {"file": export, "rows": copy(engine.store, Path(export))}
    if json_:
        write_json(found)
    elif export is not None:
        write(table((f"{name}", f"{count} rows") for name, count in found["rows"].items()))
        if not found["rows"]:
            tell("note: the store has no tables of rows: the file is empty")
    else:
        write(_db_lines(found))


def _db_lines(found: dict[str, Any]) -> Iterable[str]:
    from engine.cli.output import size, table

    yield f"store {found['directory']}, version {found['version']}, revision {found['revision']}"
    yield "files"
    yield from table(((name, size(count)) for name, count in found["files"].items()), indent="  ")
    yield "tables"
    bytes_of = found["bytes"]
    yield from table(
        (
            (name, f"{count} rows", size(bytes_of[name]) if name in bytes_of else "")
            for name, count in found["rows"].items()
        ),
        indent="  ",
    )
    yield "nodes by query"
    yield from table(((count, name) for name, count in found["nodes_of"].items()), indent="  ")


# -- keys --------------------------------------------------------------------------------------


def named_key(
    text: str, args: tuple[str, ...], named: tuple[str, ...], settings: Settings
) -> tuple[Any, tuple[Any, ...]]:
    """What to give to `Engine.why`: a key; or, where its module cannot be loaded, a name and arguments."""
    from engine.cli.arguments import free_values, literals, split_displayed
    from engine.errors import BadModule, UnknownQuery

    load_quietly(settings)
    try:
        return loaded_key(text, args, named, settings), ()
    except (BadModule, UnknownQuery) as error:
        displayed = None if args else split_displayed(text)
        name = displayed[0] if displayed else text
        values = literals(*displayed) if displayed else free_values(args)
        if named or not _is_stored(name, settings):  # which parameter has a name, only its code knows
            raise
        from engine.cli.output import tell

        tell(f"note: the code of {name} is not compared: {error}")
        return name, values


def loaded_key(text: str, args: tuple[str, ...], named: tuple[str, ...], settings: Settings) -> Key[Any]:
    """The key that is displayed so, or `MODULE:QUERY` with its arguments. Its module is loaded if need be."""
    from engine.cli.arguments import key_of_displayed, key_of_texts, split_displayed
    from engine.errors import BadArguments
    from engine.modules.load import find_defined, load_query

    displayed = None if args or named else split_displayed(text)
    name = displayed[0] if displayed else text
    query = find_defined(name) or load_query(name, settings)
    if displayed:
        return key_of_displayed(query, displayed[1])
    try:
        return key_of_texts(query, args, named)
    except BadArguments as error:
        if not args and not named:  # where several keys are given, each is one word
            error.hint = f"""Write it with its arguments, in quotes: "{name}('a', 3)"."""
        raise


def load_quietly(settings: Settings) -> None:
    """Load the configured rule modules; one that fails costs its names only, with a note."""
    from engine.cli.output import tell
    from engine.message import EngineError
    from engine.modules.load import load_module

    for text in settings.rules:
        try:
            load_module(text, settings)
        except EngineError as error:
            tell(f"note: {error}")


def _is_stored(name: str, settings: Settings) -> bool:
    from engine.store import open_store

    with open_store(settings.store, read_only=True) as store:
        return any(row.name == name for row in store.queries())
