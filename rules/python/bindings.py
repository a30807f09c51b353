"""Bindings: the table of what each name of a module, a class or a function is bound to by its own file.

Names are followed through it, one at a time: whoever asks for "lib.py:greet" depends on that name of that
file alone, also where it is not bound at all.

Invariants
    B1  Rows say what one file says, nothing of others.
    B2  A name may have several rows: a fallback in `except ImportError` binds it too. Which of them runs is
        not known here, so all count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve, frozen

from engine import table
from engine.rules.python.facts import Attribute, Facts, Import, facts
from engine.rules.python.project import project_files

IMPORTED, STAR, EXPORT, EXPORTS = "import", "star", "export", "exports"
ATTRIBUTE = "attribute"  # of instances
RENAMED = "fixture"
DYNAMIC = "dynamic"


@frozen
class Binding:
    """One thing that a name is bound to.

    symbol   "path:qualified" of the name
    kind     that of a definition, with its `ordinal`; "import"; "star" (of "path:*": a star import);
             "exports" (of "path:__all__": there is an `__all__` that can be read) and "export" (of
             "path:__all__[name]": it has that name); "attribute" (of "path:C.name": methods of the class
             assign it), a row for each value, one without where these are not known; "fixture" (of
             "path:@name": pytest gives one under that name, `value` is the function)
    module, member, level   of an import: `from ..module import member` has level 2; `member` is "" in
             `import module`, which binds its first part, if without `as`
    value    as in `facts.Definition`, of attributes as in `facts.Attribute`; "dynamic" for exports that are
             partly computed
    doubtful  the name hides nothing, see `facts.Facts`: all rows of it say the same
    """

    symbol: str
    kind: str
    ordinal: int = 0
    module: str = ""
    member: str = ""
    level: int = 0
    value: str = ""
    doubtful: bool = False


@table(each=project_files.column("path"), index=("symbol",))
def bindings(path: str) -> Iterable[Binding]:
    """What names are bound to. `bindings.where(symbol="lib.py:greet")`."""
    return bindings_of(path, facts(path))


def bindings_of(path: str, found: Facts) -> Iterator[Binding]:
    """The rows of one file."""
    doubtful = {f"{path}:{name}" for name in found.doubtful}
    for row in _said(path, found):
        yield evolve(row, doubtful=True) if row.symbol in doubtful else row


def _said(path: str, found: Facts) -> Iterator[Binding]:
    for one in found.definitions:
        yield Binding(f"{path}:{one.qualified}", one.kind, one.ordinal, value=one.value)
    for statement in found.imports:
        if statement.binds:
            yield binding_of(path, statement)
    for attribute in found.attributes:
        yield from attribute_of(path, attribute)
    yield from renamed_of(path, found)
    if found.exports is not None:
        yield Binding(f"{path}:__all__", EXPORTS, value=DYNAMIC if found.dynamic else "")
        for name in found.exports:
            yield Binding(f"{path}:__all__[{name}]", EXPORT)


def renamed_of(path: str, found: Facts) -> Iterator[Binding]:
    """Fixtures under the names that pytest gives them by."""
    for name, qualified in found.renamed:
        yield Binding(f"{path}:{name}", RENAMED, value=qualified)


def attribute_of(path: str, one: Attribute) -> Iterator[Binding]:
    """What methods bind an attribute of their instances to."""
    for at, value in enumerate(one.values or ("",)):
        yield Binding(f"{path}:{one.scope}.{one.name}", ATTRIBUTE, at, value=value)


def binding_of(path: str, statement: Import) -> Binding:
    """What one name of an import statement binds."""
    module, name, level = statement.module, statement.name, statement.level
    place = f"{path}:{statement.scope}." if statement.scope else f"{path}:"
    if statement.star:
        return Binding(f"{path}:*", STAR, 0, module, "", level)
    if name is not None:
        return Binding(place + (statement.alias or name), IMPORTED, 0, module, name, level)
    if statement.alias is not None:
        return Binding(place + statement.alias, IMPORTED, 0, module)
    top = module.partition(".")[0]
    return Binding(place + top, IMPORTED, 0, top)
