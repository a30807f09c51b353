"""Completing: what a shell offers while a command is typed: commands, options, and else the names of files.

Most arguments begin with a file. A shell that asks us for them completes no file names by itself.
"""

from __future__ import annotations

from typing import Final, NoReturn

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from engine.cli import group

VARIABLE: Final = "_ENGINE_COMPLETE"


class _Files(ShellComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """See click. Its own, or where it has none, a word that makes the shell look for files."""
        return super().get_completions(args, incomplete) or [CompletionItem(incomplete, type="file")]


class _Bash(_Files, BashComplete):
    pass


class _Zsh(_Files, ZshComplete):
    pass


class _Fish(_Files, FishComplete):
    pass


SHELLS: Final = {kind.name: kind for kind in (_Bash, _Zsh, _Fish)}


def script(shell: str) -> str:
    """What makes a shell ask us."""
    return SHELLS[shell](group, {}, "engine", VARIABLE).source()


def complete() -> NoReturn:
    """Answer the shell that asks, and end."""
    for kind in SHELLS.values():
        add_completion_class(kind)
    group.main(prog_name="engine", complete_var=VARIABLE)
