"""Shake: a rule for each summary and each resolution, by persistent workers; equal files stop it.

The rules are Haskell, `rules.hs`, and are compiled once. Files that are not there are dependencies as well.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.peers import actions, serving
from benchmarks.peers.peer import Script, tell


class Shake(Script):
    """Needs GHC with Shake, and a C compiler for the client of the workers."""

    def lacking(self) -> str:
        if not serving.compiler():
            return "no C compiler"
        return "" if has_shake() else "no GHC with the package shake"

    def prepare(self, root: str, state: str) -> None:
        serving.compiled(state)
        shutil.copy(rules(), f"{state}/rules")


@cache
def has_shake() -> bool:
    """Whether the rules can be compiled."""
    if shutil.which("ghc-pkg") is None:
        return False
    found = subprocess.run(
        ["ghc-pkg", "list", "--simple-output", "shake"], capture_output=True, text=True, check=False
    )
    return bool(found.stdout.strip())


@cache
def rules() -> str:
    """The compiled rules, for as long as this process lives."""
    place = tempfile.mkdtemp(prefix="engine-bench-shake-")
    atexit.register(shutil.rmtree, place)
    source = Path(__file__).parent / "rules.hs"
    command = [
        "ghc",
        "-O",
        "-threaded",
        "-rtsopts",
        "-v0",
        "-outputdir",
        place,
        "-o",
        f"{place}/rules",
        str(source),
    ]
    subprocess.run(command, check=True)
    return f"{place}/rules"


def main(root: str, state: str) -> None:
    """One build."""
    before = set(actions.listed(state)) if os.path.exists(f"{state}/files") else set()
    paths = actions.list_files(root, state)
    actions.forget(state, before.difference(paths))
    with serving.served(f"{state}/socket"):
        subprocess.run([f"{state}/rules", root, state, str(serving.WORKERS)], check=True)
    tell(actions.answer_of(state))


PEERS = (Shake("Shake", __name__),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
