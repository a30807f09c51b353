"""Conversion: a text of the command line to a value of an annotation.

Invariants
    V1  The annotation decides; without one the text is JSON, or else itself.
    V2  Nothing is evaluated, and no class is made that the annotation does not name.
    V3  What does not fit is a ValueError, which says what would as far as that is a short list.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from pathlib import PurePath
from typing import Any, Final

from engine.alias import alias_of, meaning
from engine.settings import parse_flag

_NONE: Final = ("null", "none", "None")
_PLAIN: Final = (int, float, complex)


def convert(text: str, hint: Any) -> Any:
    """`text` as a value of the annotation `hint`; raises ValueError."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return convert(text, members[0])
    if hint is Any or hint is object or isinstance(hint, str | typing.TypeVar):
        return free(text)
    if hasattr(hint, "__supertype__"):
        return convert(text, hint.__supertype__)
    if alias_of(hint) is not None:
        return convert(text, meaning(hint))
    if origin in (typing.Union, types.UnionType):
        return _union(text, members)
    if origin is typing.Literal:
        return _choice(text, {str(member): member for member in members})
    if hint is None or hint is type(None):
        if text in _NONE:
            return None
        raise ValueError("say null")
    if hint is str:
        return text
    if hint is bool:
        value = parse_flag(text)
        if isinstance(value, bool):
            return value
        raise ValueError("say true or false")
    if hint in _PLAIN:
        return hint(text)
    if hint is bytes:
        return text.encode(errors="surrogateescape")
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return hint(text)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        names = {**{str(one.value): one for one in hint}, **hint.__members__}
        return _choice(text, names)
    try:
        return _by_msgspec(text, hint)
    except ValueError:
        raise
    except Exception as error:  # of a class's own `__post_init__`, which may raise anything
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _union(text: str, members: tuple[Any, ...]) -> Any:
    order = sorted(members, key=lambda member: (member is not type(None), member is str))
    for member in order:
        try:
            return convert(text, member)
        except ValueError:
            continue
    raise ValueError


def _choice(text: str, choices: dict[str, Any]) -> Any:
    if text in choices:
        return choices[text]
    raise ValueError(f"one of {', '.join(choices)}")


def free(text: str) -> Any:
    """`text` as a value where no annotation says of what type: JSON, or else itself."""
    try:
        return _frozen(json.loads(text))
    except ValueError:
        return text


def _frozen(value: Any) -> Any:
    """JSON's arrays as tuples, which can be part of a key."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(one) for key, one in value.items()} if isinstance(value, dict) else value


def _by_msgspec(text: str, hint: Any) -> Any:
    """Containers, records, dates: as JSON, or for what JSON has no form of, as its text."""
    import msgspec

    try:
        return msgspec.json.decode(text.encode(), type=hint, dec_hook=make)
    except UnicodeEncodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:  # of a `type` statement that names itself, which msgspec finds no end of
        return free(text)
    except msgspec.DecodeError as error:  # ValidationError among them: JSON, but not what is asked for
        try:
            if "surrogate" in str(error):  # the name of a file that is not UTF-8, which only json can say
                return msgspec.convert(json.loads(text), hint, dec_hook=make)
            return msgspec.convert(text, hint, strict=False, dec_hook=make)
        except (msgspec.ValidationError, TypeError, ValueError):
            raise ValueError(f"as JSON: {error}") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def make(kind: type, value: Any) -> Any:
    """What msgspec does not make of a plain value by itself; raises ValueError."""
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise ValueError(f"a value of {kind!r} cannot be given on the command line")


def shown(hint: Any) -> str:
    """An annotation as people write it."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
