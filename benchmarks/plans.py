"""Plans: which edits are made in a repository that nobody generated; its own graph says what is a hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

from benchmarks import rewriting
from benchmarks.mutations import BROKEN, Edit, module_name, mutate
from engine import Engine
from engine.rules import python

Plan = list[Edit]  # made one after the other, then undone together
HUBS = 30  # most imported files in which functions and classes are looked for


def of(db: Engine, tree: Mapping[str, str]) -> Iterator[Plan]:
    """The edits of the acceptance tests. Those that find no place are left out."""
    chance = Random(1)
    hubs = most_imported(db, tree)
    hub = hubs[0]
    ordinary = hubs[len(hubs) // 2]
    for kind in ("comment", "docstring", "blank lines"):
        found = mutate(tree, kind, chance, hub)
        if found is not None:
            yield [found]
    for kind, path in (("signature", hub), ("body", hub), ("comment", ordinary), ("body", ordinary)):
        found = mutate(tree, kind, chance, path)
        if found is not None:
            yield [found]
    yield from _renamed(db, tree, hubs[:HUBS], chance)
    yield from _exported(tree, hub, ordinary)
    yield from _overridden(db, tree, hubs[:HUBS])
    for kind in ("stub", "shadow", "module to package"):
        found = mutate(tree, kind, chance, ordinary)
        if found is not None:
            yield [found]
    broken = Edit("syntax error", hub, ((hub, tree[hub] + BROKEN),))
    yield [broken, Edit("repair", hub, ((hub, tree[hub]),))]
    storm = mutate(tree, "storm", chance)
    if storm is not None:
        yield [storm]
    yield [Edit("delete", hub, ((hub, None),))]


def most_imported(db: Engine, tree: Mapping[str, str]) -> list[str]:
    """The files that others import, those with most importers first; modules that can be edited."""
    count = Counter(edge.target for edge in db.get(python.import_graph))
    fit = [path for path, _ in count.most_common() if rewriting.parsed(tree.get(path, "(")) is not None]
    return [path for path in fit if tree[path].strip() and not path.endswith(("__init__.py", ".pyi"))]


def _renamed(db: Engine, tree: Mapping[str, str], hubs: list[str], chance: Random) -> Iterator[Plan]:
    """The function of a hub that is used most, under another name."""
    uses = {
        (path, row.name): db.get(python.references.count, target=row.symbol)
        for path in hubs
        for row in db.get(python.definitions.of, path)
        if row.kind == "function" and row.symbol == f"{path}:{row.name}"
    }
    for path, name in sorted(uses, key=lambda one: (-uses[one], one)):
        text = rewriting.function_renamed(tree[path], chance, name)
        if text is not None:
            yield [Edit("rename function", path, ((path, text),), f"{name}, {uses[path, name]} uses")]
            return


def _exported(tree: Mapping[str, str], hub: str, user: str) -> Iterator[Plan]:
    """A name is imported in vain; then the hub has it."""
    dotted = module_name(hub)
    if dotted is None:
        return
    name = "engine_was_here"
    use = f"{tree[user]}\n\ndef use_{name}():\n    from {dotted} import {name}\n    return {name}()\n"
    more = f"{tree[hub]}\n\ndef {name}():\n    return 1\n"
    yield [Edit("import in vain", user, ((user, use),)), Edit("new export", hub, ((hub, more),), name)]


def _overridden(db: Engine, tree: Mapping[str, str], hubs: list[str]) -> Iterator[Plan]:
    """A class that inherits a method that is used gets one of its own."""
    several = [
        (-db.get(python.references.count, target=row.symbol), path, row.symbol, row.name)
        for path in hubs
        for row in db.get(python.definitions.of, path)
        if row.kind == "method" and not row.name.startswith("__")
    ]
    for _, _, symbol, name in sorted(several):
        for below in db.get(python.subclasses, symbol.rpartition(".")[0]):
            path, _, owner = below.rpartition(":")
            if "." in owner or db.get(python.definitions_at, f"{below}.{name}"):
                continue
            text = rewriting.method_added(tree[path], owner, name)
            if text is not None:
                yield [Edit("override", path, ((path, text),), f"{owner}.{name} over {symbol}")]
                return
