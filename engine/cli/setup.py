"""Commands about the command line itself: config, completion."""

from __future__ import annotations

from typing import Any

import click

from engine.cli.session import as_json, places

CONFIG = """\b
Examples:
  engine config                  the settings that hold here
  engine config --show-origin    and where each of them was made
  ENGINE_WORKERS=4 engine config --show-origin --json
"""

COMPLETION = """\b
Examples:
  engine completion bash >> ~/.bashrc
  engine completion zsh  >> ~/.zshrc
  engine completion fish >  ~/.config/fish/completions/engine.fish
"""


@click.command("config", epilog=CONFIG)
@click.option("--show-origin", is_flag=True, help="Say where each value comes from.")
@as_json
@places
def config(show_origin: bool, json_: bool, **options: Any) -> None:
    """Show the settings.

    From weak to strong: defaults, [tool.engine] in pyproject.toml, engine.toml, ENGINE_... variables,
    flags. The project is the first directory upwards with one of the two files.
    """
    from engine.cli.output import table, tell, write, write_json
    from engine.cli.session import settings_of

    settings = settings_of(options)
    rows = [(name, _plain(value), origin) for name, value, origin in settings.rows()]
    if json_:
        found = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        write_json({"settings": found, "files": [str(file) for file in settings.files]})
    elif show_origin:
        write(table((name, _text(value), origin) for name, value, origin in rows))
    else:
        write(table((name, _text(value)) for name, value, _ in rows))
    for name in settings.ignored:
        tell(f"note: {name} is not a setting, and is ignored")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return value if isinstance(value, int | dict) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name}={size}" for name, size in value.items()]
    if isinstance(value, list):
        return ", ".join(value) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value)


@click.command(
    "completion", epilog=COMPLETION, short_help="Print the script by which a shell completes commands."
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands and options."""
    from engine.cli.completing import script
    from engine.cli.output import write

    write(script(shell).strip("\n").split("\n"))
