"""Commands that look at what is stored: why, deps, rdeps, status, db. They open the store for reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from engine.cli.session import as_json, places

if TYPE_CHECKING:
    from engine import Key
    from engine.settings import Settings

KEYS = """\b
KEY is what is displayed, in quotes, or MODULE:QUERY and its arguments:
  engine {0} "rules:lines('a.py')"
  engine {0} rules.py:lines a.py
  engine {0} rules.py:lines a.py --json
"""


def a_key(command: Any) -> Any:
    """The arguments KEY [ARGS]..., and where the project is."""
    for decorate in (places, as_json, click.argument("args", nargs=-1, metavar="[ARGS]...")):
        command = decorate(command)
    return click.argument("key")(command)


@click.command("why", epilog=KEYS.format("why"))
@a_key
def why(key: str, args: tuple[str, ...], json_: bool, **options: Any) -> None:
    """Say why a key ran last, or why it did not run. Computes nothing."""
    from attrs import asdict

    from engine.cli.output import table, write, write_json
    from engine.cli.session import reading, settings_of
    from engine.errors import escaped

    settings = settings_of(options)
    asked = named_key(key, args, settings)
    with reading(settings) as db:
        answer = db.why(asked[0], *asked[1])
    if json_:
        write_json({"why": asdict(answer), "text": str(answer)})
        return
    lines = [escaped(str(answer))]
    if answer.state != "unknown":
        lines += table(
            (
                ("state", answer.state + (", it failed" if answer.failed else "")),
                ("changed", f"R{answer.changed_at}"),
                ("verified", f"R{answer.verified_at}"),
                ("took", f"{answer.microseconds / 1000:.1f} ms"),
            ),
            indent="  ",
        )
        steps = [(f"R{link.changed_at}", link.key, link.reason) for link in answer.chain]
        lines += ["because", *table(steps, indent="  ")] if steps else []
    write(lines)


@click.command("deps", epilog=KEYS.format("deps"))
@a_key
def deps(key: str, args: tuple[str, ...], json_: bool, **options: Any) -> None:
    """List what a key read when it last ran, in order."""
    _neighbours("dependencies", key, args, json_, options)


@click.command("rdeps", epilog=KEYS.format("rdeps"))
@a_key
def rdeps(key: str, args: tuple[str, ...], json_: bool, **options: Any) -> None:
    """List the keys that read a key, sorted."""
    _neighbours("dependents", key, args, json_, options)


def _neighbours(which: str, key: str, args: tuple[str, ...], json_: bool, options: dict[str, Any]) -> None:
    from engine.cli.output import tell, write, write_json
    from engine.cli.session import reading, settings_of

    settings = settings_of(options)
    query, values = named_key(key, args, settings)
    with reading(settings) as db:
        names: list[str] = getattr(db, which)(query, *values)
        about = db.why(query, *values)
    known = about.state != "unknown"
    if json_:
        write_json({"key": about.key, "known": known, which: names})
        return
    if not known:
        tell(f"{about.key} was never computed")
    write(names)


@click.command("status")
@as_json
@places
def status(json_: bool, **options: Any) -> None:
    """Show the state of the store: revision, nodes, what waits to be checked, the last changes."""
    from engine.cli.output import write, write_json
    from engine.cli.session import has_store, settings_of

    settings = settings_of(options)
    if not has_store(settings):
        if json_:
            write_json({"store": str(settings.store), "exists": False})
        else:
            write([f"{settings.store}: nothing was stored here yet"])
        return
    found = _status(settings)
    if json_:
        write_json(found)
    else:
        write(_status_lines(found))


def _status(settings: Settings) -> dict[str, Any]:
    from engine.cli.session import reading

    with reading(settings) as db:
        store = db.store
        assert store is not None
        statistics = store.statistics()
        changes = store.revisions(10)
        return {
            "store": str(settings.store),
            "root": str(settings.root),
            "exists": True,
            "revision": statistics.revision,
            "nodes": statistics.rows["node"],
            "inputs": statistics.rows["input"],
            "queries": statistics.rows["query"],
            "suspects": len(store.state.suspects) // 4,  # packed ids of four bytes
            "bytes": sum(statistics.files.values()),
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


@click.command("db")
@click.option("--schema", is_flag=True, help="Print the tables, with what each column means.")
@as_json
@places
def db(schema: bool, json_: bool, **options: Any) -> None:
    """Show what the store holds: tables, sizes, nodes by query. It is an SQLite file: look yourself."""
    from engine.cli.output import write, write_json
    from engine.cli.session import check_store, reading, settings_of

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
        found = engine.store.statistics().as_dict()
    if json_:
        write_json(found)
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


def named_key(text: str, args: tuple[str, ...], settings: Settings) -> tuple[Any, tuple[Any, ...]]:
    """What to give to `Engine.why`: a key; or, where its module cannot be loaded, a name and arguments."""
    from engine.cli.arguments import (
        free_values,
        key_of_displayed,
        key_of_texts,
        literals,
        split_displayed,
    )
    from engine.errors import BadModule, UnknownQuery
    from engine.modules import find_defined, load_query

    displayed = None if args else split_displayed(text)
    name = displayed[0] if displayed else text
    load_quietly(settings)
    query = find_defined(name)
    try:
        query = query or load_query(name, settings)
    except (BadModule, UnknownQuery) as error:
        values = literals(*displayed) if displayed else free_values(args)
        if not _is_stored(name, settings):
            raise
        from engine.cli.output import tell

        tell(f"note: {name} could not be loaded, so its code is not compared: {error.headline}")
        return name, values
    key: Key[Any] = key_of_displayed(query, displayed[1]) if displayed else key_of_texts(query, args)
    return key, ()


def load_quietly(settings: Settings) -> None:
    """Load the configured rule modules; one that fails costs its names only, with a note."""
    from engine.cli.output import tell
    from engine.errors import EngineError
    from engine.modules import load_module

    for text in settings.rules:
        try:
            load_module(text, settings)
        except EngineError as error:
            tell(f"note: {error}")


def _is_stored(name: str, settings: Settings) -> bool:
    from engine.store import open_store

    with open_store(settings.store, read_only=True) as store:
        return any(row.name == name for row in store.queries())
