"""Fold: a value reduced over the members of a collection, kept by what comes and goes.

    line_total = fold(each=python_files, of=line_count, into=Sum())

    line_total()         # in a query, or from the host: db.get(line_total)

Invariants
    F1  The value is that of `from_scratch`, which defines what is right, whatever happened before.
    F2  One member that changes costs O(1) where `into` can take a value out again, else O(log n).
    F3  A member that fails is the value of the fold: a sum without it would be a wrong sum.

Not here: the accumulators (accumulate), where their state is kept (kept_fold).
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Generic, TypeVar, cast, overload

from engine.define import all_at_once, define_query
from engine.errors import BadFold, BadQuery, UnfoldableValue
from engine.frame import CURRENT, Frame
from engine.key import Key, display
from engine.message import escaped
from engine.parameters import hints_of
from engine.query import QueryInfo, QueryOfOne, info_of
from engine.script import module_name
from engine.store.canonical import known, learn_annotation, pack, unpack
from engine.tables.accumulate import Accumulator, Associative, Invertible, is_invertible
from engine.tables.blocks import Blocks
from engine.tables.columns import Plain, plain
from engine.tables.lookup import OF, LookupInfo
from engine.tables.scratch import keys_of
from engine.tables.table import CollectionInfo, SourceKeys, assemble, by_name, refuse_function

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

VALUE = "value"


class Fold(Generic[R_co]):
    """What `fold` returns: a query without arguments."""

    def __init__(self, info: CollectionInfo) -> None:
        self.__collection__ = info
        assert info.value is not None
        self.__query__ = info.value
        self.__name__ = info.name

    def __repr__(self) -> str:
        return f"<Fold {escaped(self.__name__)}>"

    def __call__(self) -> R_co:
        """The value; inside a query it is recorded as a dependency."""
        return cast(R_co, self.__query__.wrapper())

    def key(self) -> Key[R_co]:
        """Names the value without computing it."""
        return Key(self.__query__, ())


@overload
def fold(
    *,
    each: SourceKeys[K],
    of: QueryOfOne[K, V],
    into: Accumulator[V, R],
    name: str | None = ...,
    version: str | int | None = ...,
) -> Fold[R]: ...
@overload
def fold(
    *,
    each: SourceKeys[K],
    of: QueryOfOne[K, V],
    into: Invertible[V, Any, R],
    name: str | None = ...,
    version: str | int | None = ...,
) -> Fold[R]: ...
@overload
def fold(
    *,
    each: SourceKeys[K],
    of: QueryOfOne[K, V],
    into: Associative[V, Any, R],
    name: str | None = ...,
    version: str | int | None = ...,
) -> Fold[R]: ...
@by_name("fold(each=keys, of=length, into=Sum())")
def fold(
    *, each: Any, of: Any, into: Any, name: str | None = None, version: str | int | None = None
) -> Fold[Any]:
    """A value reduced over `of(key)` for every key in `each`, kept up to date by what changes.

    Options:
        each     the source keys, as for `table`.
        of       the query of one key whose values are reduced. Values need canonical bytes.
        into     what they are reduced into: `Sum()`, `Count()`, `Min()`, `Max()`, `Set()`, `Merge(f, empty)`,
                 or a class of your own: see `Invertible` and `Associative`.
        name     its identity in the store; default: that of `of` with the name of `into`. Two folds that
                 would have one name need names of their own.
        version  change it when you change a class of your own in a way that changes results.

    A changed member costs its own query and, with an inverse, one step; without one, some ten (the depth of a
    balanced tree). Raises `BadTable` or `BadFold`.
    """
    is_invertible(into)  # refuses what is neither
    refuse_function("of", of, BadFold)
    name = name or f"{info_of(of).name}.{type(into).__name__}"
    version = repr((module_name(type(into).__module__), type(into).__qualname__, version))
    with all_at_once():
        return Fold(_collection(each, info_of(of), into, name, version))


def _collection(each: Any, of: QueryInfo, into: Any, name: str, version: str) -> CollectionInfo:
    info = assemble(_member(of, name), "fold", each, into=into, version=version, name=name)
    info.of = of

    def value() -> Any:
        frame = CURRENT.get()
        kept = None if frame is None else frame.fold(info)
        if kept is not None:
            return kept[0]
        return from_scratch(info, frame)

    info.reduced = define_query(_ingredients(into), name=f"{name}.into", quiet=True).__query__
    named = define_query(
        value, name=name, code="version", version=version, returns=lambda: _any(info)
    ).__query__
    named.collection, info.value = info, named
    return info


def _member(of: QueryInfo, name: str) -> QueryInfo:
    """The query of one key.

    Memos of queries are taken over as they are made. An input is given its value, so there is a query that
    reads it; and so there is for a query that takes more than the key.
    """
    try:
        inspect.Signature(list(of.parameters)).bind(None)
        fits = not isinstance(of, LookupInfo) or of.mode == OF
    except TypeError:
        fits = False
    if not fits:
        raise BadFold(
            fold=name,
            of=of.name,
            cause="it does not take a key alone",
            hint="Give `of=` a query of one argument.",
        )
    if not of.is_input and len(of.parameters) == 1:
        return of

    wrapper = of.wrapper  # a query in a closure cell: with other defaults its code is other code

    def read(key: Any) -> Any:
        return wrapper(key)

    returns = of.returns or (lambda: hints_of(of.function, BadQuery, query=of.name).get("return", Any))
    return cast(
        QueryInfo,
        define_query(
            read,
            name=f"{name}.of",
            quiet=True,
            persist=False,
            returns=returns,
        ).__query__,
    )


def learn_values(info: CollectionInfo) -> None:
    """Let the bytes of values, states and results be read in a process that made none of them yet.

    What the annotations of the member and of the accumulator's methods name, that is. See
    test_a_fold_into_a_class_of_the_user_goes_on_after_a_restart.
    """
    if info.is_learned:
        return
    for function in info.made_by():
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # whatever an annotation runs: the member's own codec says so, in good words
            continue
        learn_annotation(hints.get("return", Any))
    info.is_learned = True


def _any(info: CollectionInfo) -> Any:
    """The annotation of a fold's value: what an accumulator returns is its own affair."""
    learn_values(info)
    return Any


def _ingredients(into: Any) -> Callable[[], None]:
    """A query whose code is that of the accumulator: another one, and the fold is built anew.

    Of our own accumulators that is what they were given: the function of `Merge`, the default of `Min`.
    """
    ours = type(into).__module__.startswith("engine.")
    names = [name for kind in type(into).__mro__ for name in getattr(kind, "__slots__", ())]
    parts = tuple([getattr(into, name) for name in names if hasattr(into, name)]) if ours else into

    def reduced() -> None:
        _ = parts  # a closure cell: what is in it is part of the code

    given = [one for one in parts if inspect.isfunction(one)] if ours else [type(into)]
    reduced.__module__ = given[0].__module__ if given else __name__  # until that is loaded, it may change
    return reduced


def from_scratch(info: CollectionInfo, frame: Frame | None) -> Any:
    """The value from its members: what every other way to get it has to agree with (F1)."""
    learn_values(info)
    fetch: Any = (lambda info, args: info.call(args)) if frame is None else frame.fetch_rows
    keys = sorted(keys_of(info, fetch), key=lambda key: key_bytes(plain(key)))
    several = [(info.member, (key,)) for key in keys]
    values = [info.member.call(args) for _, args in several] if frame is None else frame.fetch_group(several)
    into, by_place = info.into, dict(zip([key_bytes(plain(key)) for key in keys], values, strict=True))
    if is_invertible(into):
        names = dict(zip(by_place, [display(info.member.name, (key,)) for key in keys], strict=True))
        return into.result(added_up(into, by_place, names.__getitem__))
    return _merged(into, by_place)


def added_up(into: Any, values: Mapping[bytes, Any], name_of: Callable[[bytes], str]) -> Any:
    """The state of values by place, in order. Raises what `add` raises, with the member that cannot go in."""
    state = into.zero()
    for place, value in values.items():
        try:
            state = into.add(state, value)
        except UnfoldableValue as error:
            error.fields = {"member": name_of(place), **error.fields}
            raise
    return state


def _merged(into: Any, values: Mapping[bytes, Any]) -> Any:
    if not values:
        return into.result(into.empty())
    tree = Blocks(lambda places: {}, merging(into))
    tree.update({key: pack(into.lift(value)) for key, value in values.items()})
    summary = tree.root()
    assert summary is not None
    return into.result(unpack(summary, known))


def merging(into: Any) -> Callable[[Sequence[bytes]], bytes]:
    """`merge` of an accumulator, over the bytes of neighbours."""
    return lambda several: pack(reduce(into.merge, [unpack(one, known) for one in several]))


def key_bytes(key: Plain) -> bytes:
    """Bytes in whose order members are merged: nothing, numbers, texts, all else."""
    if key is None:
        return b"\x00"
    if isinstance(key, int):
        return b"\x01" + (key + (1 << 63)).to_bytes(8, "big")
    return b"\x02" + key.encode() if isinstance(key, str) else b"\x03" + cast(bytes, key)
