"""The core of a language server: texts that are not saved yet, and problems told as they come and go.

    python examples/07_editor.py [FOLDER]

Each line that it reads is what an editor shows: {"path": "a.py", "text": "from b import c"}, with null for
the text where a file was closed. It writes the problems of an open file whenever they are others, whatever
was edited: this file, another one, or one on the disk.
"""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from typing import Any

from engine import Engine, Key, query
from engine.rules.files import exists, read_text
from engine.rules.python import parse
from engine.watch import Watch


@query
def defined(path: str) -> frozenset[str]:
    """The names that stand in a file: nobody can import another one from it."""
    kinds = ("name", "asname", "id")
    return frozenset(str(getattr(node, kind, "")) for node in ast.walk(parse(path).tree) for kind in kinds)


@query
def problems(path: str) -> tuple[str, ...]:
    parsed = parse(path)
    if parsed.error is not None:
        return (f"{parsed.error.line}: {parsed.error.message}",)
    found = []
    for node in parsed.tree.body:
        if not isinstance(node, ast.ImportFrom) or node.level:
            continue
        source = f"{node.module}.py"
        if exists(source) and parse(source).error is None:
            missing = {one.name for one in node.names} - defined(source) - {"*"}
            found += [f"{node.lineno}: no {name} in {source}" for name in sorted(missing)]
    return tuple(found)


def show(db: Engine, watch: Watch, path: str, text: str | None) -> None:
    """Takes a moment, whatever has to be computed for it: that is left to the watch."""
    if text is None:
        watch.remove(problems.key(path))
        with db.batch():
            db.reset(read_text.key(path))
            db.reset(exists.key(path))
        return
    with db.batch():
        db.set(read_text.key(path), text)
        db.set(exists.key(path), True)  # else nobody sees a file that was never saved
    watch.add(problems.key(path))


async def tell(db: Engine, watch: Watch) -> None:
    told: dict[Key[Any], Any] = {}
    async for _ in watch:  # whatever it says: what is known is got at once
        now = {key: await asyncio.to_thread(db.get, key) for key in watch.watched}
        for key, found in now.items():
            if told.get(key) != found:
                print(json.dumps({"path": key.args[0], "problems": found}), flush=True)
        told = now


async def main(folder: str) -> None:
    with Engine(None, root=folder) as db, db.watch() as watch:
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(tell(db, watch))
            while line := await asyncio.to_thread(sys.stdin.readline):
                said = json.loads(line)
                await asyncio.to_thread(show, db, watch, said["path"], said["text"])
            telling.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "."))
