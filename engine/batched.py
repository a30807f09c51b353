"""Batched: a function of many keys at once, as a query of one.

Invariants
    K1  The value of a key rests on that key alone: the function may read nothing, and what it is given
        besides does not matter. So each key has a memo of its own, whoever was computed beside it.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from engine.errors import BadQuery, WrongCount
from engine.frame import CURRENT, SealedFrame
from engine.key import short
from engine.parameters import hints_of, parameters_of

if TYPE_CHECKING:
    from engine.query import QueryInfo

Many = Callable[[Sequence[Any]], list[Any]]


class BatchFrame(SealedFrame):
    """The frame in which a batch runs (K1)."""

    __slots__ = ()

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> NoReturn:
        """Refused: whose dependency would it be?"""
        raise BadQuery(
            cause=f"a query with batch= read {info.name}",
            hint="Let who asks read it, and make it a part of the key: each(lint, [(path, text), ...]).",
        )


def one_of(function: Callable[..., Any], name: str) -> tuple[Callable[[Any], Any], Many, Callable[[], Any]]:
    """From a function of many keys to one of one key, to what runs it, and to the annotation of one value."""
    parameters = parameters_of(function)
    if len(parameters) != 1 or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise BadQuery(
            query=name,
            cause="it does not take one argument",
            hint="With batch= a function takes a list of keys and returns a list of values.",
        )

    def many(keys: Sequence[Any]) -> list[Any]:
        frame = CURRENT.get()
        token = CURRENT.set(None if frame is None else BatchFrame(frame.root))
        try:
            returned = function(list(keys))
            if not isinstance(returned, Iterable):
                raise WrongCount(query=name, keys=len(keys), returned=short(returned))
            values = list(returned)
        finally:
            CURRENT.reset(token)
        if len(values) != len(keys):
            raise WrongCount(query=name, keys=len(keys), values=len(values))
        return values

    @functools.wraps(function)
    def one(key: Any) -> Any:
        return many([key])[0]

    def value() -> Any:
        from engine.store.canonical import learn_annotation  # late: rules are imported without a store

        hints = hints_of(function, BadQuery, query=name)
        learn_annotation(_element(hints.get(parameters[0].name, Any)))
        return _element(hints.get("return", Any))

    one.__annotations__ = {}  # they are of lists; `value` knows of what
    signature = inspect.Signature([inspect.Parameter("key", inspect.Parameter.POSITIONAL_OR_KEYWORD)])
    one.__signature__ = signature  # type: ignore[attr-defined]  # where `inspect` looks for it
    return one, many, value


def _element(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    return arguments[0] if arguments else Any
