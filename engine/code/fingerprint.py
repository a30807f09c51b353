"""The fingerprint of a query's own code: everything of the project that its function can reach.

Invariants
    C1  Equal fingerprints mean equal code: own code, defaults, closure cells, attributes, and what the
        names it reads stand for now, followed through the project's functions, classes and values.
    C2  Values are read at each call; only what never changes (the facts of a code object) is kept.
    C3  The bytes do not depend on the process, its hash seed, the folder of the project, or the order
        of imports. Comments, line numbers, and docstrings that no code asks for do not count.
    C4  A query is represented by its name and its parameters, which say what a call of it asks for: the
        engine records the calls while the caller runs.
    C5  What cannot be read by value is never left out. An object of an installed or standard type
        without canonical bytes (a compiled parser, a connection) is its type plus the source of the module
        that names it, and of all that this imports, for there it was made; without a source, it is good for
        this process only. Too deep a value raises `NoFingerprint`.

Annotations: the annotations of a class count, with their text, for they make its fields. Those of a
function count only by the project classes they name, and so do the return annotations of queries that are
read, of what gives the rows of a table, and of what makes the value of a fold. Where those leave open what it
is, what its code names counts too, see `given`. For methods of a value run without their class being
named in the code. A name that exists for type checkers only is not followed. Where code asks for docstrings,
annotations or subclasses, those of all that it reaches count, see `asked`. Of the arguments of the root,
classes below those that are named count too, and the class that it is a method of: as many as are loaded,
which is where C3 ends. A process that has others of them runs the query again.

Not seen: names computed at run time (`getattr(module, name)`, `globals()` and `eval` count the whole module;
`importlib.import_module(name)` counts nothing); what was put into objects that are not followed: builtins,
classes of a library, loggers, context variables, what belongs to a thread; what a module imported inside a
function body reads from the environment while it is imported: that module counts by its source, loaded or
not (C3); the methods of what a host sets on an input, where neither the annotation nor the code of the
input names its class (`Any`); and those of an argument whose class its annotation does not name, nor a class
above it. Functions or classes of one module, name and code, together in a set, may count in another
order in another process: what reads them runs once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engine.code.moment import BEGAN
from engine.errors import BadQuery, NoFingerprint

if TYPE_CHECKING:
    from engine.code.shared import Shared

# The walk and all below it (dis, sysconfig, ...) are imported by the first fingerprint, not with the engine.

POLICIES = ("closure", "self", "version", "none")
# Files that changed after this moment may differ from the module that was loaded from them. The slack
# covers the kernel's coarse clock, from which change times are taken (4 to 10 ms). It is taken here, as the
# modules of a project are loaded after the engine and before the first fingerprint.
STARTED_NS = BEGAN.wall - 50_000_000


class Part(NamedTuple):
    """One thing a fingerprint covers: `kind` is function, class, value, module, source, query, ..."""

    name: str
    kind: str
    digest: bytes


def code_fingerprint(
    function: Callable[..., object],
    *,
    policy: str = "closure",
    version: str | int | None = None,
    shared: Shared | None = None,
) -> bytes:
    """16 bytes that change when the code of `function` does.

    `policy`: "closure" follows the project's functions, classes and values; "self" stays with the
    function's own code, defaults and closure; "version" looks at `version` alone; "none" at nothing.
    `version` always counts when given. With `shared`, what others of the same moment found out is used.
    """
    from engine.code.reach import digest_of, packed

    parts = code_parts(function, policy=policy, version=version, shared=shared)
    return digest_of(packed(b"parts", (packed(b"", _line(part)) for part in parts)))


def code_parts(
    function: Callable[..., object],
    *,
    policy: str = "closure",
    version: str | int | None = None,
    project: Callable[[str], bool] | None = None,
    shared: Shared | None = None,
) -> tuple[Part, ...]:
    """What `code_fingerprint` covers, sorted: two listings compared name what changed."""
    from engine.code.reach import constant, digest_of

    if policy not in POLICIES:
        raise BadQuery(policy=policy, hint=f"The code policies are {', '.join(POLICIES)}.")
    if policy == "version" and version is None:
        raise BadQuery(policy=policy, hint='Say which version it is: version="1".')
    if type(version) not in (str, int, bool, type(None)):
        raise BadQuery(f"version= is a text or a number, not {type(version).__name__}")
    if not callable(function):
        raise BadQuery(f"{type(function).__name__} is not callable")
    parts = []
    if version is not None:
        parts.append(Part("version", "version", digest_of(constant(version))))
    if policy in ("closure", "self"):
        from engine.code.shared import Shared
        from engine.code.walk import Walk

        if shared is None or policy != "closure":
            shared = Shared()
        walk = Walk(project, follow=policy == "closure", started=STARTED_NS, shared=shared)
        try:
            parts += [Part(*each) for each in walk.all_from(function)]
        except RecursionError:
            name = getattr(function, "__qualname__", "")
            cause = "a value that its code reads is nested too deeply to be part of a key"
            raise NoFingerprint(query=name, cause=cause) from None
    return tuple(sorted(parts))


def _line(part: Part) -> tuple[bytes, ...]:
    return part.name.encode("utf-8", "surrogatepass"), part.kind.encode(), part.digest
