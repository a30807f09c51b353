"""Expressions: the arithmetic of random programs, as nested lists, so that a timeline is plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from graphlib import CycleError
from typing import Any

Expression = Sequence[Any]
Outcome = tuple[Any, ...]  # ("value", v) or ("error", name of the class, arguments)
Choose = Callable[[int, int], int]  # an integer of a range, ends included


def arithmetic(e: Expression, n: int, part: Callable[[Expression], int]) -> int:
    """The value for argument `n` of an expression that reads nothing; `part` evaluates what is in it."""
    match e:
        case "constant", value:
            return int(value)
        case ("argument",):
            return n
        case "add", a, b:
            return part(a) + part(b)
        case "half", a:
            return part(a) // 2
        case "sign", a:
            return max(-1, min(1, part(a)))
        case "if", condition, a, b:
            return part(a if part(condition) > 0 else b)
        case "fail", a:
            value = part(a)
            if value % 3 == 1:
                raise ValueError("unlucky", value)
            return value
        case "rescue", a, b:
            try:
                return part(a)
            except (ValueError, CycleError):
                return part(b)
    raise AssertionError(f"no such expression: {e}")


def outcome_of(work: Callable[[], Any]) -> Outcome:
    """What a call comes to; of a cycle only that it is one: a ring may be entered at several places."""
    try:
        return "value", work()
    except CycleError:
        return "error", "CycleError", ()
    except ValueError as error:
        return "error", "ValueError", error.args


def value_of(outcome: Outcome) -> Any:
    """The value, or its error raised."""
    if outcome[0] == "error":
        raise {"CycleError": CycleError, "ValueError": ValueError}[outcome[1]](*outcome[2])
    return outcome[1]
