"""Hierarchy: the table of the bases of classes, and the order in which attributes are looked for.

Invariants
    H1  Bases are found without what classes inherit: a class that is inherited from a class cannot be a base
        here. So the table rests on names alone.
    H2  A class that inherits from itself, over however many files, is an answer: the circle is cut where it
        closes. Depth is data.
    H3  Bases outside of the project take part in the order, as classes without bases: `Generic` after all
        classes that are generic.
    H4  Which of several definitions of a class runs is not known, nor which of several classes a base means:
        what one of them gives hides nothing of what another one inherits. Each may be what is meant.
        Nor does a name that a class may have or not hide what it inherits (`certain`).

Each class looks at all above it, and what its instances hold rests on all below it too. So a line of classes
that inherit from each other costs with the square of its length, a hundred of them a second, 800
of them half a minute. Lines of people have a dozen.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, frozen

from engine import query, table
from engine.rules.python.bindings import bindings
from engine.rules.python.definitions import definitions, split
from engine.rules.python.facts import facts
from engine.rules.python.meanings import (
    ATTRIBUTE,
    BUILTIN,
    CLASS,
    EXTERNAL,
    INSTANCE,
    INTERNAL,
    LOCAL,
    TYPING,
    UNRESOLVED,
    VARIABLE,
    Meaning,
    Meanings,
    best,
    builtin,
    external,
    is_member_of_builtin,
    unresolved,
)
from engine.rules.python.private import as_written, is_private
from engine.rules.python.project import project_files
from engine.rules.python.resolve import Resolver, is_declared, meanings_of, own_member
from engine.rules.python.uses import BASE, MARK, PLACE

# Bases outside of the project that have no attributes of their own worth the name.
BARE = frozenset(
    [(BUILTIN, "object"), (EXTERNAL, "abc.ABC")]
    + [(EXTERNAL, f"{module}.{name}") for module in TYPING for name in ("Generic", "Protocol")]
)

OUTSIDE = ":"  # begins the name of a class outside of the project, where symbols stand for others (H3)


@frozen
class Base:
    """One base of a class.

    symbol    "path:qualified" of the class; `ordinal` where there are several of that name
    position  of the base in the list; several rows have one where the name can mean several classes
    name      as it is written, "" for an expression that is no name
    several   it is a base of one of several definitions of its class; of one without bases, `object`
    outcome   "internal", then `base` is the symbol of the class; "external" and "builtin" with the dotted
              name as `detail`; "unresolved" with the reason
    """

    symbol: str
    ordinal: int
    position: int
    name: str
    outcome: str
    base: str | None = None
    detail: str = ""
    several: bool = False


@table(
    each=project_files.column("path"),
    index=("symbol", "base"),
    identity=("symbol", "ordinal", "position", "base", "detail"),
)
def bases(path: str) -> Iterable[Base]:
    """The bases of all classes. `bases.where(base="lib.py:Shape")` are its direct subclasses."""
    found = facts(path)
    again = {one.qualified for one in found.definitions if one.kind == CLASS and one.ordinal}
    classes = [
        one for one in found.definitions if one.kind == CLASS and (one.bases or one.qualified in again)
    ]
    if not classes:
        return
    origins = {
        (body.qualified, body.ordinal, use.name): use.scope if use.origin == PLACE else ""
        for body in found.bodies
        for use in body.uses
        if use.usage == BASE
    }
    resolver = Resolver(path, found, own_member)
    for one in classes:
        place = f"{path}:{one.qualified}"
        several = one.qualified in again
        if not one.bases:  # it hides nothing either, and what it has not may come after it
            yield Base(place, one.ordinal, 0, "object", BUILTIN, None, "object", several)
        for position, name in enumerate(one.bases):
            if not name:
                yield Base(place, one.ordinal, position, name, "unresolved", None, "it is no name", several)
                continue
            called = name.removesuffix(MARK)
            first, *parts = called.split(".")
            meanings = resolver.of_place(origins.get((one.qualified, one.ordinal, called), ""), first)
            for part in parts:
                meanings = resolver.attribute(meanings, part)
            for meaning in resolver.followed(meanings):
                base, outcome, detail = None, meaning.outcome, meaning.detail
                if called != name and detail.rpartition(".")[2].lower() != "namedtuple":
                    # `with_metaclass(M, Base)` and the like give a class of the project
                    outcome, detail = UNRESOLVED, f"what {called} gives"
                elif outcome == INTERNAL and meaning.kind == CLASS:
                    base = f"{meaning.path}:{meaning.qualified}"
                elif outcome == LOCAL:
                    outcome = UNRESOLVED
                elif outcome == INTERNAL:
                    outcome, detail = (
                        "unresolved",
                        f"it is a {meaning.kind}: {meaning.path}:{meaning.qualified}",
                    )
                yield Base(place, one.ordinal, position, name, outcome, base, detail, several)


ENUMERATIONS = {f"enum.{one}" for one in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum")}


@frozen
class Order:
    """Where attributes of a class are looked for.

    classes  the symbols of the class itself and of what it inherits from, in that order
    others   (outcome, detail) of bases outside of the project, builtin, or unresolved; without those that
             give a class no attributes: `object`, `Generic`, `Protocol`, `ABC`
    certain  how many of `classes`, from the first on, hide what is found after them; others hide nothing (H4)
    """

    classes: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    certain: int

    def having(self, has: Mapping[str, bool]) -> Iterator[str]:
        """The classes that may give what those in `has` have: up to the first one that has it for certain."""
        for at, one in enumerate(self.classes):
            if one in has:
                yield one
                if at < self.certain and has[one]:
                    return


@query
def resolution_order(symbol: str) -> Order:
    """The classes in which Python looks for an attribute of the class `symbol`, as far as they are known.

    The C3 linearization; where there is none, depth first.
    """
    graph: dict[str, list[str]] = {}
    others: dict[tuple[str, str], None] = {}
    open_from: dict[str, int] = {}  # 0: its own attributes hide nothing; 1: what it inherits first does not
    waiting = [symbol]
    while waiting:
        one = waiting.pop()
        if one in graph:
            continue
        graph[one] = []
        rows = sorted(bases.where(symbol=one), key=lambda row: (row.ordinal, row.position))
        if any(row.several for row in rows):
            open_from[one] = 0
        elif len({row.position for row in rows}) < len(rows):
            open_from[one] = 1
        for row in rows:
            if row.base is None:
                if (row.outcome, row.detail) not in BARE:
                    others[row.outcome, row.detail] = None
                if row.outcome in (BUILTIN, EXTERNAL) and row.detail != "object":
                    graph[one].append(f"{OUTSIDE}{row.detail}")
            elif row.base not in graph[one]:
                graph[one].append(row.base)
                waiting.append(row.base)
    order = [one for one in linearized(symbol, graph) if not one.startswith(OUTSIDE)]
    certain = [at + open_from[one] for at, one in enumerate(order) if one in open_from]
    return Order(tuple(order), tuple(others), min(certain, default=len(order)))


@query(version=platform.python_version())
def member(symbol: str, name: str, inherited: bool = False) -> Meanings:
    """What an attribute of a class stands for; with `inherited`, what it is without the class's own.

    At least one meaning, if only an unresolved one.
    """
    order = resolution_order(symbol)
    held: Meanings = ()
    several: dict[Meaning, None] = {}
    for at, one in enumerate(order.classes[:1] if is_private(name) else order.classes):
        if inherited and one == symbol:
            continue
        path, qualified = split(one)
        place = f"{qualified}.{as_written(qualified, name)}"
        rows = bindings.where(symbol=f"{path}:{place}")
        found = meanings_of(path, place, rows)
        if found and found[0].kind != ATTRIBUTE:  # what methods assign hides a variable, but no property
            several |= dict.fromkeys(found)
            if found[0].kind == VARIABLE and not is_declared(rows):
                several |= dict.fromkeys(held)
            if at < order.certain and (not rows[0].doubtful or is_declared(rows)):
                break
        else:
            held = held or tuple(evolve(each, of=f"{symbol}.{name}") for each in found)
    return (best(several, "") if several else held) or (_from_others(symbol, name, order),)


def _from_others(symbol: str, name: str, order: Order) -> Meaning:
    for outcome, detail in order.others:
        if outcome == BUILTIN and is_member_of_builtin(detail, name):
            return builtin(f"{detail}.{name}")
    for outcome, detail in order.others:
        if outcome == EXTERNAL:
            return external(f"{detail}.{name}", INSTANCE)
    for outcome, detail in order.others:
        if outcome == "unresolved":
            return unresolved(f"perhaps inherited from a base that is unknown: {detail}")
    if is_member_of_builtin("object", name):
        return builtin(f"object.{name}")
    return unresolved(f"{symbol} has no {name}")


def member_of(path: str, qualified: str, name: str) -> Meanings:
    """`member`, as resolvers ask for it."""
    return member(f"{path}:{qualified}", name)


def linearized(start: str, graph: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The C3 linearization of `start` over `graph` (class to bases); circles are cut where they close."""
    done: dict[str, list[str]] = {}
    path: list[str] = [start]
    on_path = {start}
    cut: dict[str, list[str]] = {}
    while path:
        one = path[-1]
        if one not in cut:
            cut[one] = [base for base in graph.get(one, ()) if base not in on_path]
        open_one = next((base for base in cut[one] if base not in done), None)
        if open_one is not None:
            path.append(open_one)
            on_path.add(open_one)
            continue
        own = _without_implied(cut[one], done)
        done[one] = [one, *_merged([*(done[base] for base in own), own])]
        on_path.discard(one)
        path.pop()
    return tuple(done[start])


def _without_implied(several: list[str], done: Mapping[str, list[str]]) -> list[str]:
    """Bases without those outside that a later one inherits from: `Generic[T]` before `Base[T]` is none."""
    return [
        one
        for at, one in enumerate(several)
        if not one.startswith(OUTSIDE) or not any(one in done[later] for later in several[at + 1 :])
    ]


def _merged(lists: list[list[str]]) -> list[str]:
    """C3: the first head that stands in no tail; where there is none, the first head."""
    if len(lists) == 2:
        return lists[0]  # one base
    lists = [several[::-1] for several in lists if several]  # heads at the end, where they are taken from
    tails: dict[str, int] = {}
    for several in lists:
        for one in several[:-1]:
            tails[one] = tails.get(one, 0) + 1
    result: list[str] = []
    while lists:
        head = next((several[-1] for several in lists if not tails.get(several[-1])), lists[0][-1])
        if head not in result[-1:]:
            result.append(head)
        for several in lists:
            if several[-1] == head:
                several.pop()
                if several:
                    tails[several[-1]] -= 1
        lists = [several for several in lists if several]
    return list(dict.fromkeys(result))


def is_enumeration(symbol: str) -> bool:
    """Whether what a class assigns are its members."""
    return any(kind == EXTERNAL and one in ENUMERATIONS for kind, one in resolution_order(symbol).others)


# -- questions -------------------------------------------------------------------------------------


@query
def subclasses(symbol: str, depth: int = 0) -> tuple[str, ...]:
    """The classes that inherit from a class "path:qualified", sorted; with a depth, over so many steps."""
    found: dict[str, None] = {}
    level = [symbol]
    steps = 0
    while level and not (depth and steps == depth):
        steps += 1
        below: list[str] = []
        for one in level:
            for row in bases.where(base=one):
                if row.symbol not in found:
                    found[row.symbol] = None
                    below.append(row.symbol)
        level = below
    return tuple(sorted(found))


@query
def assigned_around(symbol: str) -> tuple[str, ...]:
    """What gives an attribute "path:C.name" to instances of C and its subclasses, as symbols, sorted.

    What the text of a class gives it hides what is given it so above; what methods assign hides nothing.
    """
    owner, _, name = symbol.rpartition(".")
    alone = is_private(name)
    orders = [Order((owner,), (), 1)] if alone else list(map(resolution_order, (owner, *subclasses(owner))))
    found: set[str] = set()
    said: dict[str, bool] = {}
    for one in {one for order in orders for one in order.classes}:
        place = f"{one}.{name}"
        if not bindings.exists(symbol=place):
            continue
        defined = definitions.count(symbol=place)
        if defined:
            said[one] = not any(row.doubtful for row in bindings.where(symbol=place))
        if not defined or defined < bindings.count(symbol=place):
            found.add(one)
    if said:
        found.update(*(order.having(said) for order in orders))
    return tuple(sorted(f"{one}.{name}" for one in found))
