"""Code values: the bytes of any object that code reads, for its fingerprint.

Invariants
    V1  Equal bytes mean equal values: the type counts, and every part; order counts where the type keeps one.
    V2  The bytes do not depend on the process, its hash seed, or the order in which values were met.
    V3  A value that contains itself ends: a way back is a number of levels, and is not kept for elsewhere.
    V4  No code of the user's runs but properties, `__getattr__` and `__reduce_ex__` of known types: built-in
        containers are read through their own type, instances through `__dict__` and slots.
    V5  What has no bytes is never left out (fingerprint C5): see `opaque`.

Functions, classes, modules and queries are not values: `labelled`, which a subclass gives, says what stands
for them. `home`, `outside` and `add` are its too.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import functools
import itertools
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from enum import Enum
from pathlib import PurePath
from struct import Struct
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    UnionType,
)
from typing import Any

from engine.code.origin import source_facts
from engine.code.reach import atom, digest_of, facts_of, packed
from engine.code.shared import Added, Fill, Label, Queried, Record, Shared, Valued
from engine.store.codec import is_in_c


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def peek(value: object, name: str) -> Any:
    """An attribute, or None where there is none or reading it fails."""
    try:
        return getattr(value, name, None)
    except Exception:  # a property or __getattr__ of a user's class may raise anything
        return None


CACHED: Any = type(functools.cache(len))
# Objects that only hold others: these attributes are all there is to them.
HOLDERS: Mapping[Any, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords", "__dict__"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.singledispatchmethod: ("func", "dispatcher"),
    CACHED: ("__wrapped__",),
    MethodType: ("__func__", "__self__"),
    MethodWrapperType: ("__name__", "__self__"),
    range: ("start", "stop", "step"),
    slice: ("start", "stop", "step"),
    re.Pattern: ("pattern", "flags"),
    GenericAlias: ("__origin__", "__args__"),
    UnionType: ("__args__",),
    Struct: ("format",),
    Field: ("name", "default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only"),
}
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
    (getattr(builtins, "frozendict", MappingProxyType), lambda v: tuple(v.items())),  # 3.15
    (BaseException, lambda v: v.args),
)
_BUILT_IN = frozenset((object, collections.defaultdict, *(kind for kind, _ in _CONTAINERS)))
_EXACT = frozenset((dict, list, tuple, set, frozenset))
_NESTED = frozenset((list, tuple, dict))
ATOMIC = frozenset((int, str, bytes, float, bool, type(None)))  # `repr` tells each of them apart
# Packages whose types say by `__reduce_ex__` all there is to their values.
_REDUCED = words(
    """datetime decimal _decimal fractions uuid zoneinfo array types operator _operator collections
    _collections ipaddress"""
)
# What classes are made of: slots say all there is to it.
_SLOTTED = words("attr._make.Attribute attr._make.ClassProps attr._make.Factory msgspec.Meta")
_SINGLE = words("builtins.NoDefaultType builtins.sentinel functools._PlaceholderType")  # 3.13, 3.15, 3.14
_STATELESS = words("_thread threading logging _contextvars dataclasses")  # locks, loggers, sentinels
_TYPING = sorted(
    words(
        """__name__ _name __origin__ __args__ __forward_arg__ __supertype__ __value__ __bound__
        __constraints__ __default__ __metadata__"""
    )
)


class Values(ABC):
    """Reads values, each once while it lasts; `where` is the module whose names are being read."""

    def __init__(self, started: int, shared: Shared) -> None:
        self.started = started  # of the process, in nanoseconds: see `source_facts`
        self.where = ""
        self.active: dict[int, int] = {}
        self.done: dict[int, Record] = {}
        self.loops = 0
        self.shared = shared
        self.asked: list[Label | Added | Valued | Queried] = []  # for what is being made (shared H1)
        self.unshared = 0  # how often something was met that is not shared (shared H2)

    @abstractmethod
    def labelled(self, value: Any, *, own: bool = False) -> bytes | None:
        """What stands for an object that is more than its value; None for all others."""

    @abstractmethod
    def home(self, module: str, *, to_import: bool = False) -> str:
        """Where a module belongs: `project`, `engine`, `installed` or `stdlib`."""

    @abstractmethod
    def outside(self, module: str, name: str, *, to_import: bool = False) -> bytes:
        """What stands for something that is not followed."""

    @abstractmethod
    def source(self, module: str) -> bytes:
        """What stands for all that a module can have made while it was imported."""

    @abstractmethod
    def label(self, identity: object, kind: str, name: str, fill: Fill) -> bytes:
        """The label of an object, whose part is made later; the same for the same `identity`."""

    @abstractmethod
    def add(self, kind: str, name: str, data: bytes) -> None:
        """Take a part into the listing."""

    def value(self, value: Any, *, own: bool = False) -> bytes:
        """The bytes of a value: its type and parts, or its label where it has one."""
        plain = atom(value)
        if plain is not None:
            return plain
        number = id(value)
        known = self.done.get(number) or self.shared.values.get(number)
        data = None if known is None else self.taken_over(number, known)
        if data is None:
            data = self.labelled(value, own=own)
        if data is not None:
            return data
        if number in self.active:  # a value that contains itself
            self.loops += 1
            return b"^%d" % self.active[number]
        self.active[number], before = len(self.active), (self.loops, self.unshared)
        outer, self.asked = self.asked, []
        try:
            data = b"D" + digest_of(self.composite(value))
        finally:
            del self.active[number]
            asked, self.asked = self.asked, outer
        if self.loops != before[0]:  # what points back out of itself has other bytes elsewhere
            self.asked += asked
            return data
        self.shared.keep.append(value)
        record = self.done[number] = Record(data, asked if self.unshared == before[1] else None)
        if record.asked is not None:
            self.shared.values[number] = record
            self.asked.append(Valued(number, record))
        return data

    def taken_over(self, number: int, record: Record) -> bytes | None:
        """The bytes of a value that this walk or another one knows; None where they would differ here."""
        if record.asked is None:
            self.unshared += 1
            return record.said
        known = self.done.get(number)
        if known is not None and known.said != record.said:  # this walk met others of the same names before
            return None
        if known is None:
            outer, self.asked = self.asked, []
            same = self.replay(record)
            self.asked = outer
            if not same:
                return None
            self.done[number] = record
        self.asked.append(Valued(number, record))
        return record.said

    @abstractmethod
    def replay(self, record: Record) -> bool:
        """Ask for all that a record asked for (shared H1); False where the answers are others."""

    def composite(self, value: Any) -> bytes:
        kind = type(value)
        if kind in _EXACT:
            return self.container(value, kind)
        if kind is object:  # a mark: which one it is says all
            return self.label(id(value), "mark", "object", _mark)
        if kind is CACHED:
            self.shared.cached.append(value)
        if kind in HOLDERS:
            return packed(kind.__name__.encode(), [self.value(peek(value, one)) for one in HOLDERS[kind]])
        if isinstance(value, CodeType):
            return facts_of(value).digest
        if isinstance(value, BuiltinFunctionType):  # a bound one: `"sep".join`, `TABLE.get`
            named = self.outside(value.__module__ or "builtins", value.__qualname__)
            return packed(b"bound", (named, self.value(value.__self__)))
        if isinstance(value, Enum):
            return packed(b"enum", map(self.value, (kind, value.name, value.value)))
        if isinstance(value, PurePath):  # its slots are caches
            return packed(b"path", map(self.value, (kind, value.as_posix(), peek(value, "__dict__"))))
        if kind.__module__ in ("typing", "annotationlib"):  # a ForwardRef of 3.14 is of the latter
            return packed(b"typing", (self.value(peek(value, one)) for one in _TYPING))
        title = f"{kind.__module__}.{kind.__name__}"
        wrapper = peek(value, "wrapper") if self.home(kind.__module__) == "engine" else None
        if peek(wrapper, "__query__") is value:  # a definition, which is in keys
            return self.value(wrapper)
        if title in _SINGLE:
            return packed(b"single", map(self.value, (kind, repr(value), peek(value, "__module__"))))
        content = next((read(value) for base, read in _CONTAINERS if isinstance(value, base)), None)
        pieces = [self.value(kind)]
        if self.home(kind.__module__) == "project" or content is not None:
            pieces += (self.value(content), self.state(value))
            foreign = (b for b in kind.__mro__ if b not in _BUILT_IN and not issubclass(b, BaseException))
            if self.home(kind.__module__) == "project" and any(map(is_in_c, foreign)):
                pieces.append(self.opaque(value))  # a base written in C keeps state of its own
        elif kind.__module__.partition(".")[0] in _REDUCED:
            with contextlib.suppress(TypeError):
                call, arguments, *state = value.__reduce_ex__(4)  # with the `fold` of times
                items = [part if part is None or isinstance(part, dict) else list(part) for part in state]
                return packed(b"reduced", map(self.value, (call, arguments, items)))
            pieces.append(self.opaque(value))
        elif hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__") or title in _SLOTTED:
            pieces.append(self.state(value))
        else:
            pieces.append(self.opaque(value))
        return packed(b"object", pieces)

    def container(self, value: Any, kind: type) -> bytes:
        tag = kind.__name__.encode()
        if kind in (set, frozenset):
            return packed(tag, sorted(map(self.value, in_order(value))))
        if is_plain(value):  # 100,000 entries: 20 ms instead of 200
            with contextlib.suppress(ValueError):  # an int of more than 4300 digits
                return tag + repr(value).encode()
        pairs = itertools.chain.from_iterable(value.items()) if kind is dict else value
        return packed(tag, map(self.value, pairs))

    def state(self, value: object) -> bytes:
        """The attributes of an instance."""
        state = self.attributes_of(value)
        return packed(b"state", [self.value(one) for n in state for one in (n, state[n])])

    def attributes_of(self, value: object) -> dict[str, object]:
        """Those in `__dict__` and in slots, sorted."""
        kind, state = type(value), dict(peek(value, "__dict__") or {})
        slots = self.shared.slots
        if kind not in slots:
            found = [item for base in kind.__mro__ for item in vars(base).items()]
            slots[kind] = [(n, slot) for n, slot in found if isinstance(slot, MemberDescriptorType)]
        for name, slot in slots[kind]:
            with contextlib.suppress(AttributeError):  # not set
                state.setdefault(name, slot.__get__(value, kind))
        state.pop("_attrs_cached_hash", None)  # depends on the hash seed, and on whether anybody asked
        kept = (n for n in state if not isinstance(vars(kind).get(n), functools.cached_property))
        return {n: state[n] for n in sorted(kept, key=str)}

    def opaque(self, value: object) -> bytes:
        """A value without canonical bytes: see fingerprint C5."""
        kind = type(value)
        self.unshared += 1  # the module that names it counts
        pieces = [self.outside(kind.__module__, kind.__qualname__)]
        made_in = peek(value, "__module__")  # of a function that Cython compiled; its type is of no module
        if isinstance(made_in, str):
            pieces.append(self.outside(made_in, ""))
        if kind.__module__.partition(".")[0] not in _STATELESS:
            if source_facts(self.where, self.started) is not None:
                pieces.append(self.source(self.where))
            else:
                pieces.append(b"%d %d %d" % (os.getpid(), self.started, id(value)))
        return packed(b"opaque", pieces)


def _mark(walk: Values, unique: str) -> None:
    walk.add("mark", unique, b"")


def in_order(several: Iterable[Any]) -> list[Any]:
    """The members of a set, by what does not depend on the hash seed; nor, but for ties, on memory."""
    return sorted(several, key=_place)


def _place(one: Any) -> tuple[str, str, bytes, str]:
    """Several may have one name, as plugins: by code, then module. Those that one factory made stay tied."""
    functions = (one, *vars(one).values()) if isinstance(one, type) else (one,)
    code = (facts_of(each.__code__).digest for each in functions if isinstance(each, FunctionType))
    return type(one).__name__, str(peek(one, "__qualname__")), b"".join(code), str(peek(one, "__module__"))


def is_plain(value: Any) -> bool:
    """Whether `repr` says all: only lists, tuples and dicts of atoms, a few levels deep."""
    level = (value,)
    for _ in range(5):  # a value that contains itself ends here
        level = tuple(
            itertools.chain.from_iterable(
                itertools.chain(one, one.values()) if type(one) is dict else one
                for one in level
                if type(one) in _NESTED
            )
        )
        kinds = set(map(type, level))
        if kinds <= ATOMIC:
            return True
        if not kinds <= ATOMIC | _NESTED:
            return False
    return False
