"""SCons: nodes for each summary and each resolution, in one process; a scanner says what is read."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import actions
from benchmarks.peers.peer import Script, tell

SCONSTRUCT = """\
from benchmarks.peers.scons_rules import declare
declare(Environment, SConsignFile, Decider, Scanner, {root!r}, {state!r})
"""


def declare(environment: Any, database: Any, decide: Any, scanner: Any, root: str, state: str) -> None:
    """The rules; SCons calls this from the SConstruct file."""
    database(f"{state}/scons")
    decide("content-timestamp")
    env = environment(tools=[])
    paths = actions.listed(state)
    there = frozenset(paths)

    def scan(node: Any, env: Any, path: Any) -> list[Any]:
        made = os.path.relpath(str(node), f"{state}/sum")
        own = actions.summary_from(state, made) if made in there else None  # not so: the list of files
        several = actions.candidates(made, own) if own is not None else []
        return [env.File(f"{state}/sum/{one}") for one in several if one in there and one != made]

    of_summaries = scanner(function=scan, name="summaries")

    def summarise(target: Any, source: Any, env: Any) -> None:
        actions.summarise(root, state, os.path.relpath(str(source[0]), root))

    def resolve(target: Any, source: Any, env: Any) -> None:
        actions.resolve(state, os.path.relpath(str(target[0]), f"{state}/res"))

    def join(target: Any, source: Any, env: Any) -> None:
        actions.make_index(state, paths)

    for path in paths:
        env.Command(f"{state}/sum/{path}", f"{root}/{path}", summarise)
        env.Command(
            f"{state}/res/{path}", [f"{state}/sum/{path}", f"{state}/files"], resolve,
            source_scanner=of_summaries,
        )  # fmt: skip
    made = [f"{state}/res/{path}" for path in paths]
    env.Default(env.Command(f"{state}/index", [f"{state}/files", *made], join))


def main(root: str, state: str) -> None:
    """One build."""
    scons: Any = importlib.import_module("SCons.Script.Main")  # it has no types
    os.makedirs(state, exist_ok=True)
    before = set(actions.listed(state)) if os.path.exists(f"{state}/files") else set()
    paths = actions.list_files(root, state)
    actions.forget(state, before.difference(paths))
    Path(state, "SConstruct").write_text(SCONSTRUCT.format(root=root, state=state))
    sys.argv = ["scons", "-s", "-f", f"{state}/SConstruct", "-C", state]
    try:
        scons.main()
    except SystemExit as ended:
        if ended.code:
            raise
    tell(actions.answer_of(state))


PEERS = (Script("SCons", __name__, needs="SCons", most_files=10_000),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
