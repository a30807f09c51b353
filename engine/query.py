"""Queries and inputs: a function with a key for every choice of arguments, and what the engine knows of it.

How they are made of plain functions is in `define`.

Invariants
    Q1  Outside an engine a query is just its function, and a group of keys its values one by one.
    Q2  One memo key per distinct arguments, types included: the short key is used only where the exact
        class of every argument is the annotated one, anything else goes by canonical bytes.
    Q3  A name means one definition at a time; a later definition takes the name over.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from attrs import define, field

from engine.errors import BadArguments, BadQuery, UnkeyableArgument
from engine.frame import CURRENT
from engine.key import Key, display, short
from engine.message import escaped
from engine.numbering import give_back, next_index
from engine.parameters import hints_of, owner_of, signature_of
from engine.tables.row_shape import row_shape

if TYPE_CHECKING:
    from engine.store.codec import ValueCodec

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
T = TypeVar("T")


class Absent:
    """No value in memory."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
SEVERAL: Final = "With each, of several arguments: each(query.key(a, b) for a, b in pairs)."
READY = 3  # status of a node whose value is in memory, shareable and known correct: LOADED | VALUE


class Query(Protocol[P, R_co]):
    """What `@query` returns: the function, with a key for every choice of arguments."""

    __name__: str
    __query__: QueryInfo

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The value; inside another query the call is recorded as a dependency."""
        ...

    def key(self, *args: P.args, **kwargs: P.kwargs) -> Key[R_co]:
        """Names this value without computing it."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> Query[P, R_co]: ...
    @overload
    def __get__(self: Query[Concatenate[S, Q], T], instance: S, owner: type[S], /) -> Callable[Q, T]: ...


class Input(Query[P, R_co], Protocol[P, R_co]):
    """What `@input` returns: a query whose value comes from outside."""


class QueryOfOne(Protocol[S_contra, R_co]):
    """A query that may be called with one argument, whatever others have defaults."""

    @property
    def __query__(self) -> QueryInfo: ...

    def __call__(self, key: S_contra, /) -> R_co: ...


@define(slots=True, eq=False, repr=False)
class QueryInfo:
    """Everything the engine knows of one definition."""

    index: int = field(init=False, factory=next_index)  # of its table in every engine
    name: str
    function: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]
    kinds: tuple[type, ...] | None
    is_input: bool = False
    observed: bool = False
    stamp: Callable[..., bytes] | None = None
    settled: Callable[[bytes], bool] | None = None
    stamps: Callable[[list[Any]], list[bytes]] | None = None
    place: Callable[..., str | None] | None = None
    as_stamped: Callable[..., tuple[Any] | None] | None = None
    durability: int = field(default=0, converter=int)
    eq: Callable[[Any, Any], bool] | None = None
    version: str | int | None = None
    code: str = "closure"
    persist: bool = True
    largest: int | None = None  # bytes of a value that is worth keeping beside what it was made of
    pickled: bool = False
    untracked: bool = False
    workers: str = "auto"
    timeout: float | None = None
    limit: str | None = None
    batch: int = 0  # so many keys at a time
    many: Callable[[Sequence[Any]], list[Any]] | None = None  # with `batch=`: its values for many keys
    wrapper: Any = None
    returns: Callable[[], Any] | None = None  # what its values are, where the function does not say it
    collection: Any = None  # the table or fold that this query is a part of
    needs_bytes: bool = False  # a value without canonical bytes is an error: rows are kept as such
    quiet: bool = False  # book-keeping of the engine: not counted, and told to nobody
    _codec: ValueCodec | None = field(default=None, init=False)

    def __del__(self, _give_back: Callable[[QueryInfo], None] = give_back) -> None:
        _give_back(self)  # a default: at the end of the process globals go first

    def __deepcopy__(self, memo: object) -> QueryInfo:
        return self  # keys are equal whose definition is one object

    def __reduce__(self) -> tuple[Any, ...]:
        of_a_table = self.needs_bytes and not self.is_input  # what bears its name there is the table
        if of_a_table or (self.collection is not None and inspect.isfunction(self.wrapper)):  # see Lookup too
            cause = "keys of tables and folds cannot be pickled: no module knows their queries by a name"
            hint = "Send the arguments, and make the key where they arrive."
            raise BadQuery(query=self.name, cause=cause, hint=hint)
        return info_of, (self.wrapper,)  # by the name of the query, as functions are

    @property
    def codec(self) -> ValueCodec:
        """How values of this query become bytes; made from the return annotation at first use."""
        if self._codec is None:
            # Late: rules are imported without a store.
            from engine.store.canonical import learn, learn_annotation
            from engine.store.codec import ValueCodec

            hints = self._hints()
            for parameter in self.parameters:
                learn_annotation(hints.get(parameter.name, Any))
            owner = owner_of(self.function)
            if owner is not None:
                learn(owner)
            self._codec = ValueCodec(self._annotation(hints), pickled=self.pickled)
        return self._codec

    def shape(self) -> str:
        """Of what types its values are, as a text: stored ones are read by it. "" where nobody can say."""
        of_a_table = self.collection is not None or (self.returns is not None and self.many is None)
        if self.pickled or of_a_table:  # pickle says it itself, and so does what is kept of a table
            return ""
        try:
            return row_shape(self._annotation(self._hints()))
        except Exception:  # whatever an annotation runs; who needs the codec is told
            return ""

    def _annotation(self, hints: dict[str, Any]) -> Any:
        return hints.get("return", Any) if self.returns is None else self.returns()

    def _hints(self) -> dict[str, Any]:
        code = self.function.__code__
        at = f"{code.co_filename}:{code.co_firstlineno}"
        return hints_of(self.function, BadQuery, query=self.name, at=at)

    def made_by(self) -> list[Any]:
        """The functions whose annotations say of which classes its values are."""
        return [self.function] if self.collection is None else self.collection.made_by()

    def keeps(self, data: bytes | None) -> bool:
        """Whether a value with these bytes is stored; else it is computed again where it is needed."""
        return self.persist and (self.largest is None or data is None or len(data) <= self.largest)

    def memo_key(self, args: tuple[Any, ...]) -> object:
        """What a node is filed under in its query's table (Q2)."""
        kinds = self.kinds
        if kinds is not None:
            if len(args) == 1 == len(kinds):
                if args[0].__class__ is kinds[0]:
                    return args[0]
            elif len(args) == len(kinds) and all(map(_same_class, args, kinds)):
                return args
        from engine.store.canonical import canonical

        try:
            return (canonical(args),)  # a tuple of one: no short key looks like it
        except UnkeyableArgument as error:
            at = error.fields.get("argument", "")
            if at.isdecimal():  # else it cannot be said which of them it is
                error.fields = {"query": self.name, **error.fields, "argument": self.parameters[int(at)].name}
            raise

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Canonical arguments: defaults filled in, keywords in the order of the signature."""
        if not kwargs and self.kinds is not None and len(args) == len(self.kinds):
            return args
        try:
            bound = inspect.Signature(list(self.parameters)).bind(*args, **kwargs)
        except TypeError as error:
            hint = SEVERAL if len(args) == 1 and isinstance(args[0], tuple) else None
            signature = signature_of(self.name, self.parameters)
            raise BadArguments(query=self.name, cause=str(error), signature=signature, hint=hint) from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def display(self, args: tuple[Any, ...]) -> str:
        """The short form of a key; that of a whole table or fold is its name."""
        whole = self.collection
        return escaped(whole.name) if whole is not None and whole.settle is self else display(self.name, args)

    def call(self, args: tuple[Any, ...]) -> Any:
        """Run the function on canonical arguments."""
        return self._apply(self.function, args)

    def stamp_of(self, args: tuple[Any, ...]) -> bytes:
        """The stamp of an observed input on canonical arguments."""
        assert self.stamp is not None
        found: bytes = self.stamp(*args) if self.kinds is not None else self._apply(self.stamp, args)
        return found

    def read_as_stamped(self, stamp: bytes, args: tuple[Any, ...]) -> tuple[Any] | None:
        """The value of an observed input, if one look shows that this is its stamp before and after it."""
        if self.as_stamped is None:
            return None
        if self.kinds is not None:
            return self.as_stamped(stamp, *args)
        return cast("tuple[Any] | None", self._apply(functools.partial(self.as_stamped, stamp), args))

    def place_of(self, args: tuple[Any, ...]) -> str | None:
        """The path below the root that an observed input looks at; None where it looks at no file.

        Also where `place=` fails or gives no path: no event tells of the input then, and it is polled.
        """
        if self.place is None:
            return None
        try:
            found = self._apply(self.place, args)
            path = None if found is None else os.fspath(found)
        except Exception:  # of the host: a watch has other inputs to look after
            return None
        return path if isinstance(path, str) else None

    def _apply(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.kinds is not None:
            return function(*args)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter, value in zip(self.parameters, args, strict=True):
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(value)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                keywords[parameter.name] = value
            else:
                positional.append(value)
        return function(*positional, **keywords)


def _same_class(value: object, kind: type) -> bool:
    return value.__class__ is kind


REGISTRY: dict[str, QueryInfo] = {}  # name -> the newest definition
TAKEN_OVER: list[str] = []  # names that were defined again, in order; engines remember how far they read


@overload
def each(query: QueryOfOne[S, R], keys: Iterable[S], /) -> tuple[R, ...]: ...
@overload
def each(keys: Iterable[Key[R]], /) -> tuple[R, ...]: ...
def each(query: Any, keys: Any = None, /) -> tuple[Any, ...]:
    """The values of many keys, as one parallel group of dependencies.

    `each(lines, paths)`; of a query that takes several arguments `each(price.key(a, b) for a, b in pairs)`.
    All members are asked for together: none depends on the answer of another, so the engine may check
    and run them in threads or in worker processes. Raises the first error in the order of the keys, after all
    were computed.
    """
    frame = CURRENT.get()
    if keys is None:
        several = query if isinstance(query, Iterable) else _refuse(query)
        named = [one if one.__class__ is Key else _refuse(one) for one in several]
        if frame is None:
            return tuple(key.query.call(key.args) for key in named)
        return frame.fetch_group([(key.query, key.args) for key in named])
    info = info_of(query)
    if frame is None:
        return tuple(info.function(key) for key in keys) if info.many is None else tuple(info.many([*keys]))
    if len(info.parameters) == 1 and info.kinds is not None:
        return frame.fetch_group([(info, (key,)) for key in keys])
    return frame.fetch_group([(info, info.bind((key,), {})) for key in keys])


def _refuse(one: object) -> NoReturn:
    hint = "Name the query and its arguments: each(lines, paths)."
    raise BadQuery(f"each takes several keys, and was given {short(one)}", hint=hint)


def info_of(query: object) -> QueryInfo:
    """The definition behind a query; raises `BadQuery` for anything else."""
    if query.__class__ is MethodType:
        cause = f"{short(query)} is bound to an instance, which is a part of the key"
        raise BadQuery(cause=cause, hint="Ask by its class: db.get(Class.method, instance, ...).")
    info = getattr(query, "__query__", None)
    if not isinstance(info, QueryInfo):
        cure = "Decorate the function with @query or @input."
        if not callable(query):
            cure = "Name the query itself, not its value: report, and not report()."
        raise BadQuery(f"{short(query)} is not a query", hint=cure)
    return info
