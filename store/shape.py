"""Shape: what an annotation says of a value: how it is checked, and which encoding holds it.

Invariants
    H1  An annotation is read once; what it says of a value is a `Shape`, whatever the annotation is. What
        is not known here is open (any value, as it is) or unstorable (with the reason), never an error.
    H2  `Reader.is_native` is True only where msgspec gives back every value that the shape admits, or one
        that `==` tells apart. `converts` is True where an equal value may have other bytes.
    H3  `Reader.shareable` is True only where every value is immutable all through.
    H4  `Reader.classes` are all classes that a value of this annotation may contain, unless `is_open`.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import abc
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from engine.alias import alias_of, meaning
from engine.store.fits import (
    ANYTHING,
    PLAIN,
    SCALARS,
    Misfit,
    Shape,
    first_reason,
    fit_enum,
    fit_fields,
    fit_fixed,
    fit_items,
    fit_literal,
    fit_mapping,
    fit_typed_dict,
    fit_union,
    name_of,
)
from engine.store.records import caches_hash, field_types, keys_of, learn, record_of

_MAX_GENERIC_DEPTH = 50  # a class G[T] with a field G[list[T]] has no end


class Reader:
    """Reads an annotation once, and remembers what it saw on the way."""

    def __init__(self) -> None:
        self.shareable = True
        self.is_native = True
        self.converts = False  # an equal value may have other bytes: 1 for 1.0, another class
        self.is_open = False  # Any is in it somewhere, so any class that was met may be
        self.classes: dict[str, type] = {}
        self._records: dict[Any, list[Shape]] = {}
        self._depth = 0

    def shape(self, annotation: Any) -> Shape:
        while (inner := _unwrapped(annotation)) is not annotation:
            annotation = inner
        if alias_of(annotation) is not None:
            return self._alias(annotation)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if (origin or annotation) in _OPEN or isinstance(annotation, _UNRESOLVED):
            return self._anything()
        if origin is typing.Literal:
            return self._literal(arguments)
        if origin in (typing.Union, types.UnionType):
            return self._union(annotation, arguments)
        cls: Any = origin or annotation
        if not isinstance(cls, type):
            return self._unstorable(f"values of {name_of(annotation)} have no bytes")
        if cls in PLAIN:
            return self._plain(cls)
        if cls is tuple:
            return self._tuple(arguments, annotation in (tuple, typing.Tuple))  # noqa: UP006  # not tuple[()]
        if cls in _COLLECTIONS:
            return self._collection(cls, arguments)
        if cls in (dict, abc.Mapping, abc.MutableMapping):
            return self._mapping(arguments)
        if issubclass(cls, Enum):
            return self._enum(cls)
        if typing.is_typeddict(cls):
            return self._typed_dict(cls, arguments)
        if record_of(cls) is not None:
            return self._record(annotation, cls, arguments)
        return self._unstorable(
            f"{name_of(cls)} is neither a builtin nor an attrs, dataclass, Struct or enum class"
        )

    def _anything(self) -> Shape:
        self.is_open, self.is_native, self.shareable = True, False, False
        return ANYTHING

    def _unstorable(self, reason: str) -> Shape:
        self.shareable = False

        def fit(value: Any) -> Any:
            raise Misfit(reason, value, storable=False)

        return Shape(fit, why_not=reason)

    def _plain(self, cls: type) -> Shape:
        if cls is bytearray:
            self.shareable = False
        self.converts |= cls in (float, complex, Decimal)
        if cls in (datetime, time):
            self.is_native = False  # msgspec turns every aware datetime into UTC
        fit = PLAIN[cls]
        kinds = frozenset({type(Path()) if cls is Path else cls})
        return Shape(fit, kinds, kinds & SCALARS)

    def _literal(self, values: tuple[Any, ...]) -> Shape:
        if any(isinstance(value, (Enum, bool)) for value in values):
            self.is_native = False
        for value in values:
            if isinstance(value, Enum):
                self._enum(type(value))
        return Shape(fit_literal(values), frozenset(type(value) for value in values))

    def _union(self, annotation: Any, arguments: tuple[Any, ...]) -> Shape:
        shapes = [self.shape(argument) for argument in arguments]
        if ANYTHING in shapes:
            return ANYTHING
        lost = first_reason(shapes)
        shapes = [shape for shape in shapes if not shape.why_not]
        kinds = frozenset[type]().union(*(shape.kinds for shape in shapes))
        scalars = frozenset[type]().union(*(shape.scalars for shape in shapes))
        return Shape(fit_union(shapes, lost, name_of(annotation)), kinds, scalars, "" if shapes else lost)

    def _tuple(self, arguments: tuple[Any, ...], bare: bool) -> Shape:
        if bare or arguments[-1:] == (Ellipsis,):
            item = self._anything() if bare else self.shape(arguments[0])
            return Shape(fit_items(tuple, tuple, item), frozenset({tuple}), why_not=item.why_not)
        return self._fixed(tuple, [self.shape(argument) for argument in arguments])

    def _fixed(self, cls: type, shapes: list[Shape], names: tuple[str, ...] = ()) -> Shape:
        return Shape(fit_fixed(cls, shapes, names), frozenset({cls}), why_not=first_reason(shapes))

    def _collection(self, cls: type, arguments: tuple[Any, ...]) -> Shape:
        item = self.shape(arguments[0]) if arguments else self._anything()
        accepted, build = _COLLECTIONS[cls]
        self.shareable &= build is frozenset
        # msgspec sorts sets by `<`, which is an order for these types only, and not for NaN
        self.is_native &= build is list or (len(item.scalars) == 1 and item.scalars <= {str, int, bytes})
        kinds = (
            {build, tuple} if cls is abc.Sequence else {build, set, frozenset} if cls is abc.Set else {build}
        )
        return Shape(fit_items(accepted, build, item), frozenset(kinds), why_not=item.why_not)

    def _mapping(self, arguments: tuple[Any, ...]) -> Shape:
        key, item = map(self.shape, arguments) if arguments else (self._anything(), self._anything())
        self.shareable = False
        self.is_native &= key.scalars == {str}
        return Shape(fit_mapping(key, item), frozenset({dict}), why_not=key.why_not or item.why_not)

    def _typed_dict(self, cls: Any, arguments: tuple[Any, ...]) -> Shape:
        shapes = {n: self.shape(a) for n, a in field_types(cls, keys_of(cls), arguments).items()}
        required: frozenset[str] = cls.__required_keys__
        self.shareable = False
        lost = first_reason(shape for name, shape in shapes.items() if name in required)
        return Shape(fit_typed_dict(cls, shapes, required), frozenset({dict}), why_not=lost)

    def _enum(self, cls: type[Enum]) -> Shape:
        self._learn(cls)
        if not cls.__members__:  # a base class: its members are those of classes not named here
            self.is_open, self.is_native = True, False
        return Shape(fit_enum(cls), frozenset({cls}))

    def _record(self, annotation: Any, cls: Any, arguments: tuple[Any, ...]) -> Shape:
        record = record_of(cls)
        assert record is not None
        self._learn(cls)
        made = self._records.get(annotation)
        if made is None:
            if self._depth >= _MAX_GENERIC_DEPTH:
                return self._anything()
            made = self._records[annotation] = []  # filled below; a recursive class finds it here
            self._depth += 1
            shapes = [self.shape(hint) for hint in field_types(cls, record.names, arguments).values()]
            self._depth -= 1
            if issubclass(cls, tuple):
                made.append(self._fixed(cls, shapes, record.names))
            else:
                self.shareable &= record.frozen
                self.converts |= "__dict__" in dir(cls) or _compares_loosely(cls)
                self.is_native &= not _hides_from_msgspec(cls, record.names)
                made.append(Shape(fit_fields(cls, shapes), frozenset({cls}), why_not=first_reason(shapes)))
        found = made
        return found[0] if found else Shape(lambda value: found[0].fit(value), frozenset({cls}))

    def _alias(self, annotation: Any) -> Shape:
        made = self._records.get(annotation)
        # msgspec mixes up several parameters, and finds no end of an alias that names itself
        self.is_native &= typing.get_origin(annotation) is None and made != []
        if made is None:
            if self._depth >= _MAX_GENERIC_DEPTH:
                return self._anything()
            made = self._records[annotation] = []  # filled below; an alias that names itself finds it here
            self._depth += 1
            made.append(self.shape(meaning(annotation)))
            self._depth -= 1
        found = made
        return found[0] if found else Shape(lambda value: found[0].fit(value))

    def _learn(self, cls: type) -> None:
        learn(cls)
        self.classes[f"{cls.__module__}:{cls.__qualname__}"] = cls


def _hides_from_msgspec(cls: Any, names: tuple[str, ...]) -> bool:
    """Whether msgspec would skip a field of the class, or run its code where `canonical` does not."""
    if issubclass(cls, msgspec.Struct):
        return False
    hooks = ("__post_init__", "__attrs_pre_init__", "__attrs_post_init__")
    private = any(name.startswith("_") for name in names)
    return private or caches_hash(cls) or any(hasattr(cls, hook) for hook in hooks)


def _compares_loosely(cls: Any) -> bool:
    """Whether instances may be equal whose fields are not: it says so itself, or leaves some of them out."""
    written = getattr(cls.__eq__, "__code__", None)
    fields = (*getattr(cls, "__attrs_attrs__", ()), *getattr(cls, "__dataclass_fields__", {}).values())
    left_out = any(
        getattr(one, "eq_key", None) or not getattr(one, "eq", True) or not getattr(one, "compare", True)
        for one in fields
    )
    return left_out or (written is not None and not written.co_filename.startswith("<"))


def without_extras(annotation: Any) -> Any:
    """Without `Annotated`, all through: constraints of msgspec would be checked on some ways only."""
    holder = types.SimpleNamespace(__annotations__={"value": annotation})
    try:
        return typing.get_type_hints(holder)["value"]
    except Exception:  # a name in quotes that is not known here
        return annotation


def _unwrapped(annotation: Any) -> Any:
    """One layer off: Annotated, Final and the like, NewType, LiteralString."""
    if annotation is None:
        return types.NoneType
    if annotation is typing.LiteralString:
        return str
    if typing.get_origin(annotation) in _WRAPPERS:
        return typing.get_args(annotation)[0]
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    if isinstance(annotation, typing.TypeVar):
        return annotation.__bound__ or annotation
    return annotation


_WRAPPERS = (typing.Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired)
_UNRESOLVED = (str, typing.ForwardRef, typing.TypeVar)
# no type in particular: what was returned comes back as it was
_OPEN: tuple[Any, ...] = (
    *(typing.Any, object, inspect.Parameter.empty, typing.Self),
    *(abc.Hashable, abc.Iterable, abc.Collection, abc.Container, abc.Reversible),
)
_COLLECTIONS: dict[Any, tuple[type, Any]] = {
    list: (list, list),
    abc.Sequence: (abc.Sequence, list),
    abc.MutableSequence: (abc.MutableSequence, list),
    set: (abc.Set, set),
    abc.Set: (abc.Set, set),
    abc.MutableSet: (abc.Set, set),
    frozenset: (abc.Set, frozenset),
}
