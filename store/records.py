"""Records: what the fields of a class are, and which classes may be made from stored bytes.

Invariants
    R1  A record is a class whose instances are their fields and no more: a Struct, a NamedTuple, or an
        attrs or dataclass class without a base written in C that holds more. Nothing else is a record.
    R2  A record is made again without its `__init__`, so its fields come back as they were; a Struct alone
        goes through its own.
    R3  A class is known by its name "module:qualname". Where two share one (a local class, a reload), the
        later one is meant; never one that its module had and replaced.
    R4  Reading the annotations of a class raises nothing: what cannot be resolved is Any.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
import typing
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from engine.alias import alias_of, put_in, written_for

known: dict[str, type] = {}
"""Classes that `restore` may make, by "module:qualname"."""
_in_modules: dict[str, type] = {}  # what modules had by these names when it was looked at last
_replaced: weakref.WeakSet[type] = weakref.WeakSet()  # what they had before


class UnknownClass(LookupError, ValueError):
    """The bytes name a class that this process has not met: load the module that defines it first.

    Or a field or a member of an enumeration that it had when they were made.
    """


class Record(NamedTuple):
    """How to take an instance of an attrs, dataclass, Struct or NamedTuple class apart and make one again."""

    name: str
    names: tuple[str, ...]
    frozen: bool
    build: Callable[[Sequence[Any]], Any]


def loaded_class(name: object) -> type | None:
    """The record or enum of this name, if a module that is loaded already has it. Imports nothing.

    An annotation need not name it: the value of a query without one may be a record all the same.
    """
    found = _class_in_module(name)
    if found is not None:
        learn(found)
    return found


def _class_in_module(name: object) -> type | None:
    module, _, qualified = str(name).partition(":")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or class_name(found) != name:
        return None
    return found if issubclass(found, enum.Enum) or record_of(found) is not None else None


def record_of(cls: type[Any]) -> Record | None:
    """The record of `cls`, or None when instances of `cls` are more than their fields."""
    try:
        return _records[cls]
    except KeyError:
        return _records.setdefault(cls, _read_record(cls))


def _read_record(cls: Any) -> Record | None:
    name = class_name(cls)
    if issubclass(cls, tuple):
        names: Any = getattr(cls, "_fields", None)
        return None if names is None else Record(name, names, True, functools.partial(tuple.__new__, cls))
    if issubclass(cls, msgspec.Struct):
        names = cls.__struct_fields__
        config: Any = cls.__struct_config__
        return Record(name, names, config.frozen, lambda values: cls(**dict(zip(names, values, strict=True))))
    attributes: Any = getattr(cls, "__attrs_attrs__", None)
    parameters: Any = getattr(cls, "__dataclass_params__", None)
    if attributes is not None:
        names = tuple(attribute.name for attribute in attributes)
        is_frozen = getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    elif parameters is not None:
        from dataclasses import fields  # loaded long ago, by whoever made the class

        names = tuple(field.name for field in fields(cls))
        is_frozen = parameters.frozen
    else:
        return None
    if any(map(is_in_c, cls.__mro__)):
        return None  # a dict, list or exception underneath holds more than the fields say
    return Record(name, names, is_frozen, functools.partial(_build, cls, names, caches_hash(cls)))


def is_in_c(cls: type) -> bool:
    """Whether instances of a class may hold what Python does not see: it makes them itself, in C."""
    makes = isinstance(vars(cls).get("__new__"), types.BuiltinFunctionType)
    return cls is not object and (makes or not cls.__flags__ & _HEAP_TYPE)


def stray_attribute(value: Any, record: Record) -> str | None:
    """An attribute that the record would lose; values of a cached_property do not count."""
    held = getattr(value, "__dict__", None)
    for name in held.keys() - frozenset(record.names) if held else ():
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            return str(name)
    return None


def caches_hash(cls: type) -> bool:
    """Whether attrs keeps the hash in an attribute that its `__init__` must have set."""
    code = getattr(cls.__hash__, "__code__", None)
    return code is not None and "_attrs_cached_hash" in code.co_names


def field_types(cls: type, names: tuple[str, ...], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The annotations of a class's fields, with the type `arguments` put in; Any where one is not known."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # names under TYPE_CHECKING, local classes, expressions: anything may be raised here
        return dict.fromkeys(names, Any)
    parameters = getattr(cls, "__parameters__", ())
    inherited = [
        base for base in getattr(cls, "__orig_bases__", ()) if hasattr(typing.get_origin(base), "__mro__")
    ]
    plain = all(typing.get_origin(base) is typing.Generic for base in inherited)
    bound = (
        dict(zip(parameters, arguments, strict=True)) if plain and len(parameters) == len(arguments) else {}
    )
    return {name: put_in(hints.get(name, Any), bound) for name in names}


def keys_of(cls: Any) -> tuple[str, ...]:
    """The keys of a `TypedDict`. Not by its annotations: from Python 3.14 on, to read is to evaluate them."""
    return tuple(sorted(cls.__required_keys__ | cls.__optional_keys__))


def _build(cls: type, names: tuple[str, ...], hash_slot: bool, values: Sequence[Any]) -> Any:
    # not through __init__: converters, defaults and init=False fields would make it another value
    made: Any = object.__new__(cls)
    put = _putter(made)  # bound once: half the time
    for name, value in zip(names, values, strict=True):
        put(name, value)
    if hash_slot:
        put("_attrs_cached_hash", None)
    return made


_putter = object.__setattr__.__get__


def class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def learn(cls: type) -> None:
    """Let `restore` make instances of `cls`."""
    name = class_name(cls)
    if known.get(name) is not cls:
        _look_again(name)
        if cls not in _replaced:
            known[name] = cls


def renew() -> None:
    """Modules were loaded anew: what they replaced is not known any more (R3)."""
    for name in tuple(known):
        _look_again(name)


def _look_again(name: str) -> None:
    before, now = _in_modules.get(name), _class_in_module(name)
    if now is not None and now is not before:
        _in_modules[name] = now
        _replaced.discard(now)  # it may be there again
        if before is not None:
            _replaced.add(before)
        if known.get(name) is before:
            known[name] = now


def learn_annotation(annotation: Any) -> None:
    """Learn every enum and record class that a value of this annotation may contain, fields included."""
    todo: list[Any] = [annotation]
    seen: dict[int, Any] = {}  # by identity, and kept alive: annotations may be unhashable
    while todo:
        here = todo.pop()
        if id(here) in seen:
            continue
        seen[id(here)] = here
        origin, arguments = typing.get_origin(here), typing.get_args(here)
        if origin is typing.Literal:
            todo.extend(type(literal) for literal in arguments)
            continue
        todo.extend(arguments)
        todo.extend(getattr(here, name, None) for name in ("__supertype__", "__bound__"))
        todo.extend(getattr(here, "__constraints__", ()))
        cls = origin or here
        if (alias := alias_of(here)) is not None:
            todo.append(written_for(alias))
        elif isinstance(cls, type):
            if issubclass(cls, enum.Enum):
                learn(cls)
            elif (record := record_of(cls)) is not None:
                learn(cls)
                todo.extend(field_types(cls, record.names, arguments).values())
            elif typing.is_typeddict(cls):
                todo.extend(field_types(cls, keys_of(cls), arguments).values())


_records: dict[type, Record | None] = {}
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, or by a newer library written in C
