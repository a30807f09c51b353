"""Commands that change the store: forget, gc."""

from __future__ import annotations

from typing import Any

import click

from engine.cli.session import as_json, places

FORGET = """\b
Examples:
  engine forget 'rules:*'            every key of the module rules
  engine forget "rules:lines('a*"    keys of one query whose argument starts with a
"""

GC = """\b
Examples:
  engine gc            delete what no requested key depends on
  engine gc --json
"""

BUSY = "Wait for it to end. If it is a watch: end it with Ctrl-C."


@click.command("forget", epilog=FORGET)
@click.argument("pattern")
@as_json
@places
def forget(pattern: str, json_: bool, **options: Any) -> None:
    """Let keys run again when they are next needed.

    PATTERN is compared with keys as they are displayed; * stands for any text, ? for one character.
    Values that come out equal are still cut off.
    """
    from engine.cli.look import load_quietly
    from engine.cli.output import tell, write, write_json
    from engine.cli.session import check_store, settings_of, writing
    from engine.errors import StoreFull

    settings = settings_of(options)
    check_store(settings)
    load_quietly(settings)
    with writing(settings, hint=BUSY) as db:
        count = db.forget(pattern)
        revision = db.revision
        if db._core.unsaved.disk_full:  # the engine has only noted it: its own answers are right
            raise StoreFull(store=settings.store, cause="what was forgotten could not be saved")
    if json_:
        write_json({"pattern": pattern, "forgotten": count, "revision": revision})
    else:
        write([f"{count} key{'' if count == 1 else 's'} forgotten"])
        if not count:
            tell("note: PATTERN has to fit all of a key as it is displayed: MODULE:QUERY(ARGUMENTS)")


@click.command("gc", epilog=GC, short_help="Delete what nobody needs, and give back the space.")
@as_json
@places
def gc(json_: bool, **options: Any) -> None:
    """Delete what no key that somebody asked for depends on, and give back the space."""
    from attrs import asdict

    from engine.cli.output import size, write, write_json
    from engine.cli.session import check_store, settings_of, writing

    settings = settings_of(options)
    check_store(settings)
    with writing(settings, hint=BUSY) as db:
        collected = db.gc()
    if json_:
        write_json(asdict(collected))
        return
    lines = [
        f"deleted {collected.deleted} of {collected.deleted + collected.kept} nodes",
        f"{size(collected.bytes_before)} before, {size(collected.bytes_after)} now",
    ]
    write(lines)
