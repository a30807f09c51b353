"""Names: what the names that code reads stand for now, and what its imports bring.

Invariants
    N1  A label is a name, made unique by the order in which the walk meets objects. That order is the
        sorted order of names, so two processes agree on it. Parts refer to each other by label: cycles need
        no care, and each object met has one label and one part.
    N2  A name that is missing counts as absent: binding it later changes the fingerprint.
    N3  What is not the project's is not followed: its name counts, and the version of what installed it.
    N4  An import inside a function body counts by the source of the modules, as they need not be loaded.
        Nothing is imported here, but for what the `lazy` of 3.15 put off: the name stands for what it brings.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import sys
import types
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from engine.code.origin import exists, file_of, is_compiled, origin, release, source_facts
from engine.code.reach import Chain, Import, digest_of, packed
from engine.code.shared import Added, Fill, Label, Of, Record, Shared
from engine.code.value import Values, words
from engine.script import module_name

PLACE = words("__file__ __path__ __cached__ __spec__ __loader__ __builtins__")
_VERSION = re.compile(r"[-#](?=[0-9a-f])")  # attrs-26.1.0


_LAZY = getattr(types, "LazyImportType", ())  # 3.15


def is_put_off(found: Any) -> bool:
    """Whether it stands for what a `lazy` import will bring when something reads the name."""
    return isinstance(found, _LAZY)


def brought(found: Any) -> Any:
    """What a name stands for, whether or not anything has read it yet."""
    if not is_put_off(found):
        return found
    try:
        return found.resolve()
    except Exception:  # whatever the module raises, it will raise where the code reads the name
        return None


def names_of(module: ModuleType, wanted: str = "") -> dict[str, Any]:
    """The names of a module, with submodules that `lazy import a.b` put off: the one of a name, or all.

    Whoever reads the attribute of the package imports them; until then there is nothing under that name.
    """
    scope, inside = vars(module), f"{module.__name__}."
    if wanted not in scope:
        put_off = {
            one.removeprefix(inside).partition(".")[0]
            for one in tuple(getattr(sys, "lazy_modules", ()))
            if one.startswith(inside)
        }
        for name in sorted(put_off - scope.keys()):
            if wanted in ("", name):
                with contextlib.suppress(Exception):  # as in `brought`
                    getattr(module, name)
    return scope


def as_imported(name: str) -> str:
    """A name in the running script as it would be called if the script were imported."""
    if not name.startswith("__main__"):
        return name
    rest = name.removeprefix("__main__")
    return module_name("__main__") + rest if rest[:1] in ("", ":", ".") else name


class Names(Values):
    """Reads names; `parts` are those met so far, each as name, kind and digest."""

    def __init__(self, project: Callable[[str], bool] | None, started: int, shared: Shared) -> None:
        super().__init__(started, shared)
        self.project = project
        self.parts: dict[str, tuple[str, str, bytes]] = {}
        self.labels: dict[object, bytes] = {}  # by id, or (id of a namespace, name)
        self.taken: collections.Counter[str] = collections.Counter()
        self.pending: collections.deque[tuple[object, Fill, str]] = collections.deque()
        self.met: list[tuple[str, object]] = []  # what has a label, with that

    def add(self, kind: str, name: str, data: bytes) -> None:
        name = as_imported(name)
        Added(f"{kind} {name}", (name, kind, digest_of(data))).again(self)

    def asks(self, several: Iterable[str]) -> None:
        """Code asks for what else counts for nothing, see `asked`."""
        for what in several:
            self.add("asks", what, b"")

    def label(self, identity: object, kind: str, name: str, fill: Fill) -> bytes:
        """The label of an object, whose part is made later; the same for the same `identity`."""
        found = self.labels.get(identity)
        if found is None:
            title = as_imported(name)
            self.taken[title] += 1
            unique = title if self.taken[title] == 1 else f"{title}#{self.taken[title]}"
            self.shared.keep.append(fill)
            found = self.labels[identity] = b"L" + f"{kind} {unique}".encode("utf-8", "surrogatepass")
            self.pending.append((identity, fill, unique))
            if isinstance(fill, Of):
                self.met.append((f"{kind} {unique}", fill.known))
        self.asked.append(Label(identity, kind, name, fill, found))
        return found

    def fill(self, identity: object, fill: Fill, unique: str) -> None:
        """Make the part of an object, unless another walk made it."""
        said, known = self.labels[identity], self.shared.parts.get(identity)
        self.asked = []
        if known is not None and known.said == said and self.replay(known):
            return
        self.asked, before = [], self.unshared
        fill(self, unique)
        if self.unshared == before:
            self.shared.parts[identity] = Record(said, self.asked)

    def replay(self, record: Record) -> bool:
        """See `Values.replay`."""
        return record.asked is not None and all(one.again(self) for one in record.asked)

    @abstractmethod
    def label_query(self, value: object, name: str) -> bytes:
        """The label of a query; its part is made at once."""

    def home(self, module: str, *, to_import: bool = False) -> str:
        """Where a module belongs: `project`, `engine`, `installed` or `stdlib`."""
        found = self.shared.homes.get((module, to_import))
        if found is None:
            # An object whose module is not loaded was made by exec(), or by namedtuple: it is followed.
            known = to_import or module in sys.modules
            found = origin(module) if known else "project"
            if self.project is not None and known and found != "engine":  # the core is never followed
                found = "project" if self.project(module) else found.replace("project", "installed")
            self.shared.homes[module, to_import] = found
        return found

    def outside(self, module: str, name: str, *, to_import: bool = False) -> bytes:
        """The label of something that is not followed: its name, and the version of what installed it."""
        home = self.home(module, to_import=to_import)
        if home in ("installed", "engine") or (home == "project" and is_compiled(module)):
            shipped = release(module)
            self.add("distribution", _VERSION.split(shipped)[0], shipped.encode())
        return b"O" + as_imported(f"{module}:{name}").encode("utf-8", "surrogatepass")

    def read(
        self,
        scope: Mapping[str, Any],
        builtins: Mapping[str, Any],
        chain: Chain,
        stored: frozenset[str] = frozenset(),
    ) -> tuple[bytes, object]:
        """What a name and the attributes read from it stand for now: its label, and itself."""
        where, name = str(scope.get("__name__", self.where)), chain[0]
        if name not in scope and name in builtins:
            scope, where = builtins, "builtins"
        elif name not in scope and name in stored:
            return b"own", None
        for following in (*chain[1:], None):
            if name not in scope:
                self.add("absent", f"{where}.{name}", b"")
                return packed(b"absent", (self.value(scope.get("__getattr__")),)), None
            found = brought(scope[name])
            if following is None or not isinstance(found, ModuleType):
                return self.named(scope, where, name, found), found
            scope, where, name = names_of(found, following), found.__name__, following
        raise AssertionError("the loop ends at its last name")

    def named(self, scope: Mapping[str, Any], where: str, name: str, found: object) -> bytes:
        if name in PLACE:
            return b"place"  # differs between machines; what is read there is the rule's to track
        label = self.labelled(found)
        if label is not None:
            return label
        if self.home(where) != "project":
            return self.outside(where, name)  # sys.argv is not a constant of the project

        def fill(walk: Names, unique: str) -> None:
            walk.where = where
            walk.add("value", unique, walk.value(found))

        return self.label((id(scope), name), "value", f"{where}.{name}", fill)

    def imported(self, item: Import, scope: Mapping[str, Any]) -> bytes:
        """An import inside a function body: the source of the modules, as they need not be loaded."""
        level, name, wanted = item
        package = scope.get("__package__") or str(scope.get("__name__", ""))
        if level:
            base = package.rsplit(".", level - 1)[0] if level > 1 else package
            name = f"{base}.{name}" if name else base
        steps = name.split(".")
        modules = [".".join(steps[: count + 1]) for count in range(len(steps))]
        if self.home(name, to_import=True) == "project":
            modules += [one for one in (f"{name}.{each}" for each in wanted) if exists(one)]
        return packed(b"import", map(self.source, modules))

    def source(self, module: str) -> bytes:
        if self.home(module, to_import=True) != "project":
            return self.outside(module, "", to_import=True)
        if not exists(module):
            self.add("absent", module, b"")
            return b"absent"
        facts, file = source_facts(module, self.started), file_of(module) or ""
        if facts is None:  # made by hand or typed into a session, or a folder without __init__.py
            loaded = sys.modules.get(module)
            return b"folder" if loaded is None or hasattr(loaded, "__path__") else self.value(loaded)
        package = module if os.path.basename(file).startswith("__init__.") else module.rpartition(".")[0]
        if module == "__main__":  # `python -m pkg.module`
            package = getattr(sys.modules[module], "__package__", None) or ""

        def fill(walk: Names, unique: str) -> None:
            imports = [walk.imported(one, {"__package__": package}) for one in facts.imports]
            walk.asks(facts.asks)
            walk.add("source", unique, packed(b"source", (facts.digest, *imports)))

        return self.label(("source", module), "source", module, Of(facts, fill))

    def module(self, module: ModuleType, name: str) -> None:
        """A module used as a value: all its names count."""
        self.where, scope = module.__name__, names_of(module)
        names = sorted(
            n for n in scope if not (n.startswith("__") and n.endswith("__")) or n == "__getattr__"
        )
        self.add(
            "module", name, packed(b"module", [n.encode() + self.read(scope, {}, (n,))[0] for n in names])
        )
