"""Questions: everything that is asked of a code graph, so that two of them can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from engine import Engine
from engine.reader import whole_of
from engine.rules import python

TABLES: dict[str, Any] = {
    "project_files": python.project_files,
    "definitions": python.definitions,
    "bindings": python.bindings,
    "imports": python.imports,
    "bases": python.bases,
    "references": python.references,
    "verdicts": python.verdicts,
}


def digests(db: Engine) -> dict[str, object]:
    """A digest of each table: settled as a whole, nothing looked up."""
    return {name: db.get(whole_of(table)) for name, table in TABLES.items()}


def whole(db: Engine) -> dict[str, object]:
    """What is said of the project as a whole."""
    return {
        "code_graph": db.get(python.code_graph),
        "import_graph": db.get(python.import_graph),
        "import_cycles": db.get(python.import_cycles),
        "broken_files": db.get(python.broken_files),
        "python_files": db.get(python.python_files),
        "dead_definitions": db.get(python.dead_definitions, True),
        "entry_points": db.get(python.entry_points),
    }


def of_file(db: Engine, path: str) -> dict[str, object]:
    """What is said of one file, there or not."""
    return {
        f"{path} facts": db.get(python.facts, path),
        f"{path} spans": db.get(python.spans, path),
        f"{path} chunks": db.get(python.chunks, path),
        f"{path} parse_error": db.get(python.parse_error, path),
        f"{path} module_of": db.get(python.module_of, path),
        f"{path} import_targets": db.get(python.import_targets, path),
        f"{path} importers": db.get(python.importers, path),
        f"{path} dependents": db.get(python.dependents, path),
        f"{path} dependencies": db.get(python.dependencies, path),
        f"{path} affected": db.get(python.affected, (path,)),
        f"{path} definitions": db.get(python.definitions.of, path),
        f"{path} references": db.get(python.references.of, path),
    }


def of_symbol(db: Engine, symbol: str) -> dict[str, object]:
    """What is said of one symbol "path:qualified", there or not."""
    path, _, qualified = symbol.rpartition(":")
    owner, _, name = qualified.rpartition(".")
    found: dict[str, object] = {
        f"{symbol} definitions_at": db.get(python.definitions_at, symbol),
        f"{symbol} definitions_of": db.get(python.definitions_of, name),
        f"{symbol} references_to": db.get(python.references_to, symbol),
        f"{symbol} references_from": db.get(python.references_from, symbol),
        f"{symbol} possible": db.get(python.possible_references, name),
        f"{symbol} callers": db.get(python.callers, symbol, 0),
        f"{symbol} callees": db.get(python.callees, symbol, 3),
        f"{symbol} verdicts": db.get(python.verdicts.where, symbol=symbol),
    }
    if owner:
        found[f"{symbol} overrides"] = db.get(python.overrides, symbol)
        found[f"{symbol} overridden"] = db.get(python.overridden, symbol)
        found[f"{symbol} order"] = db.get(python.resolution_order, f"{path}:{owner}")
        found[f"{symbol} member"] = db.get(python.member, f"{path}:{owner}", name)
        found[f"{symbol} subclasses"] = db.get(python.subclasses, f"{path}:{owner}")
    elif name:
        found[f"{symbol} lookup"] = db.get(python.lookup, path, name)
    return found


def answers(db: Engine, paths: Sequence[str], symbols: Sequence[str]) -> dict[str, object]:
    """All of it."""
    found = {**digests(db), **whole(db)}
    for path in paths:
        found.update(of_file(db, path))
    for symbol in symbols:
        found.update(of_symbol(db, symbol))
    for first, second in pairwise(symbols):
        found[f"{first} to {second}"] = db.get(python.path_between, first, second)
    return found
