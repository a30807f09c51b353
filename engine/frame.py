"""Frame: the running query. It records what was read, in order.

Invariants
    F1  A read is recorded before its value is seen, also when that value is an error.
    F2  A frame belongs to one engine and one generation; results of an outdated frame are dropped.
    F3  The current frame travels in a context variable, so a thread that a query starts by itself has
        none: its reads can never be attached to the wrong query.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.query import QueryInfo


class Frame:
    """One running query: the shape that the wrapper of a query sees (see `define.py`).

    `tables`, `status`, `values` are the engine's own lists, looked at directly by the hot path; a frame
    that must see every read sets `tables` to the empty list, so that all of them come to `fetch`.
    """

    __slots__ = ("reads", "root", "status", "tables", "values")

    tables: list[dict[Any, int]]  # per query index: memo key -> node
    status: bytearray
    values: list[Any]
    reads: dict[int, int | None]  # node -> None, in order; negative keys are group markers
    root: Path

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """The value of a key, recorded as a dependency. Everything that is not a plain hit."""
        raise NotImplementedError  # nothing reads in such a frame

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """The values of many keys, recorded as one parallel group."""
        raise NotImplementedError  # as above

    def fetch_rows(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """What a member of a table gives, for who does not care in which order. As `fetch`."""
        return self.fetch(info, args)

    # What a table asks of the frame that its lookups run in. None: no rows are kept here, so they are
    # computed from the members.

    def settle(self, collection: Any) -> str | None:
        """Bring all members of a table or fold up to date, and what is kept of them; a digest of it."""
        return None

    def select(self, table: Any, terms: tuple[Any, ...], starting: bool) -> list[Any] | None:
        """Source and columns of the rows that match."""
        return None

    def count(self, table: Any, terms: tuple[Any, ...]) -> int | None:
        """How many rows match."""
        return None

    def rows_of(self, table: Any, key: Any) -> Iterable[Any] | None:
        """Columns of the rows of one source key; raises the error of a member that fails."""
        return None

    def fold(self, collection: Any) -> list[Any] | None:
        """The value of a fold, in a list of one; raises the error of a member that fails."""
        return None

    def failures(self, table: Any) -> list[tuple[str, str]] | None:
        """Source keys whose rows could not be computed, and why."""
        return None


class SealedFrame(Frame):
    """A frame that knows the root, and in which no query may be read."""

    __slots__ = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tables = []  # every read comes to `fetch`

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """Refused, as in `fetch`."""
        return (self.fetch(*many[0]),) if many else ()


NO_TABLES: Final[list[dict[Any, int]]] = []  # makes every read of a frame come to `fetch`
CURRENT: ContextVar[Frame | None] = ContextVar("engine_frame", default=None)


def root() -> Path:
    """The root directory of the engine whose query is running, or the working directory when none is.

    Queries name files relative to it, so that keys and values are the same on every machine.
    """
    frame = CURRENT.get()
    return Path.cwd() if frame is None else frame.root
