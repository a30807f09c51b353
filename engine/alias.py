"""Alias: what a `type` statement (3.12) stands for.

Invariant
    L1  Nothing is raised: what such a statement names may be there for type checkers alone, or nowhere. Then
        it stands for anything.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any


def alias_of(annotation: Any) -> Any:
    """The alias of an annotation `A` or `A[int]`; None where it is none."""
    found = typing.get_origin(annotation) or annotation
    return found if type(found).__name__ == "TypeAliasType" else None  # typing_extensions has one too


def written_for(alias: Any) -> Any:
    """What an alias stands for, parameters and all. It is evaluated when somebody asks."""
    try:
        return alias.__value__
    except Exception:  # names under TYPE_CHECKING, expressions: anything may be raised here
        return Any


def meaning(annotation: Any) -> Any:
    """What an annotation `A` or `A[int]` stands for, with the arguments put in."""
    alias, arguments = alias_of(annotation), typing.get_args(annotation)
    parameters = alias.__type_params__
    bound = dict(zip(parameters, arguments, strict=True)) if len(parameters) == len(arguments) else {}
    try:
        return put_in(written_for(alias), bound)
    except Exception:  # for what stands for several arguments
        return Any


def put_in(hint: Any, bound: Mapping[Any, Any]) -> Any:
    """An annotation with types for its parameters; Any for those that are not known."""
    if isinstance(hint, typing.TypeVar):
        return bound.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ()) if typing.get_origin(hint) is not None else ()
    return hint[tuple(bound.get(parameter, Any) for parameter in parameters)] if parameters else hint
