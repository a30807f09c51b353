"""The command line: one command, one call. Commands are imported when they are asked for.

Nothing of the library imports this package; it alone knows click, and only `progress` knows rich.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from engine import __version__

COMMANDS: Final = {  # name -> module:attribute, in the order of the help text
    "run": "run:command",
    "watch": "watch:command",
    "graph": "graph:command",
    "why": "look:why",
    "deps": "look:deps",
    "rdeps": "look:rdeps",
    "status": "look:status",
    "db": "look:db",
    "changes": "changes:command",
    "search": "search:command",
    "verify": "check:verify",
    "audit": "check:audit",
    "forget": "keep:forget",
    "gc": "keep:gc",
    "config": "setup:config",
    "completion": "setup:completion",
}

EPILOG = """\b
Exit codes:
  0    fine
  1    a query failed; verify or audit found a difference
  2    the request is wrong: unknown query, bad arguments, bad module, bad configuration
  3    a bug in the engine
  73   the store cannot be used: not there, not private, not writable, no space
  75   the store is in use by another process
  76   the store was written by a newer version, or is not a store
  130  interrupted; what was computed is kept (129 after SIGHUP, 143 after SIGTERM)
"""


class Commands(click.Group):
    """A group whose commands live in modules that are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"engine.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click; an unknown command is told with the one that was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # late: only a misspelt command needs it

            close = get_close_matches(name, COMMANDS, n=1)
            meant = f" Did you mean {close[0]}?" if close else f" There are: {', '.join(COMMANDS)}."
            if ":" in name:
                meant = f" To compute a query: engine run {name}"
            raise click.UsageError(f"There is no command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, "-V", "--version", message="engine %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Incremental computation: queries that run again only when what they read really changed."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def invoke(arguments: list[str]) -> None:
    """Run one command; whatever ends it is raised."""
    with group.make_context("engine", arguments) as context:
        group.invoke(context)
