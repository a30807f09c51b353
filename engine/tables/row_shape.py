"""Row shape: of what types the columns of rows are, as a text that changes when they do.

What is kept of a table is read by the types of its columns: 1 is kept for True, for 1 and for 1.0. So rows
and log entries that were written for other types are not to be read by those of now.

Invariants
    D1  Equal shapes read equal columns as equal values, nested ones included.
    D2  A shape is the same in every process, and for every Python.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
import types
import typing
from collections.abc import Iterable
from typing import Any, Final

import attrs

from engine.alias import alias_of, meaning
from engine.script import module_name

ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")  # differs in every process
_UNIONS: Final = (typing.Union, types.UnionType)  # one from Python 3.14 on


def row_shape(row: Any) -> str:
    """The shape of a class of rows, or of any annotation."""
    return _shape(row, ())


def _shape(annotation: Any, outer: tuple[Any, ...]) -> str:
    alias = alias_of(annotation)
    if alias is not None and alias not in outer:
        return _shape(meaning(annotation), (*outer, alias))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is not None and origin is not typing.Literal:
        inner = ", ".join(_shape(one, outer) for one in arguments)
        return f"{'Union' if origin in _UNIONS else _shape(origin, outer)}[{inner}]"
    if isinstance(annotation, typing.NewType):
        return f"{_name(annotation)}({_shape(annotation.__supertype__, outer)})"
    if not isinstance(annotation, type):
        return ADDRESS.sub("", repr(annotation))
    if annotation in outer:
        return _name(annotation)  # a class inside of itself: its fields stand further out
    if issubclass(annotation, enum.Enum):
        members = ", ".join(f"{name}={one.value!r}" for name, one in annotation.__members__.items())
        return ADDRESS.sub("", f"{_name(annotation)}({members})")
    fields = _fields(annotation)
    if fields is None:
        return _name(annotation)
    hints = _hints(annotation)
    several = [f"{name}: {_shape(hints.get(name, Any), (*outer, annotation))}" for name in fields]
    return f"{_name(annotation)}{_encoded(annotation)}({', '.join(several)})"


def _encoded(kind: Any) -> str:
    """How msgspec encodes a record, where that is not as an object of its fields. Answers are stored so."""
    if issubclass(kind, tuple):
        return " array"
    config = _struct_config(kind)
    if config is None:
        return ""
    left_out = kind.__struct_defaults__ if config.omit_defaults else ()
    said = (config.array_like, config.tag_field, config.tag, kind.__struct_encode_fields__, left_out)
    return ADDRESS.sub("", f" {said}")


def _struct_config(kind: type) -> Any:
    """The options of a msgspec.Struct, which is not imported here; None for every other class."""
    config = getattr(kind, "__struct_config__", None)
    return config if type(config).__name__ == "StructConfig" else None  # a metaclass may answer to any name


def _fields(kind: Any) -> Iterable[str] | None:
    if _struct_config(kind) is not None:
        return list(kind.__struct_fields__)
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind)]
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(getattr(kind, "_fields"))  # noqa: B009 -- no class of tuples is known to have it
    return list(_written(kind)) if typing.is_typeddict(kind) else None


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception:  # of a class that is only there for type checkers, or not at all: as it is written
        return _written(kind)


def _written(kind: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):  # to read `__annotations__` is to evaluate them
        from annotationlib import Format, get_annotations

        return get_annotations(kind, format=Format.STRING)
    else:  # noqa: RET505 -- without it, mypy on 3.14 finds what follows unreachable
        return dict(kind.__annotations__)


def _name(kind: Any) -> str:
    return f"{module_name(getattr(kind, '__module__', ''))}:{getattr(kind, '__qualname__', repr(kind))}"
