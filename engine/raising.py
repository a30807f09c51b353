"""Raising: every reader of a kept exception gets one of its own.

To raise an exception changes it: its traceback grows, what was being handled becomes its context, notes are
put on it. One object for all would show a reader the ways of others, and hold their locals.

Invariants
    W1  It is of the same class, with the same arguments, attributes, slots and fields, cause and context. Its
        notes are a list of its own; what else it holds is shared.
    W2  No code of its class runs: no constructor, no `__setattr__` (which may be frozen), no `__reduce__`.
    W3  Of a class of an extension with fields that cannot be seen from here there is one object for all, as
        with `concurrent.futures`: see test_an_exception_that_cannot_be_copied_is_one_object.
"""

from __future__ import annotations

from functools import lru_cache
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any, Final

NOTES: Final = "__notes__"
_HEAP: Final = 1 << 9  # of `type.__flags__`: a class that was made while the program runs
_POINTER: Final = object.__basicsize__ // 2  # a count of references, and a type
_NEVER: Final = object()
_BASE: Final[Any] = BaseException.__dict__
_MESSAGE: Final[Any] = BaseExceptionGroup.__dict__["message"]
_EXCEPTIONS: Final[Any] = BaseExceptionGroup.__dict__["exceptions"]
_ATTRIBUTES: Final = _BASE["__dict__"]
_ALWAYS: Final = tuple(_BASE[name] for name in ("args", "__cause__", "__context__", "__suppress_context__"))


def own(error: Exception, traceback: TracebackType | None = None) -> Exception:
    """Another exception like `error`, to be raised once, as if it came from `traceback`."""
    kind: type = type(error)
    plan = _plan(kind)
    if plan is None:
        BaseException.with_traceback(error, traceback)
        return error
    solid, fields = plan
    copy: Exception
    if issubclass(solid, BaseExceptionGroup):
        copy = solid.__new__(kind, _MESSAGE.__get__(error), _EXCEPTIONS.__get__(error))
    else:
        copy = solid.__new__(kind)
    for one in _ALWAYS:  # in this order: a cause suppresses the context
        one.__set__(copy, one.__get__(error))
    for one, empty in fields:
        try:
            value = one.__get__(error)
        except AttributeError:
            continue  # a slot that was never filled
        if value is not empty:
            one.__set__(copy, value)
    attributes = _ATTRIBUTES.__get__(error)
    if attributes:
        _ATTRIBUTES.__get__(copy).update(attributes)
        set_notes(copy, notes_of(error))
    BaseException.with_traceback(copy, traceback)
    return copy


def notes_of(error: BaseException) -> list[str]:
    """The notes on an exception, as a list that may be changed."""
    notes = _ATTRIBUTES.__get__(error).get(NOTES, ())
    return [str(note) for note in notes] if isinstance(notes, list | tuple) else []


def set_notes(error: BaseException, notes: list[str]) -> None:
    """Replace its notes, also where its class is frozen; `add_note` fails there."""
    if notes:
        _ATTRIBUTES.__get__(error)[NOTES] = notes
    else:
        _ATTRIBUTES.__get__(error).pop(NOTES, None)


@lru_cache(maxsize=256)
def _plan(kind: type) -> tuple[Any, tuple[Any, ...]] | None:
    """How exceptions of a class are copied: the class that makes the object, and the fields of all of them.

    None where part of the object is out of sight: something was laid out for it that no field explains, or
    an extension makes it in a way of its own.
    """
    solid: type = kind
    while solid.__flags__ & _HEAP:
        solid = solid.__base__ or object
    own_fields, fields = 0, list[Any]()
    for cls in kind.__mro__:
        if cls in (BaseException, object):
            continue
        for one in vars(cls).values():
            if isinstance(one, MemberDescriptorType | GetSetDescriptorType):
                if one.__name__ in ("__dict__", "__weakref__"):
                    continue
                is_slot = bool(cls.__flags__ & _HEAP)
                own_fields += is_slot
                # A field of a built-in class that was never filled reads as None. Filled with it, `OSError`
                # would show a second file name.
                fields.append((one, _NEVER if is_slot else None))
    laid_out = (kind.__basicsize__ - solid.__basicsize__) // _POINTER
    if laid_out != own_fields + (kind.__weakrefoffset__ > 0):
        return None
    if issubclass(solid, BaseExceptionGroup):
        fields = [pair for pair in fields if pair[0].__objclass__ is not BaseExceptionGroup]
    elif not _is_made_by(solid, kind):
        return None
    return solid, tuple(fields)


def _is_made_by(solid: Any, kind: type) -> bool:
    """Whether objects of the class may be made by the class below: not where an extension makes them."""
    try:
        solid.__new__(kind)
    except TypeError:  # "is not safe"
        return False
    return True
