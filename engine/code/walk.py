"""Walk: from a function through the functions and classes that it can reach.

Invariants
    W1  The function that the walk starts from counts by its code, wherever it lives; of the rest only what
        is the project's is followed, and nothing at all with `follow=False`.
    W2  A function is its code, defaults, attributes, closure cells, and what it names. Where code asks for
        docstrings and the like, they count too, see `asked`; where it has any name of its module, all do.
    W3  A class is its bases, annotations and attributes, without what Python or a library keeps in it that
        differs between equal programs.
    W4  The annotations of a function count by the project classes they name; those of a class by text too.
    W5  A query is represented by its name, its parameters and the classes of its result, see `given`.
"""

from __future__ import annotations

import collections
import contextlib
import inspect
import itertools
import sys
import types
from _abc import _get_dump  # type: ignore[import-not-found] # in C; `_dump_registry` prints it
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from engine.code.asked import answer, is_replaced
from engine.code.given import classes_given, home_of, named_in, query_name
from engine.code.names import PLACE, Names, as_imported
from engine.code.reach import Chain, annotation_names, facts_of, packed, texts_in
from engine.code.shared import Fill, Of, Queried, Record, Shared
from engine.code.value import in_order, peek, words
from engine.parameters import owner_of

_DESCRIPTORS = (
    MethodDescriptorType,
    WrapperDescriptorType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
_ANY_NAME = (globals, eval, exec)  # what code gets of them may be anything in its module
_ANNOTATING = words("typing types annotationlib typing_extensions")
_PARTS = sorted(words("__origin__ __bound__ __supertype__ __value__ __forward_arg__"))
_LISTS = sorted(words("__args__ __constraints__"))
_NOT_CODE = PLACE | words(
    """__module__ __doc__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__
    __annotations_cache__ __classdictcell__ _abc_impl __abstractmethods__ __protocol_attrs__
    __non_callable_proto_members__ __attrs_base_of_slotted__ __msgspec_cache__"""
)


class Walk(Names):
    """One walk from a function. Each object met gets a label, and later its part."""

    def __init__(
        self, project: Callable[[str], bool] | None, *, follow: bool, started: int, shared: Shared
    ) -> None:
        super().__init__(project, started, shared)
        self.follow = follow

    def all_from(self, function: Any) -> Iterable[tuple[str, str, bytes]]:
        """The parts of all that `function` reaches: name, kind and digest."""
        # With the number of the release: what the standard library answers is mended in these, too.
        self.add("python", f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}", b"")
        if query_name(function) is not None:
            function = getattr(function, "__wrapped__", function)
        self.where = str(peek(function, "__module__") or "")
        inner = (peek(function, name) for name in ("__func__", "func", "__wrapped__", "__call__"))
        heads = (peek(one, "__func__") or one for one in (function, *inner))  # a bound __call__ has one
        own = next((one for one in heads if isinstance(one, FunctionType)), None)
        # The root counts by its code, wherever it lives; helpers of an installed rule by its version.
        root = b"" if own is None else self.label_function(own, own=True)
        title = str(peek(function, "__qualname__") or "")
        taken = b"" if own is None or not self.follow else packed(b"taken", self.received(own))
        self.add("root", title, root + self.value(function, own=True) + taken)
        while self.pending:
            self.fill(*self.pending.popleft())
            if not self.pending:
                answer(self)
        return self.parts.values()

    # -- functions --------------------------------------------------------------------------------

    def label_named(self, value: object, kind: str, home: str, title: str, fill: Fill, own: bool) -> bytes:
        if self.home(home) != "project":
            taken = self.registered(value)
            return packed(b"R", (self.outside(home, title), *taken)) if taken else self.outside(home, title)
        if not (self.follow or own):
            return b"S" + as_imported(title).encode("utf-8", "surrogatepass")
        return self.label(id(value), kind, title, fill)

    def label_function(self, function: FunctionType, *, own: bool = False) -> bytes:
        home = home_of(function)
        name = f"{home}:{function.__qualname__}"
        if not own and self.home(home) != "project":
            return self.label_outside(function, home)
        if not own and not self.follow:
            return b"S" + as_imported(name).encode("utf-8", "surrogatepass")
        return self.label(id(function), "function", name, _function(function))

    def label_outside(self, function: FunctionType, home: str) -> bytes:
        """An installed function: its name, plus what the project put into it (a decorator's wrapper)."""
        # Not by __qualname__: attrs and dataclasses write the class made last into the `__replace__` of all.
        pieces = [self.outside(home, f"{function.__code__.co_qualname} {function.__name__}")]
        registry = getattr(function, "registry", None)
        if home == "functools" and isinstance(registry, Mapping):  # singledispatch: its cells hold caches
            pieces += [
                self.value(kind) + self.value(one)
                for kind, one in sorted(registry.items(), key=lambda item: item[0].__qualname__)
            ]
        elif id(function) in self.active:
            self.loops += 1  # as for a value that contains itself: elsewhere it has other bytes
        elif function.__closure__ or hasattr(function, "__wrapped__"):
            self.active[id(function)] = len(self.active)
            pieces += [self.cell(cell) for cell in function.__closure__ or ()]
            pieces.append(self.value(getattr(function, "__wrapped__", None)))
            del self.active[id(function)]
        return pieces[0] if len(pieces) == 1 else packed(b"W", pieces)

    def function(self, function: FunctionType, name: str) -> None:
        facts, scope = facts_of(function.__code__), function.__globals__
        self.where = home_of(function)
        pieces = [facts.digest, self.value(function.__defaults__), self.value(function.__kwdefaults__)]
        extra = vars(function)
        if extra:
            pieces += [
                self.value({k: v for k, v in extra.items() if k not in ("__wrapped__", "__query__")}),
                self.value(extra.get("__wrapped__"), own=not self.follow),
            ]
        self.asks(facts.asks)
        stored = facts.stored
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if variable == "__classdict__":  # the body of a class, where annotations look for names first
                stored |= set(cell.cell_contents)
            else:
                pieces.append(self.cell(cell, [chain for chain in facts.free if chain[0] == variable]))
        if self.follow:
            builtins: Mapping[str, Any] = peek(function, "__builtins__")
            for chain in facts.names:
                label, target = self.read(scope, builtins, chain, stored)
                pieces += (".".join(chain).encode(), label)
                if "docs" in facts.asks:
                    pieces.append(self.value(peek(target, "__doc__")))
                own_module = target is sys.modules and ("__name__",) in facts.names
                if own_module or any(target is one for one in _ANY_NAME):
                    pieces.append(self.value(sys.modules.get(str(scope.get("__name__")))))
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

    def received(self, function: FunctionType) -> list[bytes]:
        """Classes that arguments may be of: that of `self`, those that annotations name, and all below."""
        owner, found = owner_of(function), set[type]()
        waiting = [*self.named_by(function, "return", but=True), *([] if owner is None else [owner])]
        while waiting:
            cls = waiting.pop()
            if cls not in found and self.home(cls.__module__) == "project" and not is_replaced(cls):
                found.add(cls)
                waiting += type.__subclasses__(cls)
        return [self.value(one) for one in in_order(found)]

    def annotated(self, function: FunctionType, only: str | None = None) -> list[bytes]:
        """The project classes that the annotations name; `only="return"` for those of the result."""
        return sorted({self.value(one) for one in self.named_by(function, only)})

    def named_by(self, function: FunctionType, name: str | None = None, *, but: bool = False) -> list[type]:
        """Those classes: of the annotation of one name, or of all but that."""
        # Their code does not say which name each is of. Where they cannot be evaluated, all of them count.
        notes: Any = None if name is None else peek(function, "__annotations__")
        for one in (function, peek(function, "__annotate__")):  # of a class, and of a function
            if notes is None and isinstance(one, FunctionType) and one.__name__ == "__annotate__":
                return self.deferred(one)
        notes = notes or peek(function, "__annotations__") or {}
        wanted = (one for k, one in notes.items() if name is None or (k == name) is not but)
        return [cls for one in wanted for cls in self.classes_in(one, function.__globals__)]

    def deferred(self, annotate: FunctionType) -> list[type]:
        """The same of annotations of 3.14: to evaluate them may raise, to read their code cannot."""
        code, held = annotate.__code__, dict[str, Any]()
        for name, cell in zip(code.co_freevars, annotate.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not bound yet
                held[name] = cell.cell_contents
        scope = collections.ChainMap(held, held.pop("__classdict__", {}), annotate.__globals__)
        facts = facts_of(code)
        texts = (*map(".".join, (*facts.names, *facts.free)), *texts_in(code.co_consts))
        return [cls for one in texts for cls in self.classes_in(one, scope)]

    def classes_in(
        self, annotation: Any, scope: Mapping[str, Any], met: dict[object, object] | None = None
    ) -> Iterator[type]:
        """The project classes in an annotation; `met` are its parts so far, with their ids."""
        met = {} if met is None else met  # an alias may name itself
        if isinstance(annotation, type):
            if self.home(annotation.__module__) == "project":
                yield annotation
        elif isinstance(annotation, str):
            for chain in annotation_names(annotation):
                if chain not in met:
                    met[chain] = found = named_in(scope, chain)
                    if not isinstance(found, str):
                        yield from self.classes_in(found, scope, met)
        elif isinstance(annotation, GenericAlias) or type(annotation).__module__ in _ANNOTATING:
            parts = (peek(annotation, name) for name in _PARTS)
            for inner in itertools.chain(parts, *(peek(annotation, name) or () for name in _LISTS)):
                if id(inner) not in met:
                    met[id(inner)] = inner
                    yield from self.classes_in(inner, scope, met)

    # -- classes -----------------------------------------------------------------------------------

    def labelled(self, value: Any, *, own: bool = False) -> bytes | None:
        """The label of a query, function, class or module, or of a part of the interpreter."""
        name = query_name(value)
        if name is not None:
            return self.label_query(value, name)
        if isinstance(value, FunctionType):
            return self.label_function(value, own=own)
        if isinstance(value, type):
            title, home = f"{value.__module__}:{value.__qualname__}", value.__module__
            if home == "types" and peek(types, value.__name__) is not value:
                home = ""  # `types.new_class` made it, whoever asked for it
            return self.label_named(value, "class", home, title, _class(value), own)
        if isinstance(value, ModuleType):
            title = value.__name__
            return self.label_named(value, "module", title, title, _module(value), own)
        if isinstance(value, _DESCRIPTORS):
            return self.outside(value.__objclass__.__module__, value.__qualname__)
        if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None))):
            return self.outside(value.__module__ or "builtins", value.__qualname__)
        return None

    def label_query(self, value: object, name: str) -> bytes:
        """See `Names.label_query`."""
        found = self.labels.get(("query", id(value)))
        if found is None:
            outer, self.asked = self.asked, []
            known = self.shared.queries.get(id(value))
            found = known.said if known is not None and self.replay(known) else self.query(value, name)
            self.asked = outer
            self.labels["query", id(value)] = found
            self.met.append((f"query {name}", value))
        self.unshared += id(value) not in self.shared.queries
        self.asked.append(Queried(value, name, found))
        return found

    def query(self, value: object, name: str) -> bytes:
        self.asked, before = [], (self.unshared, self.loops)
        info = peek(value, "__query__")
        parameters = map(self.parameter, peek(info, "parameters") or ())
        self.add("query", name, packed(b"parameters", parameters))
        known = classes_given(self, info) if self.follow else ()
        self.shared.keep.append(value)
        found = packed(b"Q", (name.encode(), *known))
        if (self.unshared, self.loops) == before:
            self.shared.queries[id(value)] = Record(found, self.asked)
        return found

    def parameter(self, one: inspect.Parameter) -> bytes:
        """What a caller can see of a parameter: which arguments fit, and with which defaults."""
        default = b"" if one.default is one.empty else self.value(one.default)
        return packed(one.kind.name.encode(), (one.name.encode(), default))

    def registered(self, cls: object) -> list[bytes]:
        """The project classes that an abstract class was told to take for its subclasses."""
        # A class of classes may have made it without what `abc` keeps.
        known = _get_dump(cls)[0] if isinstance(cls, ABCMeta) and peek(cls, "_abc_impl") else ()
        several = (one for one in (each() for each in known) if one is not None and not is_replaced(one))
        return [self.value(one) for one in in_order(several) if self.home(one.__module__) == "project"]

    def class_(self, cls: type, name: str) -> None:
        self.where = cls.__module__
        scope = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        pieces = [self.value(kind) for kind in (*cls.__bases__, type(cls))] + self.registered(cls)
        for field, annotation in _annotations(cls).items():
            pieces += (field.encode(), self.value(annotation))
            pieces += map(self.value, self.classes_in(annotation, scope))
        members: Mapping[str, Enum] = cls.__members__ if issubclass(cls, Enum) else {}
        for member, one in members.items():
            state = {n: v for n, v in self.attributes_of(one).items() if not _is_of_enum(n)}
            pieces.append(packed(b"member", (member.encode(), self.value(one.value), self.value(state))))
        for attribute, value in sorted(vars(cls).items()):
            if not (attribute in _NOT_CODE or attribute in members or _is_scaffold(cls, attribute, value)):
                pieces += (attribute.encode(), self.value(value))
        config = peek(cls, "__struct_config__")
        if type(config).__name__ == "StructConfig":  # what a msgspec.Struct has beside its attributes
            options = {option: peek(config, option) for option in dir(config) if not option.startswith("_")}
            factories = [peek(one, "factory") or one for one in peek(cls, "__struct_defaults__")]
            pieces += map(self.value, (options, peek(cls, "__struct_encode_fields__"), factories))
        self.add("class", name, packed(b"class", pieces))


def _function(function: FunctionType) -> Fill:
    return Of(function, lambda walk, unique: walk.function(function, unique))


def _class(cls: type) -> Fill:
    return Of(cls, lambda walk, unique: walk.class_(cls, unique))


def _module(module: ModuleType) -> Fill:
    return Of(module, lambda walk, unique: walk.module(module, unique))


def _annotations(cls: type) -> Mapping[str, object]:
    """Those that are values. Where the class defers them (3.14), its `__annotate__` counts as a function."""
    notes, annotate = vars(cls).get("__annotations__"), vars(cls).get("__annotate_func__")
    if notes is None and annotate is not None and peek(annotate, "__name__") != "__annotate__":
        notes = peek(cls, "__annotations__")  # made by a library: a NamedTuple has evaluated its own
    return notes or {}


def _is_scaffold(cls: type, attribute: str, value: object) -> bool:
    """Whether a library put an attribute into a class that differs between equal programs."""
    if attribute == "__hash__":  # attrs writes hash("its class") into it, which depends on the hash seed;
        file = peek(peek(value, "__code__"), "co_filename")  # what it hashes is in __attrs_attrs__
        return isinstance(file, str) and file.startswith("<attrs generated")
    if attribute == "__init__":  # typing replaces its stand-in when a protocol's subclass is first made
        return isinstance(value, _DESCRIPTORS) or peek(value, "__module__") == "typing"
    # _value2member_map_ and its like are an enum's caches: they grow while it is used
    is_said = callable(value) or isinstance(value, classmethod) or attribute == "_boundary_"
    return issubclass(cls, Enum) and _is_of_enum(attribute) and not is_said


def _is_of_enum(attribute: str) -> bool:
    """Whether a name is one of those that `enum` has for itself, in classes and in members."""
    own = attribute.startswith("_") and attribute.endswith("_") and not attribute.startswith("__")
    return own or attribute == "__objclass__"
