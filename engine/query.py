"""Queries and inputs: what `@query` and `@input` make of a plain typed function.

The wrapper is generated with the signature of the function, as attrs does for `__init__`: Python itself
then binds keywords and defaults, and a hit costs one dict probe and one integer compare.

Invariants
    Q1  Outside an engine a query is just its function.
    Q2  One memo key per distinct arguments, types included: the short key is used only where the exact
        class of every argument is the annotated one, anything else goes by canonical bytes.
    Q3  A name means one definition at a time; a later definition takes the name over.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from attrs import define, field

from engine.batched import one_of
from engine.durability import Durability
from engine.errors import BadArguments, BadQuery, escaped
from engine.frame import CURRENT
from engine.key import Key, display
from engine.script import module_name

if TYPE_CHECKING:
    from engine.store.codec import ValueCodec

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Absent:
    """No value in memory."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
PLACES: Final = ("auto", "process", "thread", "inline")  # where members of a group may run
LARGEST_BATCH: Final = 1024  # keys in one call, where the query does not say it
READY = 3  # status of a node whose value is in memory, shareable and known correct: LOADED | VALUE
SHORT_KINDS: dict[object, type] = {}
for _kind in (str, int, bytes, bool):
    SHORT_KINDS[_kind] = SHORT_KINDS[_kind.__name__] = _kind  # annotations are text under PEP 563


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


@define(slots=True, eq=False)
class QueryInfo:
    """Everything the engine knows of one definition."""

    name: str
    function: Callable[..., Any]
    index: int
    parameters: tuple[inspect.Parameter, ...]
    kinds: tuple[type, ...] | None
    is_input: bool = False
    observed: bool = False
    stamp: Callable[..., bytes] | None = None
    settled: Callable[[bytes], bool] | None = None
    stamps: Callable[[list[Any]], list[bytes]] | None = None
    place: Callable[..., str | None] | None = None
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

    @property
    def codec(self) -> ValueCodec:
        """How values of this query become bytes; made from the return annotation at first use."""
        if self._codec is None:
            from engine.store.canonical import learn_annotation  # late: rules are imported without a store
            from engine.store.codec import ValueCodec

            try:
                hints = typing.get_type_hints(self.function, include_extras=True)
            except (NameError, TypeError, AttributeError) as error:
                raise BadQuery(
                    query=self.name,
                    cause=f"an annotation cannot be resolved: {error}",
                    hint="Import the names its annotations use at run time, not only for type checking.",
                ) from error
            for parameter in self.parameters:
                learn_annotation(hints.get(parameter.name, Any))
            _learn_owner(self.function)
            annotation = hints.get("return", Any) if self.returns is None else self.returns()
            self._codec = ValueCodec(annotation, pickled=self.pickled)
        return self._codec

    def keeps(self, data: bytes | None) -> bool:
        """Whether a value with these bytes is stored; else it is computed again where it is needed."""
        return self.persist and (self.largest is None or data is None or len(data) <= self.largest)

    def memo_key(self, args: tuple[Any, ...]) -> object:
        """What a node is filed under in its query's table (Q2)."""
        kinds = self.kinds
        if kinds is not None and len(args) == len(kinds):
            if len(args) == 1:
                if args[0].__class__ is kinds[0]:
                    return args[0]
            elif all(map(_same_class, args, kinds)):
                return args
        from engine.store.canonical import canonical

        return (canonical(args),)  # a tuple of one: no short key looks like it

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Canonical arguments: defaults filled in, keywords in the order of the signature."""
        if not kwargs and self.kinds is not None and len(args) == len(self.kinds):
            return args
        try:
            bound = inspect.Signature(list(self.parameters)).bind(*args, **kwargs)
        except TypeError as error:
            raise BadArguments(
                query=self.name, cause=str(error), signature=str(inspect.Signature(list(self.parameters)))
            ) from None
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
        return cast(bytes, self._apply(self.stamp, args))

    def place_of(self, args: tuple[Any, ...]) -> str | None:
        """The path below the root that an observed input looks at; None where it looks at no file."""
        return None if self.place is None else cast("str | None", self._apply(self.place, args))

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


def _learn_owner(function: Callable[..., Any]) -> None:
    """Teach `canonical` the class of a method's `self`, which no annotation names."""
    from engine.store.canonical import learn

    owner: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split(".")[:-1]:
        owner = getattr(owner, name, None)
    if isinstance(owner, type):
        learn(owner)


def _same_class(value: object, kind: type) -> bool:
    return value.__class__ is kind


REGISTRY: dict[str, QueryInfo] = {}  # name -> the newest definition
TAKEN_OVER: list[str] = []  # names that were defined again, in order; engines remember how far they read
_indexes = itertools.count()


@overload
def query(function: Callable[P, R], /) -> Query[P, R]: ...
@overload
def query(
    *,
    name: str | None = ...,
    eq: Callable[[Any, Any], bool] | None = ...,
    version: str | int | None = ...,
    code: str = ...,
    persist: bool = ...,
    pickled: bool = ...,
    untracked: bool = ...,
    workers: Literal["auto", "process", "thread", "inline"] = ...,
    timeout: float | None = ...,
    limit: str | None = ...,
) -> Callable[[Callable[P, R]], Query[P, R]]: ...
@overload
def query(
    *,
    batch: int,
    name: str | None = ...,
    eq: Callable[[Any, Any], bool] | None = ...,
    version: str | int | None = ...,
    code: str = ...,
    persist: bool = ...,
    pickled: bool = ...,
    untracked: bool = ...,
    workers: Literal["auto", "process", "thread", "inline"] = ...,
    timeout: float | None = ...,
    limit: str | None = ...,
) -> Callable[[Callable[[list[S]], Sequence[R]]], Query[[S], R]]: ...
def query(function: Any = None, /, **options: Any) -> Any:
    """Make a memoized query of a pure, typed function. Also for methods of frozen classes.

    Options:
        name       identity in the store; default `module:qualified name`. Needed for queries made in
                   factories, which would share one.
        eq         `eq(old, new)`: when true the old value is kept and readers do not run (early cutoff);
                   default is equality of canonical bytes.
        version    changes of it re-run the query; mixed into its code fingerprint.
        code       what counts as its code: "closure" (itself and the project functions it calls), "self",
                   "version" (only `version=`), "none".
        persist    False: the value is not stored, and kept only while work that needs it goes on.
        pickled    True: values are stored by pickle. Only for stores that nobody else can write.
        untracked  True: reads things the engine does not see, so it runs again in every revision.
        workers    where members of a parallel group (`each`, a table) run: "process", in a worker process if
                   the engine has any (`Engine(processes=2)`); "thread", for queries that wait; "inline", in
                   the thread that asks; "auto", in a process where one costs 0.3 ms or more. See
                   docs/parallel.md.
        timeout    seconds that a key may take in a process; after that it is ended, and the key fails.
        limit      a name: `Engine(limits={name: 1})` says how many keys with that name run at a time, in
                   threads and processes together.
        batch      True, or how many at most: the function takes a list of keys and returns the list of their
                   values. It may read nothing else: what it needs is part of the key.

    Raises `BadQuery` for functions that cannot be queries (async, generators, `**kwargs`).
    """
    if function is None:
        return functools.partial(define_query, **options)
    return define_query(function)


@overload
def input(function: Callable[P, R], /) -> Input[P, R]: ...
@overload
def input(
    *,
    name: str | None = ...,
    observed: bool = ...,
    stamp: Callable[..., bytes] | None = ...,
    settled: Callable[[bytes], bool] | None = ...,
    stamps: Callable[[list[Any]], list[bytes]] | None = ...,
    place: Callable[..., str | None] | None = ...,
    durability: Durability = ...,
    persist: bool = ...,
) -> Callable[[Callable[P, R]], Input[P, R]]: ...
def input(function: Any = None, /, **options: Any) -> Any:
    """Make an input: a node whose value comes from outside.

    Without options it is a host cell: the function gives the value until somebody sets another.
    With `observed=True` or `stamp=` the function looks at the world, and `Engine.sync` looks again.

    Options:
        observed    the value is read from the world by the function; `sync` runs it again.
        stamp       `stamp(*args) -> bytes`: a cheap sign of change (a file's times, size and inode).
                    `sync` runs the function again only where it differs. Taken before and after each
                    read: if it moved, the read is repeated.
        settled     `settled(stamp) -> bool`: False while a stamp is too young to be trusted (git's racy
                    rule); such an input is read again at the next sync.
        stamps      `stamps([argument, ...]) -> [stamp, ...]`: what `stamp` gives for each of many keys of one
                    argument, taken together where that is faster.
        place       `place(*args) -> path`: the path below the root that the function looks at, so that a
                    watch knows when to look again; None where there is none. An input without one is
                    looked at by `sync` only.
        durability  how rarely it changes.
        persist     False: the value is not stored and is read again where it is needed.

    The function may not read queries. A failure that it raises is the input's value until it changes,
    except transient ones (`OSError`, `Transient`).
    """
    options["observed"] = bool(options.get("observed") or options.get("stamp"))
    if function is None:
        return functools.partial(define_query, is_input=True, **options)
    return define_query(function, is_input=True, **options)


@overload
def each(query: Query[[S], R], keys: Iterable[S], /) -> tuple[R, ...]: ...
@overload
def each(keys: Iterable[Key[R]], /) -> tuple[R, ...]: ...
def each(query: Any, keys: Any = None, /) -> tuple[Any, ...]:
    """The values of many keys, as one parallel group of dependencies.

    All members are asked for together: none depends on the answer of another, so the engine may check
    and run them on workers. Raises the first error in the order of the keys, after all were computed.
    """
    frame = CURRENT.get()
    if keys is None:
        named = list(query)
        if frame is None:
            return tuple(key.query.call(key.args) for key in named)
        return frame.fetch_group([(key.query, key.args) for key in named])
    info: QueryInfo = query.__query__
    if frame is None:
        return tuple(info.function(key) for key in keys) if info.many is None else tuple(info.many([*keys]))
    if len(info.parameters) == 1 and info.kinds is not None:
        return frame.fetch_group([(info, (key,)) for key in keys])
    return frame.fetch_group([(info, info.bind((key,), {})) for key in keys])


def info_of(query: object) -> QueryInfo:
    """The definition behind a query; raises `BadQuery` for anything else."""
    info = getattr(query, "__query__", None)
    if not isinstance(info, QueryInfo):
        raise BadQuery(f"{query!r} is not a query", hint="Decorate the function with @query or @input.")
    return info


def define_query(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    kind: type[QueryInfo] = QueryInfo,
    **options: Any,
) -> Any:
    """What `query` and `input` do; a table gives its queries a name and a kind of their own."""
    if not inspect.isfunction(function):
        raise BadQuery(f"{function!r} is not a plain function", hint="Put @query below other decorators.")
    name = name or f"{module_name(function.__module__)}:{function.__qualname__}"
    _refuse_unfit(function, name)
    _refuse_options(name, **options)
    if options.get("batch"):
        function, options["many"], options["returns"] = one_of(function, name)
        options["batch"] = LARGEST_BATCH if options["batch"] is True else options["batch"]
    parameters = tuple(inspect.signature(function).parameters.values())
    info = kind(
        name=name,
        function=function,
        index=next(_indexes),
        parameters=parameters,
        kinds=_kinds(parameters),
        **options,
    )
    info.wrapper = _wrapper(info)
    if name in REGISTRY:
        TAKEN_OVER.append(name)
    REGISTRY[name] = info
    return info.wrapper


def _refuse_unfit(function: Callable[..., Any], name: str) -> None:
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadQuery(query=name, at=where, cause="it is async", hint="Queries are plain functions.")
    if inspect.isgeneratorfunction(function):
        raise BadQuery(query=name, at=where, cause="it is a generator", hint="Return a tuple instead.")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise BadQuery(
                query=name,
                at=where,
                cause=f"it takes **{parameter.name}",
                hint="Name its arguments: they are the key.",
            )


def _refuse_options(
    name: str, workers: str = "auto", timeout: float | None = None, batch: object = 0, **_: Any
) -> None:
    sized = isinstance(batch, int) and batch >= 0
    if workers not in PLACES or (timeout or 1) <= 0 or not sized:
        raise BadQuery(
            query=name,
            workers=workers,
            timeout=timeout,
            batch=batch,
            hint=f"workers= is one of {', '.join(PLACES)}; timeout= is more than 0 seconds; "
            "batch= is True or how many keys it takes at most.",
        )


def _kinds(parameters: tuple[inspect.Parameter, ...]) -> tuple[type, ...] | None:
    """The exact classes of arguments for which the short memo key is used; None: never."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind not in plain for parameter in parameters):
        return None
    return tuple(SHORT_KINDS.get(parameter.annotation, str) for parameter in parameters)


# The value is read before the status: a thread in between may take it away, never put a wrong one in place.
# The wrapper of `def f(path: str, depth: int = 2)`. Names start with `_engine` not to meet parameters'.
# A table that is too short (a query defined after the engine looked) goes the slow way.
_TEMPLATE = """\
def _engine_wrapper({signature}):
    _engine_frame = _engine_current()
    if _engine_frame is None:
        return _engine_function({call})
{hit}    return _engine_frame.fetch(_engine_info, ({args}))
"""
_HIT = """\
    try:
        if {check}:
            _engine_node = _engine_frame.tables[{index}].get({key})
            if _engine_node is not None:
                _engine_value = _engine_frame.values[_engine_node]
                if _engine_frame.status[_engine_node] == {ready} and _engine_value is not _engine_absent:
                    _engine_frame.reads[_engine_node] = None
                    return _engine_value
    except IndexError:
        pass
"""


def _wrapper(info: QueryInfo) -> Any:
    names = [parameter.name for parameter in info.parameters]
    hit = ""
    if info.kinds is not None:
        kinds = (f"{name}.__class__ is {kind.__name__}" for name, kind in zip(names, info.kinds, strict=True))
        key = names[0] if len(names) == 1 else f"({', '.join(names)})"
        hit = _HIT.format(check=" and ".join(kinds) or "True", index=info.index, key=key, ready=READY)
    source = _TEMPLATE.format(
        signature=_signature(info.parameters),
        call=", ".join(_passed(parameter) for parameter in info.parameters),
        args="".join(f"{name}, " for name in names),
        hit=hit,
    )
    scope: dict[str, Any] = {
        "_engine_absent": ABSENT,
        "_engine_current": CURRENT.get,
        "_engine_function": info.function,
        "_engine_info": info,
        "_engine_defaults": tuple(parameter.default for parameter in info.parameters),
        **{kind.__name__: kind for kind in (str, int, bytes, bool)},
    }
    file = f"<engine wrapper of {info.name}>"
    exec(compile(source, file, "exec"), scope)  # our own text: names and kinds are identifiers
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    wrapper: Any = functools.update_wrapper(scope["_engine_wrapper"], info.function)
    wrapper.__query__ = info
    wrapper.key = functools.partial(_key, info)
    return wrapper


def _key(info: QueryInfo, /, *args: Any, **kwargs: Any) -> Key[Any]:
    return Key(info, info.bind(args, kwargs))


def _signature(parameters: tuple[inspect.Parameter, ...]) -> str:
    """The parameter list as source text, with defaults taken from a tuple."""
    parts: list[str] = []
    kinds = [parameter.kind for parameter in parameters]
    for number, parameter in enumerate(parameters):
        kind = parameter.kind
        first_keyword = kind is parameter.KEYWORD_ONLY and kind not in kinds[:number]
        if first_keyword and parameter.VAR_POSITIONAL not in kinds:
            parts.append("*")
        star = "*" if kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is parameter.empty else f"=_engine_defaults[{number}]"
        parts.append(f"{star}{parameter.name}{default}")
        if kind is parameter.POSITIONAL_ONLY and parameter.POSITIONAL_ONLY not in kinds[number + 1 :]:
            parts.append("/")
    return ", ".join(parts)


def _passed(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return (
        f"{parameter.name}={parameter.name}" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
    )
