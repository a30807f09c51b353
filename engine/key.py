"""Key: a query and its arguments, the identity of a node.

Invariants
    K1  Arguments are canonical: defaults filled in, keyword order gone.
    K2  Keys of arguments that differ in type differ: `1`, `True` and `1.0` are three keys.
    K3  A key is shown alike in every process: people compare what commands print, and programs parse it.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from operator import is_
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import field, frozen

from engine.message import escaped

if TYPE_CHECKING:
    from engine.query import QueryInfo

_PLAIN: Final = frozenset({str, int, bool, float, bytes, type(None)})  # shown as they are

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
    """`repr`, the same in every process (K3), and never raising."""
    try:
        text = repr(value)
        if "{" in text and type(value) is not str:  # else there is no set in it
            try:
                return repr(_in_order(value))
            except Exception:  # it contains itself, say, or it cannot be copied: then without the order
                return text
        return text
    except Exception as error:  # a broken __repr__ of a user's class must not hide the real message
        if isinstance(value, int):  # of more digits than Python makes a text of
            from decimal import Decimal

            return str(Decimal(value))
        return f"<{type(value).__name__}: repr failed with {type(error).__name__}>"


class _Set(set[Any]):
    def __repr__(self) -> str:
        return f"{{{_listed(self)}}}" if self else "set()"


class _FrozenSet(frozenset[Any]):
    def __repr__(self) -> str:
        return f"frozenset({{{_listed(self)}}})" if self else "frozenset()"


def _listed(items: Iterable[Any]) -> str:
    """Numbers by size, all else by its text: what other types call smaller need not be an order."""
    plain = all(type(one) is int for one in items)
    return ", ".join(map(repr, sorted(items)) if plain else sorted(map(repr, items)))


def _in_order(value: Any) -> Any:
    """What is shown like `value`, but for sets, whose own order depends on the hash seed."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is frozenset:
        return _FrozenSet(map(_in_order, value))
    if kind is set:
        return _Set(map(_in_order, value))
    if isinstance(value, tuple | list):
        items = list(map(_in_order, value))
        if all(map(is_, items, value)):
            return value
        return items if kind is list else tuple.__new__(kind, items)
    if kind is dict:
        return {_in_order(name): _in_order(one) for name, one in value.items()}
    names = [
        *getattr(kind, "__dataclass_fields__", ()),
        *(one.name for one in getattr(kind, "__attrs_attrs__", ())),
    ]
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    ordered = {name: _in_order(one) for name, one in held.items()}
    if all(map(is_, ordered.values(), held.values())):
        return value
    same = copy(value)
    for name, one in ordered.items():
        object.__setattr__(same, name, one)  # it may be frozen
    return same
