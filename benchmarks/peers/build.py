"""Build: a program by this engine. Not where its queries are: workers import those by name (`ours`)."""

from __future__ import annotations

import gc
import sys

from benchmarks.peers.ours import index
from benchmarks.peers.peer import tell
from engine import Engine


def main(root: str, state: str, processes: str = "0") -> None:
    """One build."""
    with Engine(state, root=root, processes=int(processes)) as db:
        tell(db.get(index))
    gc.freeze()  # as the command `engine` does: else Python looks for garbage as it ends


if __name__ == "__main__":
    main(*sys.argv[1:])
