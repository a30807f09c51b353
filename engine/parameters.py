"""Parameters: what a function takes, asked when it is defined.

From Python 3.14 on, annotations are evaluated when somebody reads them, and may name what stands further
down in the file.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from typing import Any

from engine.message import EngineError


def parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """The parameters of a function. An annotation that cannot be evaluated yet is its text."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(function, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(function)
    return tuple(map(_as_text, signature.parameters.values()))


def owner_of(function: Callable[..., Any]) -> type | None:
    """The class that a function is a method of, whose `self` no annotation names."""
    owner: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split(".")[:-1]:
        owner = getattr(owner, name, None)
    return owner if isinstance(owner, type) else None


def hints_of(
    what: Any, refused: type[EngineError], *, extras: bool = True, **fields: object
) -> dict[str, Any]:
    """The annotations of a function or a class, evaluated; where that cannot be, it is `refused`."""
    try:
        return typing.get_type_hints(what, include_extras=extras)
    except Exception as error:  # whatever an annotation runs, or a module that it imports lazily
        hint = "Correct the annotation."
        if isinstance(error, NameError | AttributeError):
            hint = "Import the names its annotations use at run time, not only for type checking."
        raise refused(**fields, cause=f"an annotation cannot be resolved: {error}", hint=hint) from error


def _as_text(parameter: inspect.Parameter) -> inspect.Parameter:
    if isinstance(parameter.annotation, typing.ForwardRef):
        return parameter.replace(annotation=parameter.annotation.__forward_arg__)
    return parameter


class _Written(str):
    """An annotation that is a text: shown as it is written, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature_of(name: str, parameters: Iterable[inspect.Parameter]) -> str:
    """The name and the parameters of a query, annotations as they are written."""
    return f"{name}{inspect.Signature([_as_written(one) for one in parameters])}"


def _as_written(parameter: inspect.Parameter) -> inspect.Parameter:
    said = parameter.annotation
    return parameter.replace(annotation=_Written(said)) if isinstance(said, str) else parameter
