"""Given: the project classes whose instances a query may give, which count in code that reads it.

Invariants
    O1  All counts that the annotation of its result names; that is all where the value is checked against it,
        or where it admits no instances of classes.
    O2  Else what its code names counts too, and what the functions that it names do: classes, the classes of
        objects, and what those hold; of modules that are imported in a function, the source.
    O3  Things are met in an order that all processes agree on, see `names`. Depth is data.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import typing
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import FunctionType, MappingProxyType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from engine.code.names import brought, names_of
from engine.code.reach import Chain, facts_of
from engine.code.value import ATOMIC, HOLDERS, in_order, is_plain, peek
from engine.store.codec import leaves_open

if TYPE_CHECKING:
    from engine.code.walk import Walk

_ROWS = (Iterable, Iterator, Generator)  # of a table
_said: WeakKeyDictionary[FunctionType, tuple[bool, bool]] = WeakKeyDictionary()


def classes_given(walk: Walk, info: Any) -> list[bytes]:
    """The labels of those classes, sorted, for the definition of a query."""
    labels: set[bytes] = set()
    met: dict[int, object] = {}
    waiting: collections.deque[Any] = collections.deque(_made_by(info))
    into = peek(peek(info, "collection"), "into")  # of a fold, whose values are of any class
    checked = set(map(id, waiting)) if into is None and not peek(info, "pickled") else set[int]()
    if into is not None and not all(_says_what_it_gives(one, checked=False) for one in waiting):
        waiting += (into, *walk.attributes_of(into).values())
    while waiting:
        found = waiting.popleft()
        if type(found) in ATOMIC or id(found) in met:
            continue
        met[id(found)] = found
        if query_name(found) is not None:
            waiting += _made_by(peek(found, "__query__"))
        elif isinstance(found, FunctionType):
            labels.update(walk.annotated(found, "return"))
            if not _says_what_it_gives(found, checked=id(found) in checked):
                waiting += held_by(found)
                if walk.home(home_of(found)) == "project":
                    scope, facts = found.__globals__, facts_of(found.__code__)
                    waiting += (named_in(scope, chain) for chain in facts.names)
                    labels.update(walk.imported(one, scope) for one in facts.imports)
        elif isinstance(found, (type, ModuleType)):
            if walk.home(found.__module__ if isinstance(found, type) else found.__name__) == "project":
                labels.add(walk.value(found))
        else:
            if walk.home(type(found).__module__) == "project":
                labels.add(walk.value(type(found)))
                waiting += walk.attributes_of(found).values()
            waiting += inside(found)
    return sorted(labels)


def query_name(value: object) -> str | None:
    """The name of a query, or None. A wrapper that copied a query's attributes is not a query."""
    mark = peek(value, "__query__")
    if mark is None or peek(peek(value, "__wrapped__"), "__query__") is mark:
        return None
    name = peek(mark, "name")
    return name if isinstance(name, str) else None


def home_of(function: FunctionType) -> str:
    """The module in which a function was written."""
    # functools.wraps copies __module__: only the globals say where the code itself lives
    return str(function.__globals__.get("__name__") or function.__module__ or "")


def _made_by(info: object) -> Iterator[FunctionType]:
    """The functions whose annotations say of which classes the values of a query are."""
    said = peek(info, "made_by")
    for one in () if said is None else said():
        found = peek(one, "__func__") or one
        while isinstance(peek(found, "__wrapped__"), FunctionType):
            found = found.__wrapped__
        if isinstance(found, FunctionType):
            yield found


def named_in(scope: Mapping[str, Any], chain: Chain) -> object:
    """What a name and the attributes of modules that are read from it stand for."""
    found = brought(scope.get(chain[0]))
    for attribute in chain[1:]:
        found = brought(names_of(found, attribute).get(attribute)) if isinstance(found, ModuleType) else found
    return found


def held_by(function: FunctionType) -> Iterator[object]:
    """What a function has from where it was made: defaults, cells, what it wraps."""
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            held[name] = cell.cell_contents
    yield from (held[name] for name in held if not isinstance(held[name], ModuleType))
    yield from (named_in(held, chain) for chain in facts_of(function.__code__).free)
    yield from (function.__defaults__, function.__kwdefaults__, peek(function, "__wrapped__"))


def inside(value: Any) -> Iterable[object]:
    """What an object of a type that is not the project's holds."""
    kind = type(value)
    if kind in HOLDERS:
        return [peek(value, name) for name in HOLDERS[kind]]
    if isinstance(value, (set, frozenset)):
        several: Iterable[object] = in_order(value)
    elif isinstance(value, (dict, MappingProxyType)):
        several = itertools.chain.from_iterable(value.items())
    elif isinstance(value, (list, tuple)) and not is_plain(value):
        several = value
    else:
        return ()
    return [one for one in several if type(one) not in ATOMIC]


def _says_what_it_gives(function: FunctionType, *, checked: bool) -> bool:
    """Whether its annotation names the classes of all that may be in its result. Read once: 0.2 ms."""
    found = _said.get(function)
    if found is None:
        try:
            said = SimpleNamespace(__annotations__={"return": function.__annotations__["return"]})
            annotation = typing.get_type_hints(said, function.__globals__)["return"]
            if typing.get_origin(annotation) in _ROWS:
                annotation = typing.get_args(annotation)[0]
            found = not leaves_open(annotation, checked=False), not leaves_open(annotation, checked=True)
        except Exception:  # there is none; or whatever it runs
            found = False, False
        _said[function] = found
    return found[checked]
