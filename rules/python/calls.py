"""Calls: who refers to what, read in both directions, one step or many.

Symbols are texts here: "path:qualified", and "path:" for the code of a module itself.

Invariants
    Q1  An answer depends on the rows of the symbols that it passes, and on no others.
    Q2  Circles and depth are data: nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine import query
from engine.rules.python.private import asked_for
from engine.rules.python.reach import Found, Reached, Step, reach
from engine.rules.python.references import Reference, references
from engine.rules.python.uses import CALL, DECORATOR

CALLS = (CALL, DECORATOR)


@query
def references_to(symbol: str) -> tuple[Reference, ...]:
    """What refers to a symbol. () is an answer too."""
    return references.where(target=symbol)


@query
def references_from(symbol: str) -> tuple[Reference, ...]:
    """What a symbol refers to, resolved or not."""
    return references.where(source=symbol)


@query
def possible_references(name: str) -> tuple[Reference, ...]:
    """Uses of an attribute on something that is not known: each may mean any definition of that name.

    A qualified name counts by its last part; with that of its class, "C.__x" is also used by `_C__x`.
    """
    return tuple(row for one in asked_for(name) for row in references.where(member=one))


@query
def callers(symbol: str, depth: int = 1) -> tuple[Reached, ...]:
    """What calls a symbol, over at most `depth` steps (0: any number), each with its way; nearest first."""
    return tuple(reach((symbol,), _callers, depth).values())


@query
def callees(symbol: str, depth: int = 1) -> tuple[Reached, ...]:
    """What a symbol calls, over at most `depth` steps (0: any number), each with its way; nearest first."""
    return tuple(reach((symbol,), _callees, depth).values())


@query
def path_between(source: str, target: str) -> tuple[Step, ...]:
    """A shortest way by which one symbol refers to another; () where there is none."""
    found = reach((source,), referred, until=target).get(target)
    return () if found is None else found.steps


def referrers(symbol: str) -> Iterator[Found]:
    """For queries to call: one step from a symbol to those that refer to it."""
    yield from _up(symbol, lambda row: True)


def referred(symbol: str) -> Iterator[Found]:
    """One step from a symbol to those that it refers to."""
    yield from _down(symbol, lambda row: True)


def _callers(symbol: str) -> Iterator[Found]:
    yield from _up(symbol, lambda row: row.usage in CALLS)


def _callees(symbol: str) -> Iterator[Found]:
    yield from _down(symbol, lambda row: row.usage in CALLS)


def _up(symbol: str, wanted: Callable[[Reference], bool]) -> Iterator[Found]:
    for row in references.where(target=symbol):
        if wanted(row):
            yield row.source, row.source_kind, Step(row.source, symbol, row.usage, row.name)


def _down(symbol: str, wanted: Callable[[Reference], bool]) -> Iterator[Found]:
    for row in references.where(source=symbol):
        if row.target is not None and wanted(row):
            yield row.target, row.target_kind, Step(symbol, row.target, row.usage, row.name)
