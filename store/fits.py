"""Fits: the checks of values against annotations, one kind of annotation each.

Invariants
    F1  A fit gives the value as the annotated type, or raises `Misfit`. What it was given stays as it was.
    F2  A misfit names the place: the steps from the outermost value to the one that does not fit.
    F3  A record that fits by type, but would lose something in the bytes (fields of a subclass, an attribute
        that is no field), is unstorable, not wrong.
    F4  A bool is no number, and a text is no sequence of texts.

`shape` decides which of them an annotation asks for.
"""

from __future__ import annotations

import operator
import types
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID

from engine.errors import UnstorableValue, WrongValue
from engine.store.records import record_of, stray_attribute

Fit = Callable[[Any], Any]


class Misfit(Exception):
    """The value is not what the annotation says, or (`storable` False) has no bytes under it."""

    def __init__(self, expected: str, value: object, storable: bool = True) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = kind_of(value)
        if self.found == expected:  # a script that is imported too, or a module that was loaded anew
            self.found = f"another class of that name, of the module {type(value).__module__}"
        self.storable = storable
        self.steps: list[str] = []  # innermost first

    @property
    def path(self) -> str:
        return "".join(reversed(self.steps))

    def for_people(self) -> Exception:
        if self.storable:
            return WrongValue(**where_inside(self.path), expected=self.expected, got=self.found)
        return UnstorableValue(**where_inside(self.path), type=self.found, reason=self.expected)


class Shape(NamedTuple):
    """`fit` gives the value as the annotated type, or raises `Misfit`."""

    fit: Fit
    kinds: frozenset[type] = frozenset()  # exact types that a union tries this alternative for first
    scalars: frozenset[type] = frozenset()  # exact types that always fit, as they are
    why_not: str = ""


SCALARS: frozenset[type] = frozenset({str, int, bool, types.NoneType, bytes, float})
ANYTHING = Shape(lambda value: value, SCALARS, SCALARS)


def where_inside(path: str) -> dict[str, str]:
    return {"inside": path} if path else {}


def kind_of(value: object) -> str:
    return type(value).__qualname__


def first_reason(shapes: Iterable[Shape]) -> str:
    return next((shape.why_not for shape in shapes if shape.why_not), "")


def name_of(annotation: Any) -> str:
    name = getattr(annotation, "__qualname__", None) if isinstance(annotation, type) else None
    return name or str(annotation).replace("typing.", "")


# -- one of several --------------------------------------------------------------------------------


def fit_literal(values: tuple[Any, ...]) -> Fit:
    exact = {(type(value), value) for value in values}
    kinds = frozenset(type(value) for value in values)

    def fit(value: Any) -> Any:
        kind = type(value)
        if kind not in kinds or (kind, value) not in exact:
            raise Misfit(f"one of {', '.join(map(repr, values))}", value)
        return value

    return fit


def fit_union(shapes: list[Shape], lost: str, expected: str) -> Fit:
    """The first of the storable `shapes` that fits; `lost` says why another alternative has no bytes."""

    def fit(value: Any) -> Any:
        kind = type(value)
        likely = [shape for shape in shapes if kind in shape.kinds]
        telling = None
        for shape in likely or shapes:
            try:
                return shape.fit(value)
            except Misfit as error:
                if len(likely) == 1 or not error.storable:
                    telling = error  # it says where inside the value, or why it has no bytes
        raise telling or Misfit(lost or expected, value, storable=not lost)

    return fit


def fit_enum(cls: type[Enum]) -> Fit:
    mixed = next((base for base in (str, int) if issubclass(cls, base)), None)

    def fit(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        try:
            if mixed is not None and type(value) is mixed:
                return cls(value)  # it equals the member
        except ValueError:
            pass  # no member has this value: a misfit like any other
        raise Misfit(name_of(cls), value)

    return fit


# -- containers and records ------------------------------------------------------------------------


def fit_items(accepted: Any, build: Any, item: Shape) -> Fit:
    def fit(value: Any) -> Any:
        if not isinstance(value, accepted) or isinstance(value, (str, bytes)):
            raise Misfit(build.__name__, value)
        if item.scalars.issuperset(map(type, value)):
            return value if type(value) is build else build(value)
        items: list[Any] = []
        try:
            for each in value:
                items.append(item.fit(each))
        except Misfit as error:
            error.steps.append(f"[{len(items)}]" if build in (tuple, list) else "{}")
            raise
        return value if type(value) is build and all(map(operator.is_, items, value)) else build(items)

    return fit


def fit_fixed(cls: type, shapes: list[Shape], names: tuple[str, ...]) -> Fit:
    """A tuple of so many items, or a NamedTuple with `names` (which a plain tuple equals)."""
    expected = f"{name_of(cls)} of {len(shapes)}"

    def fit(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(shapes):
            raise Misfit(expected, value)
        if names and type(value) not in (cls, tuple):
            raise Misfit(expected, value, storable=not isinstance(value, cls))
        items: list[Any] = []
        try:
            for shape, item in zip(shapes, value, strict=True):
                items.append(shape.fit(item))
        except Misfit as error:
            error.steps.append(f".{names[len(items)]}" if names else f"[{len(items)}]")
            raise
        same = type(value) is cls and all(map(operator.is_, items, value))
        return value if same else tuple.__new__(cls, items)

    return fit


def fit_mapping(key: Shape, item: Shape) -> Fit:
    def fit(value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise Misfit("dict", value)
        fitted: dict[Any, Any] = {}
        for name, each in value.items():
            try:
                fitted[key.fit(name)] = item.fit(each)
            except Misfit as error:
                error.steps.append(f"[{name!r:.80}]")
                raise
        return fitted

    return fit


def fit_typed_dict(cls: type, shapes: dict[str, Shape], required: frozenset[str]) -> Fit:
    def fit(value: Any) -> Any:
        if not isinstance(value, dict) or not required <= value.keys() <= shapes.keys():
            raise Misfit(name_of(cls), value)
        fitted: dict[str, Any] = {}
        for name, item in value.items():
            try:
                fitted[name] = shapes[name].fit(item)
            except Misfit as error:
                error.steps.append(f"[{name!r}]")
                raise
        return fitted

    return fit


def fit_fields(cls: type, shapes: list[Shape]) -> Fit:
    record = record_of(cls)
    assert record is not None
    names, build = record.names, record.build

    def fit(value: Any) -> Any:
        if type(value) is not cls:
            if isinstance(value, cls):  # admitted, but its own fields would be lost
                base, own = name_of(cls), name_of(type(value))
                reason = f"the annotation names its base class {base} only: write {base} | {own}"
                raise Misfit(reason, value, storable=False)
            raise Misfit(name_of(cls), value)
        before = [getattr(value, name) for name in names]
        after: list[Any] = []
        try:
            for shape, item in zip(shapes, before, strict=True):
                after.append(shape.fit(item))
        except Misfit as error:
            error.steps.append(f".{names[len(after)]}")
            raise
        if len(getattr(value, "__dict__", ())) > len(names):  # msgspec would encode a cached_property
            if (stray := stray_attribute(value, record)) is not None:
                raise Misfit(f"its attribute {stray} is not a field of the class", value, storable=False)
            return build(after)
        return value if all(map(operator.is_, before, after)) else build(after)

    return fit


# -- plain values ----------------------------------------------------------------------------------


def _scalar(cls: type, *others: type) -> Fit:
    """`cls` as it is; instances of subclasses, and of `others`, become one. A bool is no number."""

    def fit(value: Any) -> Any:
        if type(value) is cls:
            return value
        if isinstance(value, (cls, *others)) and (type(value) is not bool):
            try:
                return _BASE_VALUE[cls](value)
            except OverflowError:
                pass  # an int beyond the largest float does not fit, like any other wrong value
        raise Misfit(name_of(cls), value)

    return fit


def _exact(cls: type) -> Fit:
    def fit(value: Any) -> Any:
        if type(value) is not cls:
            raise Misfit(name_of(cls), value)
        return value

    return fit


def _path_fit(cls: type[PurePath]) -> Fit:
    concrete = type(cls())

    def fit(value: Any) -> Any:
        if type(value) is concrete:
            return value
        if isinstance(value, PurePath) and (made := cls(value)) == value:
            return made
        raise Misfit(name_of(cls), value)

    return fit


_BASE_VALUE: Mapping[type, Fit] = {
    str: str.__str__,  # not str(): an enum has its own idea of that
    int: int.__int__,
    float: lambda value: float.__float__(value) if isinstance(value, float) else float(value),
    complex: complex,
    bytes: bytes,
    bytearray: bytearray,
}
PLAIN: dict[Any, Fit] = {
    str: _scalar(str),
    int: _scalar(int),
    float: _scalar(float, int),
    complex: _scalar(complex, float, int),
    bytes: _scalar(bytes, bytearray, memoryview),
    bytearray: _scalar(bytearray, bytes, memoryview),
    **{cls: _exact(cls) for cls in (bool, types.NoneType, datetime, date, time, timedelta, Decimal, UUID)},
    **{cls: _path_fit(cls) for cls in (Path, PurePath, PurePosixPath, PureWindowsPath)},
}
