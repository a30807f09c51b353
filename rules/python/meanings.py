"""Meanings: what a name can turn out to stand for."""

from __future__ import annotations

import builtins
from collections.abc import Iterable

from attrs import evolve, frozen

from engine.rules.python.modules import Location
from engine.rules.python.uses import MARK

INTERNAL, EXTERNAL, BUILTIN, LOCAL, UNRESOLVED = "internal", "external", "builtin", "local", "unresolved"

CLASS, VARIABLE, MODULE, INSTANCE = "class", "variable", "module", "instance"
ATTRIBUTE = "attribute"

TYPING = ("typing", "typing_extensions")  # what these name are not the classes of values

# What every module has without saying so counts as builtin.
NAMES = frozenset(dir(builtins)) | {
    "__annotations__", "__builtins__", "__cached__", "__dict__", "__file__", "__loader__", "__name__",
    "__package__", "__path__", "__spec__",
}  # fmt: skip


@frozen
class Meaning:
    """What a name stands for.

    outcome   "internal": the symbol (path, qualified, kind, ordinal), "module" and "instance" (of the class
              of that name) among its kinds; a namespace package has no path, only `directories`
              "external", "builtin": `detail` is the dotted name; an external one of kind "instance" is an
              attribute of an instance, which may hold anything
              "local": a variable of a function or an attribute of an instance, says `detail`; of kind
              "attribute" one that the class assigns with whose name `qualified` begins
              "unresolved": `detail` says why
    of        the attribute of instances "path:C.name" that this was found as, if it was: a subclass of C may
              have another one in its place
    """

    outcome: str
    path: str | None = None
    qualified: str = ""
    kind: str = ""
    ordinal: int = 0
    detail: str = ""
    directories: tuple[str, ...] = ()
    of: str = ""


Meanings = tuple[Meaning, ...]


def symbol(path: str, qualified: str, kind: str, ordinal: int) -> Meaning:
    return Meaning(INTERNAL, path, qualified, kind, ordinal)


def module(location: Location) -> Meaning:
    directories = () if location.path is not None else location.directories
    return Meaning(INTERNAL, location.path, "", MODULE, 0, "", directories)


def external(dotted: str, kind: str = "") -> Meaning:
    return Meaning(EXTERNAL, kind=kind, detail=dotted)


def attribute(path: str, qualified: str) -> Meaning:
    return Meaning(LOCAL, path, qualified, ATTRIBUTE, detail="an attribute of the instance")


def of_instances(found: Meanings, of: str) -> Meanings:
    """These as an attribute of instances, see `Meaning.of`. What takes the place of a method overrides it."""
    return tuple(evolve(one, of=of) if one.kind in (CLASS, VARIABLE) else one for one in found)


def builtin(dotted: str) -> Meaning:
    return Meaning(BUILTIN, detail=dotted)


def unresolved(reason: str) -> Meaning:
    return Meaning(UNRESOLVED, detail=reason)


def local(what: str) -> Meaning:
    return Meaning(LOCAL, detail=what)


def is_builtin_class(name: str) -> bool:
    """Whether a builtin name is that of a class."""
    return isinstance(getattr(builtins, name, None), type)


def is_external_class(dotted: str) -> bool:
    """Whether an external name is that of a class, as these are written. A function may give what it got from
    the project, as `copy.copy(x)` does, and what is annotated with `typing.Any` may be of any class."""
    last = dotted.rpartition(".")[2]
    return last[:1].isupper() and not last.endswith(MARK) and dotted.partition(".")[0] not in TYPING


def is_unknown(one: Meaning) -> bool:
    """Whether this may have any attributes: a variable of which nothing is known, what is held outside."""
    held_outside = one.outcome == EXTERNAL and one.kind == INSTANCE
    return one.outcome in (UNRESOLVED, LOCAL) or one.kind == VARIABLE or held_outside


def is_member_of_builtin(name: str, attribute: str) -> bool:
    """Whether a builtin has an attribute in this Python."""
    one = getattr(builtins, name, None)
    if attribute == "__call__" and isinstance(one, type):  # a class itself always has it
        return any(attribute in vars(each) for each in one.__mro__)
    return hasattr(one, attribute)


def best(found: Iterable[Meaning], reason: str) -> Meanings:
    """Each meaning once, in order; what is unresolved only where there is nothing else."""
    several = tuple(found)
    if len(several) == 1:
        return several
    several = tuple(dict.fromkeys(several))
    known = tuple(one for one in several if one.outcome != UNRESOLVED)
    return known or several or (unresolved(reason),)
