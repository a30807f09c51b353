"""Key: a query and its arguments, the identity of a node.

Invariants
    K1  Arguments are canonical: defaults filled in, keyword order gone.
    K2  Keys of arguments that differ in type differ: `1`, `True` and `1.0` are three keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field, frozen

from engine.errors import escaped

if TYPE_CHECKING:
    from engine.query import QueryInfo

R_co = TypeVar("R_co", covariant=True)


@frozen(slots=True, repr=False)
class Key(Generic[R_co]):
    """Names one value: made by `query.key(*args)`, given to `Engine.get`, `set`, `why`.

    Two keys are equal when query and arguments are, types included. `str(key)` is the short form that
    commands print and accept.
    """

    query: QueryInfo
    args: tuple[Any, ...]
    typed: object = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "typed", self.query.memo_key(self.args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.query is other.query and self.typed == other.typed

    def __hash__(self) -> int:
        return hash((id(self.query), self.typed))

    def __str__(self) -> str:
        return self.query.display(self.args)

    def __repr__(self) -> str:
        return f"<Key {self}>"


def display(name: str, args: tuple[Any, ...]) -> str:
    """The short form of a key, on one line: `module:query('a', 3)`."""
    return escaped(f"{name}({', '.join(map(short, args))})", limit=400)


def short(value: object) -> str:
    """`repr`, shortened in the middle, and never raising."""
    text = shown(value)
    return text if len(text) <= 120 else text[:70] + "…" + text[-40:]


def shown(value: object) -> str:
    """`repr`, never raising."""
    try:
        return repr(value)
    except Exception as error:  # a broken __repr__ of a user's class must not hide the real message
        return f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
