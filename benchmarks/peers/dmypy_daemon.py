"""dmypy, for reference: a daemon that checks the types of the same files. Another job, so there is no answer.

It keeps its state in the memory of a process that stays; the memory and the processor time are those of its
client alone. Files that do not parse are left out, because mypy stops at the first of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.job import content, crawl
from benchmarks.peers.launching import LAUNCHER
from benchmarks.peers.peer import Run, Script

SETTINGS = """\
[mypy]
mypy_path = {root}
namespace_packages = True
explicit_package_bases = True
cache_dir = {state}/cache
"""
TYPE_ERRORS = 256  # status 1, as wait4 tells it: it checked everything, and found some


class Daemon(Script):
    """Started by the first build, ended by `close`."""

    def __init__(self) -> None:
        super().__init__("dmypy (types, a daemon)", __name__, needs="mypy", most_files=10_000)
        self._status = ""

    def prepare(self, root: str, state: str) -> None:
        Path(state).mkdir()
        self._status = f"{state}/status.json"

    def build(self, root: str, state: str) -> Run:
        sound = sorted(path for path in crawl(root) if _parses(root, path))
        broken = sorted(crawl(root).keys() - sound)
        skipped = [
            f"[mypy-{path.removesuffix('.py').replace('/', '.')}]\nfollow_imports = skip" for path in broken
        ]
        Path(state, "mypy.ini").write_text("\n".join([SETTINGS.format(root=root, state=state), *skipped, ""]))
        Path(state, "files").write_text("\n".join(f"{root}/{path}" for path in sound))
        command = [sys.executable, "-m", "mypy.dmypy", "--status-file", self._status]
        done = LAUNCHER.run(
            [
                *command,
                "run",
                "--",
                "--config-file",
                f"{state}/mypy.ini",
                "--no-error-summary",
                f"@{state}/files",
            ],
            root,
        )
        if done.status not in (0, TYPE_ERRORS):
            raise RuntimeError(done.output)
        return Run(done.seconds, done.processor, done.memory, None)

    def close(self) -> None:
        if self._status and Path(self._status).exists():
            command = [sys.executable, "-m", "mypy.dmypy", "--status-file", self._status, "stop"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _parses(root: str, path: str) -> bool:
    try:
        compile(content(root, path).decode(), path, "exec")
    except (SyntaxError, ValueError):
        return False
    return True


PEERS = (Daemon(),)
