"""Origin: where a module comes from, which version it is, and what its source says. Nothing is run.

Invariants
    O1  No module is imported here, nor the parents of one: they are looked for with the finders alone.
    O2  A module is the project's, unless it lies in a folder of installed packages or of the standard
        library, or is the engine's core.
    O3  Source is read only for modules imported inside function bodies and behind values that have no
        bytes of their own; a file that changed under a loaded module never gives the digest a fresh
        process would get (`source_facts`).
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from struct import pack
from typing import Any

from attrs import evolve, frozen

from engine.code.moment import BEGAN
from engine.code.reach import Import, digest_of, facts_of


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


def file_of(module: str) -> str | None:
    """The file (or folder, for a namespace package) of a module, loaded or not; None without one."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        return file_in(loaded) or next(iter(_held(loaded).get("__path__", ())), None)
    return _find(module)[0]


def file_in(loaded: object) -> str | None:
    """The file that a loaded module is of; None where it says of none."""
    file = _held(loaded).get("__file__")
    return file if isinstance(file, str) else None


def _held(loaded: object) -> Mapping[str, Any]:
    """What a module has, without a question to it: one that is loaded when it is asked may fail at that."""
    try:
        found: Mapping[str, Any] = object.__getattribute__(loaded, "__dict__")
    except AttributeError:  # no module: somebody put it there
        return {}
    return found


def is_compiled(module: str) -> bool:
    """Whether a module is machine code."""
    return (file_of(module) or "").endswith(tuple(EXTENSION_SUFFIXES))


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
    top, file = module.partition(".")[0], file_of(module)
    place = "" if file is None else os.path.realpath(file)
    names = _distributions(top, tuple(one for one in _folders()[0] if place.startswith(one)))
    if not names and origin(module) == "installed":
        # 45 ms, so not for a checkout of the engine: its modules count by their bytes.
        from importlib import metadata

        owners = metadata.packages_distributions().get(top, ())
        names = tuple({f"{name}-{metadata.version(name)}" for name in owners})
    if names:
        return ",".join(sorted(names))
    data = Path(file).read_bytes() if file is not None and os.path.isfile(file) else b""
    return f"{module}#{digest_of(data).hex()}"  # nobody installed it as a version, so the bytes count


@cache
def _distributions(top: str, folders: tuple[str, ...]) -> tuple[str, ...]:
    """Names and versions of those in some folders that brought a top-level module along."""
    # `attr` belongs to `attrs`: the lists of installed files know. Reading those beside the module takes
    # a twentieth of the time of importlib.metadata, and every start pays it. A regular expression for the
    # beginnings of lines takes three times as long as looking for the bytes.
    beginnings = tuple(top.encode() + end for end in (b"/", b"."))
    lines = [b"\n" + beginning for beginning in beginnings]
    found = set()
    for folder in folders:
        for record in Path(folder).glob("*.dist-info/RECORD"):
            data = record.read_bytes()
            if data.startswith(beginnings) or any(line in data for line in lines):
                found.add(record.parent.name.removesuffix(".dist-info"))
    return tuple(found)


@frozen(eq=False, repr=False)
class Source:
    """A module's source, compiled and not run."""

    digest: bytes
    imports: tuple[Import, ...] = ()
    docs: bytes = b""
    asks: frozenset[str] = frozenset()  # see `reach.Facts`


_sources: dict[str, tuple[tuple[int, int, int, int], Source]] = {}


def source_facts(module: str, started: int) -> Source | None:
    """The facts of a module's source file, or None when it has none.

    Where the file changed after this process started (`started`, in nanoseconds) and the module is loaded,
    the old code may still run: the change time becomes part of the digest, so that no fresh process accepts
    what this one stores.
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
    # The clock may have been set back since: then what was saved later has an earlier time.
    if module in sys.modules and stat.st_ctime_ns >= started - BEGAN.set_back():
        return evolve(source, digest=digest_of(source.digest + pack(">q", stat.st_ctime_ns)))
    return source


def _compiled(data: bytes, *, is_source: bool) -> Source:
    if is_source:
        try:
            facts = facts_of(compile(data, "<module>", "exec", dont_inherit=True))
            return Source(facts.digest, facts.imports, facts.docs, facts.asks)
        except (SyntaxError, ValueError):  # it will fail when it is imported; any edit counts
            pass
    return Source(digest_of(data))
