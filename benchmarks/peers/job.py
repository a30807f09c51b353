"""Job: what every peer computes, as plain functions that know nothing of any of them.

Of each Python file a summary: what it makes public, and what it imports. Of each file a resolution: what its
imports mean, by the summaries of the files they lead to. Over all resolutions one index. A comment or the
body of a function changes no summary; a signature changes the resolutions of those who import it.

Invariants
    J1  `resolution` depends on the summaries that it asks for, and on files that are not there, alone.
    J2  An index does not depend on the order of its parts, and `without` takes back what `plus` added.

Imports here are few: each peer pays for them at every start.
"""

from __future__ import annotations

import ast
import os
import warnings
from _blake2 import blake2b  # hashlib takes OpenSSL along: 5 ms at every start, for all alike
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

MODULUS = 2**62  # an index holds no larger number


class Summary(NamedTuple):
    """What others can see of a file. `imports`: module as it is written, and the name ("" for a module)."""

    symbols: tuple[tuple[str, str], ...]  # name, signature
    imports: tuple[tuple[str, str], ...]


class Resolution(NamedTuple):
    """What the imports of a file mean. `defines`: its own symbols, as one number."""

    path: str
    defines: int
    symbols: int
    targets: tuple[str, ...]  # "" what is not of this repository, "?" at the end what is not there


class Index(NamedTuple):
    """The answer: how much there is of everything, and a number that two different repositories differ in."""

    files: int
    symbols: int
    resolved: int
    unresolved: int
    outside: int
    digest: int


EMPTY = Index(0, 0, 0, 0, 0, 0)


# -- one file ------------------------------------------------------------------------------------


def summary(data: bytes) -> Summary:
    """What others can see of a file with this content; nothing where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return Summary((), ())
    symbols: dict[str, str] = {}
    imports: dict[tuple[str, str], None] = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            symbols[node.name] = _signature(node)
        elif isinstance(node, ast.ClassDef):
            symbols[node.name] = _class(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
                if isinstance(target, ast.Name):
                    symbols[target.id] = "="
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.name, ""] = None
                symbols[alias.asname or alias.name.partition(".")[0]] = f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                imports[module, alias.name] = None
                symbols[alias.asname or alias.name] = f"from {module} import {alias.name}"
    return Summary(tuple(sorted(symbols.items())), tuple(imports))


def resolution(path: str, own: Summary, summary_of: Callable[[str], Summary | None]) -> Resolution:
    """What the imports of a file mean. `summary_of` is None where there is no file."""
    targets = tuple(_target(path, module, name, summary_of) for module, name in own.imports)
    return Resolution(path, crc32(repr(own.symbols).encode()), len(own.symbols), targets)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run when the module is imported."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)
            yield from _statements(node.orelse)
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    given = node.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    rest = [f"*{one.arg}" for one in (given.vararg, given.kwarg) if one is not None]
    return f"({', '.join(names + rest)}; {len(given.defaults)})"


def _class(node: ast.ClassDef) -> str:
    bases = [base.id if isinstance(base, ast.Name) else getattr(base, "attr", "?") for base in node.bases]
    methods = [
        one.name + _signature(one)
        for one in node.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return f"class({', '.join(bases)}) {' '.join(methods)}"


def _target(path: str, module: str, name: str, summary_of: Callable[[str], Summary | None]) -> str:
    place = place_of(path, module)
    found, there = _file(place, summary_of)
    if found is not None:
        if not name:
            return there
        if name == "*":
            return f"{there}:{crc32(repr(found.symbols).encode())}"
        for symbol, signature in found.symbols:
            if symbol == name:
                return f"{there}:{name}:{crc32(signature.encode())}"
    if name and name != "*" and (found is None or there.endswith("__init__.py")):
        inside, there_too = _file(f"{place}/{name}" if place else name, summary_of)
        if inside is not None:
            return there_too
    return f"{there}:{name}?" if found is not None else ""


def _file(place: str, summary_of: Callable[[str], Summary | None]) -> tuple[Summary | None, str]:
    """A module, or the `__init__.py` of a package."""
    for there in (f"{place}.py", f"{place}/__init__.py") if place else ("__init__.py",):
        found = summary_of(there)
        if found is not None:
            return found, there
    return None, ""


def place_of(path: str, module: str) -> str:
    """The path that a module's name stands for, without a suffix."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    inner = name.replace(".", "/")
    if not level:
        return inner
    parts = path.split("/")[:-level]
    return "/".join((*parts, inner)) if inner else "/".join(parts)


# -- all files -----------------------------------------------------------------------------------


def plus(index: Index, one: Resolution) -> Index:
    """The index with one more file."""
    return _moved(index, one, 1)


def without(index: Index, one: Resolution) -> Index:
    """The index without a file that is in it."""
    return _moved(index, one, -1)


def index_of(resolutions: Iterable[Resolution]) -> Index:
    """The index of all files."""
    files = symbols = resolved = unresolved = outside = digest = 0
    for one in resolutions:
        files += 1
        symbols += one.symbols
        for target in one.targets:
            if not target:
                outside += 1
            elif target[-1] == "?":
                unresolved += 1
            else:
                resolved += 1
        digest += digest_of(one)
    return Index(files, symbols, resolved, unresolved, outside, digest % MODULUS)


def digest_of(one: Resolution) -> int:
    """A number that stands for all of a resolution."""
    text = "\0".join((one.path, str(one.defines), *one.targets))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=7).digest(), "big")


def _moved(index: Index, one: Resolution, sign: int) -> Index:
    outside = one.targets.count("")
    unresolved = sum(target[-1:] == "?" for target in one.targets)
    return Index(
        index.files + sign,
        index.symbols + sign * one.symbols,
        index.resolved + sign * (len(one.targets) - outside - unresolved),
        index.unresolved + sign * unresolved,
        index.outside + sign * outside,
        (index.digest + sign * digest_of(one)) % MODULUS,
    )


# -- the disk ------------------------------------------------------------------------------------

Stamp = tuple[int, int]  # time of the last change in nanoseconds, size


def crawl(root: str) -> dict[str, Stamp]:
    """Every Python file below a directory, and its stamp."""
    found: dict[str, Stamp] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if name not in (".git", ".engine"):
                        waiting.append(f"{folder}{name}/")
                elif name.endswith(".py"):
                    said = entry.stat(follow_symlinks=False)
                    found[folder + name] = (said.st_mtime_ns, said.st_size)
    return found


def content(root: str, path: str) -> bytes:
    """The content of a file."""
    descriptor = os.open(f"{root}/{path}", os.O_RDONLY)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size + 1)
    finally:
        os.close(descriptor)
