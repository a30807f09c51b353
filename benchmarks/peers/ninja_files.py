"""Ninja: a step for each summary and each resolution, by persistent workers; `restat` stops at equal files.

Ninja cannot depend on a file that is not there. So every resolution depends on the list of files as well,
and all of them are made anew when a file comes or goes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from benchmarks.peers import actions, serving
from benchmarks.peers.peer import Script, tell

RULES = """\
builddir = {state}
rule summarise
  command = {client} {state}/socket summarise {root} {state} $path
  restat = 1
rule resolve
  command = {client} {state}/socket resolve {root} {state} $path
  depfile = {state}/res/$path.d
  deps = gcc
  restat = 1
rule index
  command = {client} {state}/socket index {root} {state}
"""


class Ninja(Script):
    """Needs a C compiler for the client of the workers."""

    def lacking(self) -> str:
        if program() is None:
            return "ninja is not installed"
        return "" if serving.compiler() else "no C compiler"

    def prepare(self, root: str, state: str) -> None:
        serving.compiled(state)


def program() -> str | None:
    """Where ninja is."""
    beside = os.path.join(os.path.dirname(sys.executable), "ninja")
    return beside if os.path.exists(beside) else shutil.which("ninja")


def rules(root: str, state: str, paths: list[str]) -> str:
    """The text of build.ninja."""
    lines = [RULES.format(root=root, state=state, client=f"{state}/client")]
    for path in paths:
        lines += [f"build {state}/sum/{path}: summarise {root}/{path}", f"  path = {path}"]
    lines.append("build summaries: phony " + " ".join(f"{state}/sum/{path}" for path in paths))
    for path in paths:
        needs = f"{state}/sum/{path} | {state}/files || summaries"
        lines += [f"build {state}/res/{path}: resolve {needs}", f"  path = {path}"]
    made = " ".join(f"{state}/res/{path}" for path in paths)
    lines.append(f"build {state}/index: index {made} | {state}/files")
    return "\n".join([*lines, ""])


def main(root: str, state: str) -> None:
    """One build: the rules if need be, then ninja."""
    before = set(actions.listed(state)) if os.path.exists(f"{state}/files") else set()
    paths = actions.list_files(root, state)
    if set(paths) != before:
        actions.forget(state, before.difference(paths))
        actions.write(f"{state}/build.ninja", rules(root, state, paths).encode())
    ninja = program()
    assert ninja is not None
    with serving.served(f"{state}/socket"):
        subprocess.run([ninja, "--quiet", "-f", f"{state}/build.ninja", f"{state}/index"], check=True)
    tell(actions.answer_of(state))


PEERS = (Ninja("ninja", __name__),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
