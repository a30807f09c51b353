"""Define: what `@query` and `@input` make of a plain typed function.

The wrapper is generated with the signature of the function, as attrs does for `__init__`: Python itself
then binds keywords and defaults, and a hit costs one dict probe and one integer compare.

Invariants
    D1  What cannot be a query is refused where it is defined, with its place and a way out.
    D2  The wrapper answers a hit only where the short memo key is the key (query Q2); all else goes to
        the frame.
    D3  Every definition that is alive has an index of its own, also one that takes a name over.
    D4  The queries of a table or fold are registered all at once, when they are whole: other threads look
        into the registry at any time.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, Final, Literal, ParamSpec, TypeVar, overload

from engine.batched import one_of
from engine.durability import Durability
from engine.errors import BadQuery
from engine.frame import CURRENT
from engine.key import Key
from engine.options import OF_A_QUERY, OF_AN_INPUT, check_names, check_options
from engine.parameters import parameters_of
from engine.query import ABSENT, READY, REGISTRY, TAKEN_OVER, Input, Query, QueryInfo
from engine.script import module_name

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

LARGEST_BATCH: Final = 1024  # keys in one call, where the query does not say it
SHORT_KINDS: dict[object, type] = {}
for _kind in (str, int, bytes, bool):
    SHORT_KINDS[_kind] = SHORT_KINDS[_kind.__name__] = _kind  # annotations are text under PEP 563


@overload
def query(function: Callable[P, R], /) -> Query[P, R]: ...
@overload
def query(
    *,
    name: str | None = ...,
    eq: Callable[[Any, Any], bool] | None = ...,
    version: str | int | None = ...,
    code: Literal["closure", "self", "version", "none"] = ...,
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
    code: Literal["closure", "self", "version", "none"] = ...,
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
                   the thread that asks; "auto", in a process where one costs 0.15 ms or more. See
                   docs/parallel.md.
        timeout    seconds that a key may take in a process; after that it is ended, and the key fails.
        limit      a name: `Engine(limits={name: 1})` says how many keys with that name run at a time, in
                   threads and processes together.
        batch      True, or how many at most: the function takes a list of keys and returns the list of their
                   values. It may read nothing else: what it needs is part of the key.

    Raises `BadQuery` for functions that cannot be queries (async, generators, `**kwargs`), and for options
    that there are not.
    """
    check_names(options, OF_A_QUERY)
    if function is None:
        return functools.partial(define_query, **options)
    return define_query(function, **options)


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
    as_stamped: Callable[..., tuple[Any] | None] | None = ...,
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
                    looked at by `sync` only. Where there is none and the function fails, it cannot be set.
        as_stamped  `as_stamped(stamp, *args) -> (value,)`: what the function gives, read in one look that can
                    tell that the stamp, which was just taken, still held when the reading was done; None
                    where it did not, or the function would raise. Saves the second stamp of a read.
        durability  how rarely it changes: `Durability.LOW` (the default), `MEDIUM` or `HIGH`.
        persist     False: the value is not stored and is read again where it is needed.

    The function may not read queries. A failure that it raises is the input's value until it changes,
    except transient ones (`OSError`, `Transient`). So is what is no value of it: something other than its
    annotation says; where it looks at the world, also something that cannot be stored.
    """
    check_names(options, OF_AN_INPUT)
    options["observed"] = bool(options.get("observed") or options.get("stamp"))
    if options["observed"]:
        options["needs_bytes"] = True  # without them nobody could tell whether it is still the same
    if function is None:
        return functools.partial(define_query, is_input=True, **options)
    return define_query(function, is_input=True, **options)


def define_query(
    function: Any,
    *,
    name: str | None = None,
    kind: type[QueryInfo] = QueryInfo,
    **options: Any,
) -> Any:
    """What `query` and `input` do; a table gives its queries a name and a kind of their own."""
    if not inspect.isfunction(function):
        cure = "Put @query below other decorators."
        if isinstance(function, type(functools.cache(len))):  # around a query it would hide later reads
            cure = "Leave functools.cache out: what a query gives is kept, and made again when it has to be."
        elif isinstance(function, str):
            cure = f"Options have names: name={function!r}."
        raise BadQuery(f"{function!r} is not a plain function", hint=cure)
    at = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    check_options(function.__qualname__, at, {"name": name})
    name = name or f"{module_name(function.__module__)}:{function.__qualname__}"
    _refuse_unfit(function, name, at)
    check_options(name, at, options)
    if options.get("batch"):
        function, options["many"], options["returns"] = one_of(function, name)
        options["batch"] = LARGEST_BATCH if options["batch"] is True else options["batch"]
    parameters = parameters_of(function)
    info = kind(
        name=name,
        function=function,
        parameters=parameters,
        kinds=_kinds(parameters),
        **options,
    )
    info.wrapper = _wrapper(info)
    if _DEFINED.together is None:
        _register([info])
    else:
        _DEFINED.together.append(info)
    return info.wrapper


class _Defined(threading.local):
    together: list[QueryInfo] | None = None  # what is not registered yet, inside `all_at_once`


_DEFINED: Final = _Defined()


@contextmanager
def all_at_once() -> Iterator[None]:
    """What is defined within is registered at its end, and nothing of it where that is not reached (D4)."""
    together: list[QueryInfo] = []
    _DEFINED.together = together
    try:
        yield
    finally:
        _DEFINED.together = None
    _register(together)


def _register(several: list[QueryInfo]) -> None:
    # Held until all are in place: the finalizer of a definition would let other threads in.
    before = [REGISTRY.get(one.name) for one in several]
    try:
        REGISTRY.update({one.name: one for one in several})
    finally:  # and not before: who looks meanwhile would not look again
        TAKEN_OVER.extend([one.name for one in before if one is not None])


def _refuse_unfit(function: Callable[..., Any], name: str, where: str) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadQuery(query=name, at=where, cause="it is async", hint="Queries are plain functions.")
    if inspect.isgeneratorfunction(function):
        raise BadQuery(query=name, at=where, cause="it is a generator", hint="Return a tuple instead.")
    for parameter in parameters_of(function):
        if parameter.kind is parameter.VAR_KEYWORD:
            raise BadQuery(
                query=name,
                at=where,
                cause=f"it takes **{parameter.name}",
                hint="Name its arguments: they are the key.",
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
ANY_INDEX: Final = 1_234_567_890  # where the index of a definition goes: most wrappers differ in that alone


def _wrapper(info: QueryInfo) -> Any:
    names = [parameter.name for parameter in info.parameters]
    hit = ""
    if info.kinds is not None:
        kinds = (f"{name}.__class__ is {kind.__name__}" for name, kind in zip(names, info.kinds, strict=True))
        key = names[0] if len(names) == 1 else f"({', '.join(names)})"
        hit = _HIT.format(check=" and ".join(kinds) or "True", index=ANY_INDEX, key=key, ready=READY)
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
        **{kind.__name__: kind for kind in (str, int, bytes, bool)},
    }
    file = f"<engine wrapper of {info.name}>"
    code = _compiled(source)
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    consts = tuple(info.index if one == ANY_INDEX else one for one in code.co_consts)
    made = FunctionType(code.replace(co_filename=file, co_consts=consts), scope)
    given = [one for one in info.parameters if one.default is not one.empty]
    made.__kwdefaults__ = {one.name: one.default for one in given if one.kind is one.KEYWORD_ONLY} or None
    made.__defaults__ = tuple(one.default for one in given if one.kind is not one.KEYWORD_ONLY) or None
    wrapper: Any = functools.update_wrapper(made, info.function)
    wrapper.__query__ = info
    wrapper.key = functools.partial(_key, info)
    return wrapper


@functools.lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    """The code of the function that the source is of. To compile it takes most of a definition's time."""
    module = compile(source, "<engine wrapper>", "exec")  # our own text: names and kinds are identifiers
    return next(one for one in module.co_consts if isinstance(one, CodeType))


def _key(info: QueryInfo, /, *args: Any, **kwargs: Any) -> Key[Any]:
    return Key(info, info.bind(args, kwargs))


def _signature(parameters: tuple[inspect.Parameter, ...]) -> str:
    """The parameter list as source text; defaults are given to the function that is made of it."""
    parts: list[str] = []
    kinds = [parameter.kind for parameter in parameters]
    for number, parameter in enumerate(parameters):
        kind = parameter.kind
        first_keyword = kind is parameter.KEYWORD_ONLY and kind not in kinds[:number]
        if first_keyword and parameter.VAR_POSITIONAL not in kinds:
            parts.append("*")
        star = "*" if kind is parameter.VAR_POSITIONAL else ""
        parts.append(f"{star}{parameter.name}")
        if kind is parameter.POSITIONAL_ONLY and parameter.POSITIONAL_ONLY not in kinds[number + 1 :]:
            parts.append("/")
    return ", ".join(parts)


def _passed(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return (
        f"{parameter.name}={parameter.name}" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
    )
