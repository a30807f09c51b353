"""The fingerprint of a query's own code: everything of the project that its function can reach.

Invariants
    C1  Equal fingerprints mean equal code: own code, defaults, closure cells, attributes, and what the
        names it reads stand for now, followed through the project's functions, classes and values.
    C2  Values are read at each call; only what never changes (the facts of a code object) is kept.
    C3  The bytes do not depend on the process, its hash seed, the folder of the project, or the order
        of imports. Comments, docstrings nobody reads, and line numbers do not count.
    C4  A query is represented by its name: the engine records calls to it while the caller runs.
    C5  What cannot be read by value is never left out. An object of an installed or standard type
        without canonical bytes (a compiled parser, a connection) is its type plus the source of the module
        that names it; without a source, it is good for this process only. Too deep a value is `BadQuery`.

Annotations: the annotations of a class count, with their text, for they make its fields. Those of a
function count only by the project classes they name, and so do the return annotations of queries that are
read: methods of a value run without their class being named in the code. A name that exists for type
checkers only is not followed.

Not seen: names computed at run time (`getattr(module, name)` counts the whole module;
`importlib.import_module(name)` counts nothing), and what a module imported inside a function body reads
from the environment while it is imported: that module counts by its source, loaded or not (C3).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field
from enum import Enum
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any

from attrs import frozen

from engine.code_reach import (
    STARTED_NS,
    Chain,
    Import,
    annotation_names,
    atom,
    constant,
    digest_of,
    exists,
    facts_of,
    file_of,
    origin,
    packed,
    release,
    source_facts,
)
from engine.errors import BadQuery

POLICIES = ("closure", "self", "version", "none")


@frozen(order=True)
class Part:
    """One thing a fingerprint covers: `kind` is function, class, value, module, source, query, ..."""

    name: str
    kind: str
    digest: bytes


def code_fingerprint(
    function: Callable[..., object],
    *,
    policy: str = "closure",
    version: str | int | None = None,
    project: Callable[[str], bool] | None = None,
) -> bytes:
    """16 bytes that change when the code of `function` does.

    `policy`: "closure" follows the project's functions, classes and values; "self" stays with the
    function's own code, defaults and closure; "version" looks at `version` alone; "none" at nothing.
    `version` always counts when given. `project` says which modules are followed, by their names.
    """
    parts = code_parts(function, policy=policy, version=version, project=project)
    return digest_of(packed(b"parts", (packed(b"", _line(part)) for part in parts)))


def code_parts(
    function: Callable[..., object],
    *,
    policy: str = "closure",
    version: str | int | None = None,
    project: Callable[[str], bool] | None = None,
) -> tuple[Part, ...]:
    """What `code_fingerprint` covers, sorted: two listings compared name what changed."""
    if policy not in POLICIES:
        raise BadQuery(policy=policy, hint=f"The code policies are {', '.join(POLICIES)}.")
    if policy == "version" and version is None:
        raise BadQuery(policy=policy, hint='Say which version it is: version="1".')
    if type(version) not in (str, int, bool, type(None)):
        raise BadQuery(f"version= is a text or a number, not {type(version).__name__}")
    if not callable(function):
        raise BadQuery(f"{type(function).__name__} is not callable")
    parts = []
    if version is not None:
        parts.append(Part("version", "version", digest_of(constant(version))))
    if policy in ("closure", "self"):
        walk = _Walk(project, follow=policy == "closure")
        try:
            parts += walk.all_from(function)
        except RecursionError:
            name = getattr(function, "__qualname__", "")
            raise BadQuery(
                query=name, hint="A value its code reads is nested too deeply to be part of a key."
            ) from None
    return tuple(sorted(parts))


def _line(part: Part) -> tuple[bytes, ...]:
    return part.name.encode("utf-8", "surrogatepass"), part.kind.encode(), part.digest


# Objects that only hold others: these attributes are all there is to them.
_HOLDERS: Mapping[Any, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords", "__dict__"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.singledispatchmethod: ("func", "dispatcher"),
    type(functools.cache(len)): ("__wrapped__",),
    MethodType: ("__func__", "__self__"),
    MethodWrapperType: ("__name__", "__self__"),
    range: ("start", "stop", "step"),
    slice: ("start", "stop", "step"),
    re.Pattern: ("pattern", "flags"),
    GenericAlias: ("__origin__", "__args__"),
    UnionType: ("__args__",),
    Field: ("name", "default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only"),
}
_DESCRIPTORS = (
    MethodDescriptorType,
    WrapperDescriptorType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
# Built-in types whose subclasses are read through the type itself: an override runs no user code here.
_CONTAINERS: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (collections.OrderedDict, lambda v: tuple(collections.OrderedDict.items(v))),
    (dict, lambda v: tuple(dict.items(v))),
    (list, lambda v: tuple(list.__iter__(v))),
    (tuple, lambda v: tuple(tuple.__iter__(v))),
    (set, lambda v: frozenset(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
    (str, str.__str__),
    (bytes, lambda v: bytes.__getitem__(v, slice(None))),
    (bytearray, bytes),
    (memoryview, bytes),
    (int, int.__int__),
    (float, float.__float__),
    (complex, lambda v: complex(v.real, v.imag)),
    (MappingProxyType, lambda v: tuple(v.items())),
    (BaseException, lambda v: v.args),
)
_BUILT_IN = frozenset((object, collections.defaultdict, *(kind for kind, _ in _CONTAINERS)))
_EXACT = frozenset((dict, list, tuple, set, frozenset))
_ATOMIC = frozenset((int, str, bytes, float, bool, type(None)))  # `repr` tells each of them apart


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Packages whose types say by `__reduce_ex__` all there is to their values.
_REDUCED = _words(
    "datetime decimal _decimal fractions uuid zoneinfo array types operator _operator collections ipaddress"
)
_STATELESS = _words("_thread threading logging _contextvars dataclasses")  # locks, loggers, sentinels
_PLACE = _words("__file__ __path__ __cached__ __spec__ __loader__ __builtins__")
_NOT_CODE = _PLACE | _words(
    """__module__ __doc__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__
    __annotations_cache__ _abc_impl __abstractmethods__ __protocol_attrs__ __non_callable_proto_members__
    __attrs_base_of_slotted__"""
)
_TYPING = sorted(
    _words(
        "__name__ _name __origin__ __args__ __forward_arg__ __supertype__ __value__ __bound__ __constraints__"
    )
)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement


class _Walk:
    """One walk from a function. Each object met gets a label, and later its part.

    Labels are names, made unique by the order in which the walk meets them; that order is the sorted order
    of names, so two processes agree on it. Parts refer to each other by label, so cycles need no care.
    """

    def __init__(self, project: Callable[[str], bool] | None, *, follow: bool) -> None:
        self.project = project
        self.follow = follow
        self.parts: dict[str, Part] = {}
        self.labels: dict[object, bytes] = {}  # by id, or (id of a namespace, name)
        self.taken: collections.Counter[str] = collections.Counter()
        self.pending: collections.deque[Callable[[], None]] = collections.deque()
        self.homes: dict[tuple[str, bool], str] = {}
        self.active: dict[int, int] = {}
        self.done: dict[int, bytes] = {}
        self.slots: dict[type, list[tuple[str, MemberDescriptorType]]] = {}
        self.loops = 0
        self.keep: list[object] = []  # ids stay valid while the walk lasts
        self.where = ""  # the module whose names are being read

    def all_from(self, function: Any) -> Iterable[Part]:
        python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        self.add("python", python, b"")
        if query_name(function) is not None:
            function = getattr(function, "__wrapped__", function)
        self.where = str(_get(function, "__module__") or "")
        inner = (_get(function, name) for name in ("__func__", "func", "__wrapped__", "__call__"))
        heads = (_get(one, "__func__") or one for one in (function, *inner))  # a bound __call__ has one
        own = next((one for one in heads if isinstance(one, FunctionType)), None)
        # The root counts by its code, wherever it lives; helpers of an installed rule by its version.
        root = b"" if own is None else self.label_function(own, own=True)
        self.add("root", str(_get(function, "__qualname__") or ""), root + self.value(function, own=True))
        while self.pending:
            self.pending.popleft()()
        self.keep.clear()  # what is kept refers to this walk: without the cycle, it is freed at once
        return self.parts.values()

    def add(self, kind: str, name: str, data: bytes) -> None:
        self.parts[f"{kind} {name}"] = Part(name, kind, digest_of(data))

    def label(self, identity: object, kind: str, name: str, fill: Callable[[str], None]) -> bytes:
        """The label of an object, whose part is made later; the same for the same `identity`."""
        found = self.labels.get(identity)
        if found is None:
            self.taken[name] += 1
            unique = name if self.taken[name] == 1 else f"{name}#{self.taken[name]}"
            self.keep.append(fill)
            found = self.labels[identity] = b"L" + f"{kind} {unique}".encode("utf-8", "surrogatepass")
            self.pending.append(lambda: fill(unique))
        return found

    def home(self, module: str, *, to_import: bool = False) -> str:
        """Where a module belongs: `project`, `engine`, `installed` or `stdlib`."""
        found = self.homes.get((module, to_import))
        if found is None:
            # An object whose module is not loaded was made by exec(), or by namedtuple: it is followed.
            found = origin(module) if to_import or module in sys.modules else "project"
            if self.project is not None and found != "engine":  # the core is never project code
                found = "project" if self.project(module) else found.replace("project", "installed")
            self.homes[module, to_import] = found
        return found

    def outside(self, module: str, name: str, *, to_import: bool = False) -> bytes:
        """The label of something that is not followed: its name, and the version of what installed it."""
        if self.home(module, to_import=to_import) in ("installed", "engine"):
            shipped = release(module)
            self.add("distribution", shipped.partition("=")[0], shipped.encode())
        return b"O" + f"{module}:{name}".encode("utf-8", "surrogatepass")

    # -- functions --------------------------------------------------------------------------------

    def label_named(
        self, value: object, kind: str, home: str, title: str, fill: Callable[[str], None], own: bool
    ) -> bytes:
        if self.home(home) != "project":
            return self.outside(home, title)
        if not (self.follow or own):
            return b"S" + title.encode("utf-8", "surrogatepass")
        return self.label(id(value), kind, title, fill)

    def label_function(self, function: FunctionType, *, own: bool = False) -> bytes:
        home = _home(function)
        name = f"{home}:{function.__qualname__}"
        if not own and self.home(home) != "project":
            return self.label_outside(function, home)
        if not own and not self.follow:
            return b"S" + name.encode("utf-8", "surrogatepass")
        return self.label(id(function), "function", name, lambda unique: self.function(function, unique))

    def label_outside(self, function: FunctionType, home: str) -> bytes:
        """An installed function: its name, plus what the project put into it (a decorator's wrapper)."""
        pieces = [self.outside(home, function.__qualname__)]
        registry = getattr(function, "registry", None)
        if home == "functools" and isinstance(registry, Mapping):  # singledispatch: its cells hold caches
            pieces += [
                self.value(kind) + self.value(one)
                for kind, one in sorted(registry.items(), key=lambda item: item[0].__qualname__)
            ]
        elif id(function) not in self.active and (function.__closure__ or hasattr(function, "__wrapped__")):
            self.active[id(function)] = len(self.active)
            pieces += [self.cell(cell) for cell in function.__closure__ or ()]
            pieces.append(self.value(getattr(function, "__wrapped__", None)))
            del self.active[id(function)]
        return pieces[0] if len(pieces) == 1 else packed(b"W", pieces)

    def function(self, function: FunctionType, name: str) -> None:
        facts, scope = facts_of(function.__code__), function.__globals__
        self.where = _home(function)
        pieces = [facts.digest, self.value(function.__defaults__), self.value(function.__kwdefaults__)]
        extra = vars(function)
        if extra:
            pieces += [
                self.value({k: v for k, v in extra.items() if k not in ("__wrapped__", "__query__")}),
                self.value(extra.get("__wrapped__"), own=not self.follow),
            ]
        if facts.reads_docs:
            pieces += (facts.docs, self.value(function.__doc__))
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            pieces.append(self.cell(cell, [chain for chain in facts.free if chain[0] == variable]))
        if self.follow:
            builtins: Mapping[str, Any] = _get(function, "__builtins__")
            for chain in facts.names:
                label, target = self.read(scope, builtins, chain, facts.stored)
                pieces += (".".join(chain).encode(), label)
                if facts.reads_docs:
                    pieces.append(self.value(_get(target, "__doc__")))
            pieces += [self.imported(one, scope) for one in facts.imports]
            pieces += self.annotated(function)
        self.add("function", name, packed(b"function", pieces))

    def cell(self, cell: CellType, chains: Sequence[Chain] = ()) -> bytes:
        try:
            held = cell.cell_contents
        except ValueError:  # not bound yet
            return b"empty"
        if isinstance(held, ModuleType) and chains and self.follow:
            return packed(b"cell", [self.read({chain[0]: held}, {}, chain)[0] for chain in chains])
        return self.value(held)

    def annotated(self, function: FunctionType, only: str | None = None) -> list[bytes]:
        """The project classes that the annotations name; `only="return"` for those of the result."""
        scope, annotate = function.__globals__, _get(function, "__annotate__")
        if isinstance(annotate, FunctionType):  # 3.14: evaluating them may raise, reading their code cannot
            found: Iterable[object] = map(".".join, facts_of(annotate.__code__).names)
        else:
            found = [one for name, one in function.__annotations__.items() if only in (None, name)]
        return sorted({label for one in found for label in self.classes_in(one, scope)})

    def classes_in(self, annotation: object, scope: Mapping[str, Any]) -> Iterator[bytes]:
        if isinstance(annotation, str):
            for chain in annotation_names(annotation):
                found = scope.get(chain[0])
                for attribute in chain[1:]:
                    found = vars(found).get(attribute) if isinstance(found, ModuleType) else found
                if not isinstance(found, str):
                    yield from self.classes_in(found, scope)
        elif isinstance(annotation, type):
            if self.home(annotation.__module__) == "project":
                yield self.value(annotation)
        elif annotation is not None:
            for inner in (_get(annotation, "__origin__"), *(_get(annotation, "__args__") or ())):
                if inner is not annotation:
                    yield from self.classes_in(inner, scope)

    # -- names --------------------------------------------------------------------------------------

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
            found = scope[name]
            if following is None or not isinstance(found, ModuleType):
                return self.named(scope, where, name, found), found
            scope, where, name = vars(found), found.__name__, following
        raise AssertionError("the loop ends at its last name")

    def named(self, scope: Mapping[str, Any], where: str, name: str, found: object) -> bytes:
        if name in _PLACE:
            return b"place"  # differs between machines; what is read there is the rule's to track
        label = self.labelled(found)
        if label is not None:
            return label
        if self.home(where) != "project":
            return self.outside(where, name)  # sys.argv is not a constant of the project

        def fill(unique: str) -> None:
            self.where = where
            self.add("value", unique, self.value(found))

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
        facts, file = source_facts(module), file_of(module) or ""
        if facts is None:  # made by hand or typed into a session, or a folder without __init__.py
            loaded = sys.modules.get(module)
            return b"folder" if loaded is None or hasattr(loaded, "__path__") else self.value(loaded)
        package = module if os.path.basename(file).startswith("__init__.") else module.rpartition(".")[0]

        def fill(unique: str) -> None:
            imports = [self.imported(one, {"__package__": package}) for one in facts.imports]
            self.add("source", unique, packed(b"source", (facts.digest, *imports)))

        return self.label(("source", module), "source", module, fill)

    def module(self, module: ModuleType, name: str) -> None:
        """A module used as a value: all its names count."""
        scope = vars(module)
        names = sorted(
            n for n in scope if not (n.startswith("__") and n.endswith("__")) or n == "__getattr__"
        )
        self.add(
            "module", name, packed(b"module", [n.encode() + self.read(scope, {}, (n,))[0] for n in names])
        )

    # -- classes and values -------------------------------------------------------------------------

    def labelled(self, value: Any, *, own: bool = False) -> bytes | None:
        """The label of a query, function, class or module, or of a part of the interpreter."""
        name = query_name(value)
        if name is not None:
            self.add("query", name, b"")
            inner = _get(value, "__wrapped__")
            known = self.annotated(inner, "return") if isinstance(inner, FunctionType) and self.follow else ()
            return packed(b"Q", (name.encode(), *known))
        if isinstance(value, FunctionType):
            return self.label_function(value, own=own)
        if isinstance(value, type):
            title, fill = f"{value.__module__}:{value.__qualname__}", functools.partial(self.class_, value)
            return self.label_named(value, "class", value.__module__, title, fill, own)
        if isinstance(value, ModuleType):
            title, fill = value.__name__, functools.partial(self.module, value)
            return self.label_named(value, "module", title, title, fill, own)
        if isinstance(value, _DESCRIPTORS):
            return self.outside(value.__objclass__.__module__, value.__qualname__)
        if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None))):
            return self.outside(value.__module__ or "builtins", value.__qualname__)
        return None

    def class_(self, cls: type, name: str) -> None:
        self.where = cls.__module__
        scope = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        pieces = [self.value(kind) for kind in (*cls.__bases__, type(cls))]
        for field, annotation in vars(cls).get("__annotations__", {}).items():
            pieces += (field.encode(), self.value(annotation), *self.classes_in(annotation, scope))
        members: Mapping[str, Enum] = cls.__members__ if issubclass(cls, Enum) else {}
        pieces += [packed(b"member", (n.encode(), self.value(m.value))) for n, m in members.items()]
        for attribute, value in sorted(vars(cls).items()):
            # Names like _value2member_map_ are an enum's caches: they grow while it is used.
            cache = issubclass(cls, Enum) and attribute.startswith("_") and not callable(value)
            # typing puts a stand-in into a protocol and replaces it when a subclass is first made.
            standin = attribute == "__init__" and _get(value, "__module__") in (None, "typing")
            if not (attribute in _NOT_CODE or attribute in members or cache or standin):
                pieces += (attribute.encode(), self.value(value))
        self.add("class", name, packed(b"class", pieces))

    def value(self, value: Any, *, own: bool = False) -> bytes:
        """The bytes of a value: its type and parts, or its label where it has one."""
        plain = atom(value)
        if plain is not None:
            return plain
        number = id(value)
        if number in self.done:
            return self.done[number]
        label = self.labelled(value, own=own)
        if label is not None:
            return label
        if number in self.active:  # a value that contains itself
            self.loops += 1
            return b"^%d" % self.active[number]
        self.active[number], before = len(self.active), self.loops
        try:
            data = b"D" + digest_of(self.composite(value))
        finally:
            del self.active[number]
        if self.loops == before:  # what points back out of itself has other bytes elsewhere
            self.done[number] = data
            self.keep.append(value)
        return data

    def composite(self, value: Any) -> bytes:
        kind = type(value)
        if kind in _EXACT:
            return self.container(value, kind)
        if kind in _HOLDERS:
            return packed(kind.__name__.encode(), [self.value(_get(value, one)) for one in _HOLDERS[kind]])
        if isinstance(value, CodeType):
            return facts_of(value).digest
        if isinstance(value, BuiltinFunctionType):  # a bound one: `"sep".join`, `TABLE.get`
            return value.__qualname__.encode() + self.value(value.__self__)
        if isinstance(value, Enum):
            return packed(b"enum", map(self.value, (kind, value.name, value.value)))
        if isinstance(value, PurePath):
            return packed(b"path", (value.as_posix().encode("utf-8", "surrogatepass"),))
        if kind.__module__ == "typing":
            return packed(b"typing", (self.value(_get(value, one)) for one in _TYPING))
        content = next((read(value) for base, read in _CONTAINERS if isinstance(value, base)), None)
        pieces = [self.value(kind)]
        if self.home(kind.__module__) == "project" or content is not None:
            pieces += (self.value(content), self.state(value))
            foreign = (b for b in kind.__mro__ if b not in _BUILT_IN and not issubclass(b, BaseException))
            if self.home(kind.__module__) == "project" and not all(b.__flags__ & _HEAP_TYPE for b in foreign):
                pieces.append(self.opaque(value))  # a base written in C keeps state of its own
        elif kind.__module__.partition(".")[0] in _REDUCED:
            with contextlib.suppress(TypeError):
                call, arguments, *state = value.__reduce_ex__(2)
                items = [part if part is None or isinstance(part, dict) else list(part) for part in state]
                return packed(b"reduced", map(self.value, (call, arguments, items)))
            pieces.append(self.opaque(value))
        elif hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"):
            pieces.append(self.state(value))
        else:
            pieces.append(self.opaque(value))
        return packed(b"object", pieces)

    def container(self, value: Any, kind: type) -> bytes:
        tag = kind.__name__.encode()
        inner = itertools.chain(value, value.values()) if kind is dict else value
        if kind in (set, frozenset):
            ordered = sorted(value, key=lambda one: (type(one).__name__, str(_get(one, "__qualname__"))))
            return packed(tag, sorted(map(self.value, ordered)))
        if set(map(type, inner)) <= _ATOMIC:  # 100,000 entries: 12 ms instead of 120
            with contextlib.suppress(ValueError):  # an int of more than 4300 digits
                return tag + repr(value).encode()
        pairs = itertools.chain.from_iterable(value.items()) if kind is dict else value
        return packed(tag, map(self.value, pairs))

    def state(self, value: object) -> bytes:
        """The attributes of an instance, in `__dict__` and in slots."""
        kind, state = type(value), dict(_get(value, "__dict__") or {})
        if kind not in self.slots:
            found = [item for base in kind.__mro__ for item in vars(base).items()]
            self.slots[kind] = [(n, slot) for n, slot in found if isinstance(slot, MemberDescriptorType)]
        for name, slot in self.slots[kind]:
            with contextlib.suppress(AttributeError):  # not set
                state.setdefault(name, slot.__get__(value, kind))
        kept = (n for n in state if not isinstance(vars(kind).get(n), functools.cached_property))
        return packed(b"state", [self.value(one) for n in sorted(kept, key=str) for one in (n, state[n])])

    def opaque(self, value: object) -> bytes:
        """A value without canonical bytes: see C5."""
        kind = type(value)
        pieces = [self.outside(kind.__module__, kind.__qualname__)]
        if kind.__module__.partition(".")[0] not in _STATELESS:
            source = source_facts(self.where)
            if source is not None:
                self.add("source of values", self.where, source.digest)
                pieces.append(source.digest)
            else:
                pieces.append(b"%d %d %d" % (os.getpid(), STARTED_NS, id(value)))
        return packed(b"opaque", pieces)


def query_name(value: object) -> str | None:
    """The name of a query, or None. A wrapper that copied a query's attributes is not a query."""
    mark = _get(value, "__query__")
    if mark is None or _get(_get(value, "__wrapped__"), "__query__") is mark:
        return None
    name = _get(mark, "name")
    return name if isinstance(name, str) else None


def _get(value: object, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # a property or __getattr__ of a user's class may raise anything
        return None


def _home(function: FunctionType) -> str:
    # functools.wraps copies __module__: only the globals say where the code itself lives
    return str(function.__globals__.get("__name__") or function.__module__ or "")
