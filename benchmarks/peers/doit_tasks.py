"""doit: a task for each summary and each resolution, in one process; files count by their digests.

What a resolution depends on is calculated by a task of its own, from the file's summary and the list of
files.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.peers import actions
from benchmarks.peers.peer import Script, tell


def tasks(root: str, state: str, paths: list[str]) -> Iterator[dict[str, Any]]:
    """All of them."""
    there = frozenset(paths)
    for path in paths:
        made = f"{state}/sum/{path}"
        yield {
            "name": f"sum {path}", "file_dep": [f"{root}/{path}"], "targets": [made],
            "actions": [partial(_done, actions.summarise, root, state, path)],
        }  # fmt: skip
        yield {
            "name": f"needs {path}", "file_dep": [made, f"{state}/files"],
            "actions": [partial(needed, state, path, there)],
        }  # fmt: skip
        yield {
            "name": f"res {path}", "calc_dep": [f"job:needs {path}"], "targets": [f"{state}/res/{path}"],
            "actions": [partial(_done, actions.resolve, state, path)],
        }  # fmt: skip
    yield {
        "name": "index", "targets": [f"{state}/index"],
        "file_dep": [f"{state}/files", *(f"{state}/res/{path}" for path in paths)],
        "actions": [partial(_done, actions.make_index, state, paths)],
    }  # fmt: skip


def needed(state: str, path: str, there: frozenset[str]) -> dict[str, list[str]]:
    """The summaries that the resolution of a file may read."""
    own = actions.summary_from(state, path)
    assert own is not None
    several = [one for one in actions.candidates(path, own) if one in there and one != path]
    return {"file_dep": [f"{state}/sum/{one}" for one in (path, *several)]}


def _done(action: Any, *arguments: Any) -> bool:
    action(*arguments)
    return True


def main(root: str, state: str) -> None:
    """One build."""
    loading: Any = importlib.import_module("doit.cmd_base")  # it has no types
    running: Any = importlib.import_module("doit.doit_cmd")
    os.makedirs(state, exist_ok=True)
    before = set(actions.listed(state)) if os.path.exists(f"{state}/files") else set()
    paths = actions.list_files(root, state)
    actions.forget(state, before.difference(paths))
    loader = loading.ModuleTaskLoader({
        "DOIT_CONFIG": {"dep_file": f"{state}/doit.db", "verbosity": 2, "reporter": "zero"},
        "task_job": lambda: tasks(root, state, paths),
    })  # fmt: skip
    status = running.DoitMain(loader).run(["job:index"])
    if status:
        sys.exit(status)
    tell(actions.answer_of(state))


PEERS = (Script("doit", __name__, needs="doit", most_files=10_000),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
