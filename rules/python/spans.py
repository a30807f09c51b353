"""Spans: where a Python file defines things. The positions that `facts` leaves out.

Only what shows or edits source text should read these: they change whenever a line is inserted above.
"""

from __future__ import annotations

from attrs import frozen

from engine import query
from engine.rules.python.parse import parse
from engine.rules.python.survey import survey_of


@frozen
class Span:
    """The place of the `facts.Definition` with the same qualified name, kind and ordinal.

    Lines count from 1, columns from 0 in UTF-8 bytes, as in the `ast` module. A class or function spans its
    statement without the decorators; a variable spans the name where it is first assigned.
    """

    qualified: str
    kind: str
    ordinal: int
    line: int
    column: int
    end_line: int
    end_column: int


@query
def spans(path: str) -> tuple[Span, ...]:
    """Where the definitions of a Python file are, in the order of the file. Empty for unreadable files."""
    return tuple(
        Span(
            found.qualified,
            found.kind,
            found.ordinal,
            found.node.lineno,
            found.node.col_offset,
            found.node.end_lineno,
            found.node.end_col_offset,
        )
        for found in survey_of(parse(path).tree).definitions
    )
