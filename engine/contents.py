"""Contents: what a table or fold keeps beside its value, against the same made from scratch. See comparison.

Invariants
    C1  Told is what is kept otherwise though the values that it is made of are the same.
    C2  Of a fold that is what each member contributes, and what its state comes to: the next change begins
        from that, whatever the value says now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from engine.core import Core
from engine.failure import describe
from engine.key import short
from engine.persist import load
from engine.store.canonical import Unpackable, pack
from engine.tables.columns import Found, Plain, order, plain
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable

ROWS_TOLD: Final = 20  # of one table, each way

Told = tuple[int, str, str]  # node of the engine that began with nothing; kept, right


def rows_differing(
    scratch: Core, kept: KeptTable, right: KeptTable, differing: Collection[int]
) -> Iterator[Told]:
    """Rows of members whose own values are the same; `differing`: nodes whose values are not."""
    sources = {plain(scratch.args_of(one)[0]) for one in right.members or () if one in differing}
    ours, theirs = set(kept.kept.select(())), set(right.kept.select(()))
    for row in _rows(right, ours - theirs, sources):
        yield right.node, row, "no such row"
    for row in _rows(right, theirs - ours, sources):
        yield right.node, "no such row", row


def reduced_differing(
    core: Core,
    kept: KeptFold,
    right: KeptFold,
    pairs: dict[int, int],
    differing: Collection[int],
    text: Callable[[int], str],
) -> Iterator[Told]:
    """Contributions of members whose own values are the same, or what the state comes to.

    pairs    node -> node of the same key in the engine that is looked at
    text     the value of a node from scratch
    """
    several = [one for one in sorted(right.members or ()) if one in pairs and one not in differing]
    wrong = len(several) < len(right.members or ())
    for one in several:
        load(core, (pairs[one],))
        if kept.contribution(pairs[one]) != right.contribution(one):
            wrong = True
            yield one, f"another contribution to {kept.name}", text(one)
    if not wrong and kept.broken is None and right.broken is None:
        held, due = _result(kept), _result(right)
        if held[1] != due[1]:
            yield right.node, f"a state that comes to {held[0]}", due[0]


def _rows(table: KeptTable, rows: set[Found], differing: set[Plain]) -> Iterator[str]:
    info = table.definition
    assert info is not None
    several = sorted((row for row in rows if row[0] not in differing), key=lambda row: order(row[1]))
    for source, columns in several[:ROWS_TOLD]:
        yield f"{info.columns.decode(columns)!r} of {source!r}"
    if len(several) > ROWS_TOLD:
        yield f"{len(several) - ROWS_TOLD} more rows"


def _result(fold: KeptFold) -> tuple[str, bytes]:
    """What a state comes to, as people read it and to compare. An error is compared as the fold's value."""
    try:
        found: Any = fold.result()
    except Exception as error:  # of the accumulator
        return describe(error), b""
    try:
        return short(found), pack(found)
    except Unpackable:
        return short(found), b""
