"""The code graph of a directory: run it, edit a file, run it again.

    python examples/04_codegraph.py DIRECTORY

The second run executes what the edit reached and reads the rest from DIRECTORY/.engine.
"""

import sys
from collections import Counter
from time import perf_counter

from engine import Engine
from engine.rules.python import broken_files, code_graph, import_cycles, import_graph


def main(directory: str) -> None:
    started = perf_counter()
    with Engine(f"{directory}/.engine", root=directory) as db:
        graph = db.get(code_graph)
        cycles, edges, broken = db.get(import_cycles), db.get(import_graph), db.get(broken_files)
        done = db.counts()

    print(f"{graph.files} files, {graph.definitions} definitions, {graph.references} references")
    print(f"imports: {graph.internal} internal, {graph.external} external, {graph.unresolved} unresolved")
    print(f"{graph.broken} files with errors", *broken[:5], sep="\n  ")
    print(f"{len(cycles)} import cycles", *(" <-> ".join(cycle[:6]) for cycle in cycles[:5]), sep="\n  ")
    imported = Counter(edge.target for edge in edges).most_common(5)
    print("most imported", *(f"{count:5} {path}" for path, count in imported), sep="\n  ")
    print(
        f"\n{done.executed} queries ran, {done.cut_off} of them cut off, in {perf_counter() - started:.2f} s"
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
