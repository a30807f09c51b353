"""Code reach: what a code object does and names, and where a module comes from. Nothing is run.

Invariants
    R1  The facts of a code object follow from its instructions, constants and names. File, line
        numbers, docstrings and comments are left out; so is everything that depends on a hash seed.
    R2  Constants keep their type: `1`, `True`, `1.0`, `0.0` and `-0.0` have five encodings.
    R3  No module is imported here. Source is read only for modules imported inside function bodies
        and behind values that have no bytes of their own; a file that changed under a loaded module
        never gives the digest a fresh process would get (`source_facts`).

Facts are kept by identity with a weak reference: code objects compare by value, and hashing a table of
100,000 constants at each look-up would cost more than the rest of the walk.
"""

from __future__ import annotations

import dis
import os
import site
import sys
import sysconfig
import time
import weakref
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from pathlib import Path
from struct import pack
from types import CodeType, EllipsisType, NotImplementedType
from typing import Any

from attrs import frozen
from blake3 import blake3

DIGEST_BYTES = 16  # 128 bits: no collision to be expected among 2**50 fingerprints
# Files that changed after this moment may differ from the module that was loaded from them. The slack
# covers the kernel's coarse clock, from which change times are taken (4 to 10 ms).
STARTED_NS = time.time_ns() - 50_000_000

_CACHE = dis.opmap["CACHE"]
_NAME_SHIFT = {  # low bits of the argument that are flags, not part of the index into co_names
    dis.opmap["LOAD_GLOBAL"]: 1,
    dis.opmap["LOAD_ATTR"]: 1 if sys.version_info >= (3, 12) else 0,
    dis.opmap.get("LOAD_SUPER_ATTR", -1): 2,
}  # tests/test_code.py compares this with `dis` for every function of some large modules
_CONST = frozenset(dis.hasconst)
_NAME = frozenset(dis.hasname)
_SMALL_INT = dis.opmap.get("LOAD_SMALL_INT", -1)  # 3.14: an int constant in the argument itself
_GLOBAL = frozenset(
    dis.opmap.get(name, -1) for name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
)
_FREE = frozenset(
    dis.opmap.get(name, -1) for name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
)
_ATTRIBUTE = frozenset((dis.opmap["LOAD_ATTR"], dis.opmap.get("LOAD_METHOD", -1)))
_STORE_NAME, _IMPORT_NAME = dis.opmap["STORE_NAME"], dis.opmap["IMPORT_NAME"]
# What a class body stores about its source: lines, a docstring, and (3.13) names in hash order.
_ABOUT_SOURCE = frozenset(("__doc__", "__firstlineno__", "__static_attributes__"))
_HAS_DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING of 3.14

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


@frozen
class Facts:
    """What never changes about one code object and the code nested in it."""

    digest: bytes
    docs: bytes  # of the docstrings: they count where `__doc__` is read
    reads_docs: bool
    names: tuple[Chain, ...]  # read from globals and builtins
    free: tuple[Chain, ...]  # read from closure cells
    stored: frozenset[str]  # names class bodies bind themselves: not missing when no global has them
    imports: tuple[Import, ...]


_known: dict[int, tuple[weakref.ref[CodeType], Facts]] = {}


def facts_of(code: CodeType) -> Facts:
    """The facts of `code`, computed once."""
    found = _known.get(id(code))
    if found is not None and found[0]() is code:
        return found[1]
    facts = _Scan(code).facts()
    number = id(code)
    _known[number] = (weakref.ref(code, lambda _: _known.pop(number, None)), facts)
    return facts


@lru_cache(maxsize=4096)
def annotation_names(text: str) -> tuple[Chain, ...]:
    """The names that a string annotation reads."""
    try:
        return facts_of(compile(text, "<annotation>", "eval", dont_inherit=True)).names
    except (SyntaxError, ValueError):  # a string annotation may be any text
        return ()


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
        self.chain_is_free = self.reads_docs = False
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
                self.out.append(b"%d " % op + constant(consts[argument]))
            elif op in _NAME:
                self.named(op, argument, was_constant)
            else:
                if op == _SMALL_INT:
                    self.loaded.append(argument)
                self.out.append(b"%d %d" % (op, argument))
            if op in _FREE and self.locals[argument] in code.co_freevars:
                self.begin(self.locals[argument], free=True)
            elif op not in _NAME:
                self.end()
            was_constant = op in _CONST or op == _SMALL_INT
            argument = 0
        self.end()
        for nested in (c for c in consts if isinstance(c, CodeType)):
            inner = facts_of(nested)
            self.names.update(inner.names)
            self.free.update(chain for chain in inner.free if chain[0] in code.co_freevars)
            self.stored.update(inner.stored)
            self.imports.update(inner.imports)
            self.docs.append(inner.docs)
            self.reads_docs |= inner.reads_docs
        shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        head = repr((shape, code.co_flags & ~_HAS_DOCSTRING, code.co_name, self.locals)).encode()
        return Facts(
            digest=digest_of(packed(b"code", (head, code.co_exceptiontable, *self.out))),
            docs=digest_of(packed(b"docs", self.docs)),
            reads_docs=self.reads_docs,
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
        self.reads_docs |= name == "__doc__"
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


# -- modules ---------------------------------------------------------------------------------------


def _real(paths: Iterable[str | None]) -> tuple[str, ...]:
    return tuple({os.path.join(os.path.realpath(path), "") for path in paths if path})


@cache
def _folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders of installed packages, and of the standard library (which contains the former)."""
    paths = sysconfig.get_paths()
    installed = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    return _real(installed), _real((paths["stdlib"], paths["platstdlib"]))


@lru_cache(maxsize=8192)
def _origin_of_file(name: str, file: str | None) -> str:
    if file is None:
        known = name.partition(".")[0] in sys.stdlib_module_names and name != "__main__"
        return "stdlib" if known else "project"
    place = os.path.realpath(file)
    installed, standard = _folders()
    if place.startswith(installed) or {"site-packages", "dist-packages"} & set(Path(place).parts):
        return "installed"
    return "stdlib" if place.startswith(standard) else "project"


def origin(module: str) -> str:
    """`project`, `engine` (its core), `installed` or `stdlib`.

    The engine's core is known by its version; its ready-made rules are followed like the project's own.
    """
    if module == "engine" or module.startswith("engine."):
        rules = module == "engine.rules" or module.startswith("engine.rules.")
        return "project" if rules else "engine"
    return _origin_of_file(module, file_of(module))


def in_project(module: str) -> bool:
    """Whether a module is the user's own: not installed, not of the standard library."""
    return origin(module) == "project"


def file_of(module: str) -> str | None:
    """The file (or folder, for a namespace package) of a module, loaded or not; None without one."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return file if isinstance(file, str) else next(iter(getattr(loaded, "__path__", ())), None)
    return _find(module)[0]


def exists(module: str) -> bool:
    """Whether a module is loaded or can be found, without importing it or its parents."""
    return module in sys.modules or _find(module)[1]


def _find(module: str) -> tuple[str | None, bool]:
    # Not importlib.util.find_spec: for a dotted name it imports the parents.
    spec, path = None, None
    steps = module.split(".")
    for count in range(1, len(steps) + 1):
        name = ".".join(steps[:count])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        found = (find(name, path) for find in finders if find is not None)
        spec = next((one for one in found if one is not None), None)
        path = None if spec is None else spec.submodule_search_locations
        if spec is None or (path is None and count < len(steps)):
            return None, False
    assert spec is not None
    file = spec.origin if spec.has_location else next(iter(path or ()), None)
    return file, True


@cache
def release(module: str) -> str:
    """Name and version of the distribution that installed a module, or the digest of its file."""
    from importlib import metadata  # 20 ms that a project without third-party helpers never pays

    top = module.partition(".")[0]
    try:
        one = metadata.distribution(top)
        if any(file.parts[0] in (top, f"{top}.py") for file in one.files or ()):
            return f"{top}=={one.version}"
    except metadata.PackageNotFoundError:
        pass
    names = sorted(set(metadata.packages_distributions().get(top, ())))
    if names:
        return ",".join(f"{name}=={metadata.version(name)}" for name in names)
    file = file_of(module)  # a folder of plain modules on the path: no version, so the bytes count
    data = Path(file).read_bytes() if file is not None and os.path.isfile(file) else b""
    return f"{top}#{digest_of(data).hex()}"


@frozen
class Source:
    """A module's source, compiled and not run."""

    digest: bytes
    imports: tuple[Import, ...] = ()


_sources: dict[str, tuple[tuple[int, int, int, int], Source]] = {}


def source_facts(module: str) -> Source | None:
    """The facts of a module's source file, or None when it has none.

    Where the file changed after this process started and the module is loaded, the old code may still
    run: the change time becomes part of the digest, so that no fresh process accepts what this one stores.
    """
    file = file_of(module)
    if file is None or not os.path.isfile(file):
        return None
    stat = os.stat(file)
    stamp = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
    known = _sources.get(file)
    if known is None or known[0] != stamp:
        known = (stamp, _compiled(Path(file).read_bytes(), is_source=file.endswith(".py")))
        _sources[file] = known
    source = known[1]
    if module in sys.modules and stat.st_ctime_ns >= STARTED_NS:
        return Source(digest_of(source.digest + pack(">q", stat.st_ctime_ns)), source.imports)
    return source


def _compiled(data: bytes, *, is_source: bool) -> Source:
    if is_source:
        try:
            facts = facts_of(compile(data, "<module>", "exec", dont_inherit=True))
            return Source(digest_of(facts.digest + facts.docs * facts.reads_docs), facts.imports)
        except (SyntaxError, ValueError):  # it will fail when it is imported; any edit counts
            pass
    return Source(digest_of(data))
