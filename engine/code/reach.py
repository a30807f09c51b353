"""Reach of code: what a code object does and names. Nothing is run.

Invariants
    R1  The facts of a code object follow from its instructions, constants and names. File, line
        numbers, docstrings and comments are left out; so is everything that depends on a hash seed.
    R2  Constants keep their type: `1`, `True`, `1.0`, `0.0` and `-0.0` have five encodings.

Facts are kept by identity with a weak reference: code objects compare by value, and hashing a table of
100,000 constants at each look-up would cost more than the rest of the walk.
"""

from __future__ import annotations

import dis
import itertools
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from struct import pack
from types import CodeType, EllipsisType, NotImplementedType
from typing import Any

from attrs import frozen
from blake3 import blake3

DIGEST_BYTES = 16  # 128 bits: no collision to be expected among 2**50 fingerprints

_CACHE = dis.opmap["CACHE"]
_NAME_SHIFT = {  # low bits of the argument that are flags, not part of the index into co_names
    dis.opmap["LOAD_GLOBAL"]: 1,
    dis.opmap["LOAD_ATTR"]: 1 if sys.version_info >= (3, 12) else 0,
    dis.opmap.get("LOAD_SUPER_ATTR", -1): 2,
    dis.opmap["IMPORT_NAME"]: 2 if sys.version_info >= (3, 15) else 0,  # whether it is lazy
}  # tests/test_code.py compares this with `dis` for every function of some large modules
_CONST = frozenset(dis.hasconst)
_NAME = frozenset(dis.hasname)
_SMALL_INT = dis.opmap.get("LOAD_SMALL_INT", -1)  # 3.14: an int constant in the argument itself
_COMMON = dis.opmap.get("LOAD_COMMON_CONSTANT", -1)  # 3.14: AssertionError, ...; 3.15: None, ...
_GLOBAL = frozenset(
    dis.opmap.get(name, -1) for name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
)
_FREE = frozenset(
    dis.opmap.get(name, -1) for name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
)
_ATTRIBUTE = frozenset((dis.opmap["LOAD_ATTR"], dis.opmap.get("LOAD_METHOD", -1)))
_STORE_NAME, _IMPORT_NAME = dis.opmap["STORE_NAME"], dis.opmap["IMPORT_NAME"]
_WRITING = {
    (dis.opmap["LOAD_NAME"], "__annotations__"),
    *((_STORE_NAME, name) for name in ("__doc__", "__annotations__", "__annotate__")),
}
# What a class body stores about its source: lines, a docstring, and (3.13) names in hash order.
_ABOUT_SOURCE = frozenset(("__doc__", "__firstlineno__", "__static_attributes__"))
_HAS_DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING of 3.14
_ASKING = {  # who reads one of these names asks for what else counts for nothing, see `asked`
    **dict.fromkeys(("__doc__", "getdoc"), "docs"),
    **dict.fromkeys(("__annotations__", "__annotate__", "get_annotations", "get_type_hints"), "notes"),
    **dict.fromkeys(("signature", "getfullargspec"), "notes"),
    "__subclasses__": "subclasses",
}

_QUOTED, _PROSE = re.compile(r"'[^']*'|\"[^\"]*\""), re.compile(r"\w\s+\w|\b\d+[^\W\d]")

Chain = tuple[str, ...]  # a name and the attributes read from it: ("helpers", "area")
Import = tuple[int, str, tuple[str, ...]]  # level, module, names: `from ..a import b` is (2, "a", ("b",))


def digest_of(data: bytes) -> bytes:
    """16 bytes of blake3."""
    return blake3(data).digest(length=DIGEST_BYTES)


def packed(tag: bytes, pieces: Iterable[bytes]) -> bytes:
    """`pieces` behind a tag, each with its length, so that no two lists share their bytes."""
    out = [tag]
    for piece in pieces:
        out.append(b"%d:" % len(piece))
        out.append(piece)
    out.append(b";")
    return b"".join(out)


# -- values without parts -------------------------------------------------------------------------

_ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda v: b"T" if v else b"F",
    int: lambda v: b"i" + hex(v).encode(),  # decimal digits are limited to 4300 of them
    float: lambda v: b"f" + pack(">d", v),
    complex: lambda v: b"c" + pack(">dd", v.real, v.imag),
    str: lambda v: b"s" + v.encode("utf-8", "surrogatepass"),
    bytes: lambda v: b"b" + v,
    EllipsisType: lambda _: b"...",
    NotImplementedType: lambda _: b"!",
}


def atom(value: object) -> bytes | None:
    """The bytes of a value that has no parts, with its type; None for everything else."""
    encode = _ATOMS.get(type(value))
    return None if encode is None else encode(value)


def constant(value: Any) -> bytes:
    """The bytes of a constant of a code object."""
    plain = atom(value)
    if plain is not None:
        return plain
    if isinstance(value, CodeType):
        return b"C" + facts_of(value).digest
    if isinstance(value, tuple):
        return b"D" + digest_of(packed(b"(", map(constant, value)))
    if isinstance(value, frozenset):
        return b"D" + digest_of(packed(b"{", sorted(map(constant, value))))
    assert isinstance(value, slice), f"unknown constant {type(value).__name__}"
    return packed(b"[", map(constant, (value.start, value.stop, value.step)))


# -- code objects ----------------------------------------------------------------------------------


@frozen(eq=False, repr=False)
class Facts:
    """What never changes about one code object and the code nested in it."""

    digest: bytes
    docs: bytes  # of the docstrings
    asks: frozenset[str]  # for docstrings and other things that count only then, see `asked`
    names: tuple[Chain, ...]  # read from globals and builtins
    free: tuple[Chain, ...]  # read from closure cells
    stored: frozenset[str]  # names class bodies bind themselves: not missing when no global has them
    imports: tuple[Import, ...]


known_codes: dict[int, tuple[weakref.ref[CodeType], Facts]] = {}


def facts_of(code: CodeType) -> Facts:
    """The facts of `code`, computed once."""
    found = known_codes.get(id(code))
    if found is not None and found[0]() is code:
        return found[1]
    facts = _Scan(code).facts()
    number = id(code)
    known_codes[number] = (weakref.ref(code, lambda _: known_codes.pop(number, None)), facts)
    return facts


@lru_cache(maxsize=4096)
def annotation_names(text: str) -> tuple[Chain, ...]:
    """The names that a string annotation reads, and those that texts in it do."""
    try:
        code = compile(text, "<annotation>", "eval", dont_inherit=True)
    except (SyntaxError, ValueError):  # a string annotation may be any text
        return ()
    inner = map(annotation_names, texts_in(code.co_consts))
    return (*facts_of(code).names, *itertools.chain.from_iterable(inner))


def texts_in(consts: tuple[Any, ...]) -> Iterator[str]:
    """The texts among the constants of an annotation: each may be one itself, unless it is prose."""
    for one in consts:
        if isinstance(one, str):
            if not _PROSE.search(_QUOTED.sub("", one)):  # the compiler has warnings about "5in"
                yield one
        elif isinstance(one, tuple):
            yield from texts_in(one)


class _Scan:
    """One pass over the instructions of one code object.

    `co_code` is the form before specialisation, whatever the interpreter runs at the moment. Each
    constant and name is written where it is used: what is never used (the docstring of a function is
    a constant nobody loads) drops out by itself, and an inserted one does not renumber the others.
    """

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.out: list[bytes] = []
        self.loaded: list[Any] = []  # constants, for the two operands of IMPORT_NAME
        self.chain: list[str] | None = None
        self.names: set[Chain] = set()
        self.free: set[Chain] = set()
        self.stored: set[str] = set()
        self.imports: set[Import] = set()
        self.docs: list[bytes] = []
        self.asks: set[str] = set()
        self.chain_is_free = False
        cells = tuple(name for name in code.co_cellvars if name not in code.co_varnames)
        self.locals = code.co_varnames + cells + code.co_freevars

    def facts(self) -> Facts:
        code = self.code
        consts = code.co_consts
        if consts and isinstance(consts[0], str):
            self.docs.append(constant(consts[0]))
        argument, raw, was_constant = 0, code.co_code, False
        for op, low in zip(raw[::2], raw[1::2], strict=True):
            if op == _CACHE:
                continue
            argument |= low
            if op == dis.EXTENDED_ARG:
                argument <<= 8
                continue
            if op in _CONST:
                self.loaded.append(consts[argument])
                if type(consts[argument]) is str and consts[argument] in _ASKING:
                    self.asks.add(_ASKING[consts[argument]])
                self.out.append(b"%d " % op + constant(consts[argument]))
            elif op in _NAME:
                self.named(op, argument, was_constant)
            else:
                if op in (_SMALL_INT, _COMMON):  # the only common one that an import loads is None
                    self.loaded.append(argument if op == _SMALL_INT else None)
                self.out.append(b"%d %d" % (op, argument))
            if op in _FREE and self.locals[argument] in code.co_freevars:
                self.begin(self.locals[argument], free=True)
            elif op not in _NAME:
                self.end()
            was_constant = op in _CONST or op in (_SMALL_INT, _COMMON)
            argument = 0
        self.end()
        for nested in (c for c in consts if isinstance(c, CodeType)):
            inner = facts_of(nested)
            self.names.update(inner.names)
            self.free.update(chain for chain in inner.free if chain[0] in code.co_freevars)
            self.stored.update(inner.stored)
            self.imports.update(inner.imports)
            self.docs.append(inner.docs)
            self.asks |= inner.asks
        shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        head = repr((shape, code.co_flags & ~_HAS_DOCSTRING, code.co_name, self.locals)).encode()
        return Facts(
            digest=digest_of(packed(b"code", (head, code.co_exceptiontable, *self.out))),
            docs=digest_of(packed(b"docs", self.docs)),
            asks=frozenset(self.asks),
            names=tuple(sorted(self.names)),
            free=tuple(sorted(self.free)),
            stored=frozenset(self.stored),
            imports=tuple(sorted(self.imports)),
        )

    def named(self, op: int, argument: int, after_constant: bool) -> None:
        shift = _NAME_SHIFT.get(op, 0)
        name = self.code.co_names[argument >> shift]
        if op == _STORE_NAME:
            self.stored.add(name)
            if name in _ABOUT_SOURCE and after_constant:
                self.out.pop()  # the LOAD_CONST before it
                if name == "__doc__":
                    self.docs.append(constant(self.loaded[-1]))
                self.end()
                return
        # A body with annotated variables reads `__annotations__` to write into it.
        if name in _ASKING and (op, name) not in _WRITING:
            self.asks.add(_ASKING[name])
        self.out.append(b"%d %d " % (op, argument & ((1 << shift) - 1)) + name.encode())
        if op in _GLOBAL:
            self.begin(name, free=False)
        elif op in _ATTRIBUTE and self.chain is not None:
            self.chain.append(name)
        else:
            self.end()
        if op == _IMPORT_NAME:
            level, wanted = self.loaded[-2:]
            self.imports.add((level, name, wanted or ()))

    def begin(self, name: str, *, free: bool) -> None:
        self.end()
        self.chain, self.chain_is_free = [name], free

    def end(self) -> None:
        if self.chain is not None:
            (self.free if self.chain_is_free else self.names).add(tuple(self.chain))
            self.chain = None
