"""Settings: from the defaults, the project's file, the environment and flags; later ones are stronger.

Invariants
    S1  Every setting knows where its value came from.
    S2  Reading settings imports nothing of the project and creates nothing.
    S3  Paths in a file are relative to that file; paths of the environment and of flags to the
        working directory. All paths in `Settings` are absolute. `source_roots` are no paths yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from engine.errors import BadSettings

FILE: Final = "engine.toml"
PYPROJECT: Final = "pyproject.toml"
TABLE: Final = "[tool.engine]"
PREFIX: Final = "ENGINE_"
DEFAULT: Final = "default"


@frozen
class Settings:
    """What the command line works with. `origins` says where each value came from."""

    root: Path  # what file rules are relative to
    store: Path  # the store's directory
    rules: tuple[str, ...] = ()  # modules searched for queries that are named without one
    path: tuple[Path, ...] = ()  # directories whose modules can be named, the root first
    workers: int = 1  # threads for parallel groups
    processes: int | str = 0  # worker processes
    source_roots: tuple[str, ...] = ()  # for the code graph, which finds them in the files by itself
    limits: Mapping[str, int] = field(factory=dict)  # keys that run at a time, of queries with that `limit=`
    strict: bool = False
    depth_limit: int = 50_000
    history: int = 4
    max_memory: int = 256 << 20  # bytes; as `engine.memory.LIMIT`, which is not imported in vain
    synchronous: str = "NORMAL"
    origins: Mapping[str, str] = field(factory=dict)
    files: tuple[Path, ...] = ()  # the configuration files that were read
    ignored: tuple[str, ...] = ()  # ENGINE_... variables that are no settings

    def rows(self) -> list[tuple[str, object, str]]:
        """Name, value and origin of each setting, in order."""
        return [(name, getattr(self, name), self.origins[name]) for name in _KINDS]


def load_settings(
    directory: str | os.PathLike[str] | None = None,
    *,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Find the project from `directory` (default: the working directory) upwards, and read its settings.

    `flags` holds what was said on the command line; None values count as not said. Raises `BadSettings`.
    """
    try:
        here = Path(os.path.abspath(directory if directory is not None else "."))
    except FileNotFoundError:
        raise BadSettings(cause="the working directory does not exist any more") from None
    cause = _no_directory(here)
    if cause:
        raise BadSettings(directory=here, cause=cause)
    environment = os.environ if environment is None else environment
    project, tables = _find(here)
    found: dict[str, tuple[object, str]] = {}
    for file, table in tables:
        origin = f"{file} {TABLE}" if file.name == PYPROJECT else str(file)
        for key, value in table.items():
            name = _known(key, origin)
            found[name] = _checked(name, value, origin, project), origin
    for name in _KINDS:
        text = environment.get(PREFIX + name.upper())
        if text:
            origin = f"environment {PREFIX}{name.upper()}"
            found[name] = _checked(name, _parsed(name, text), origin, here), origin
    for name, value in (flags or {}).items():
        if value is not None and value != ():
            origin = f"--{name.replace('_', '-')}"
            name = _known(name, origin)
            found[name] = _checked(name, value, origin, here), origin
    return _assemble(project, found, tables, environment)


def _assemble(
    project: Path,
    found: dict[str, tuple[object, str]],
    tables: list[tuple[Path, dict[str, object]]],
    environment: Mapping[str, str],
) -> Settings:
    root: Any
    root, origin = found.get("root", (project, DEFAULT))
    cause = _no_directory(root)
    if cause:  # the project's own may go while its settings are read
        raise BadSettings(root=root, origin=origin, cause=cause)
    values: dict[str, Any] = {"root": root, "store": root / ".engine", "path": (root,)}
    values |= {name: value for name, (value, _) in found.items()}
    if root not in values["path"]:
        values["path"] = (root, *values["path"])
    names = (name for name in sorted(environment) if name.startswith(PREFIX) and environment[name])
    return Settings(
        **values,
        origins={name: found[name][1] if name in found else DEFAULT for name in _KINDS},
        files=tuple(file for file, _ in tables),
        ignored=tuple(name for name in names if name.removeprefix(PREFIX).lower() not in _KINDS),
    )


def _no_directory(place: Path) -> str:
    """Why this is none, as far as we can see; "" where it is one."""
    try:
        os.stat(os.path.join(place, ""))
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such directory"
    except OSError as error:
        return error.strerror or str(error)
    return ""


# -- files -------------------------------------------------------------------------------------


def _find(here: Path) -> tuple[Path, list[tuple[Path, dict[str, object]]]]:
    """The first directory upwards that is configured, and its tables, the weaker one first."""
    for directory in (here, *here.parents):
        tables = []
        pyproject = read_toml(directory / PYPROJECT, needle=b"engine")
        if pyproject is not None:
            table = _subtable(directory / PYPROJECT, pyproject)
            if table is not None:
                tables.append((directory / PYPROJECT, table))
        own = read_toml(directory / FILE)
        if own is not None:
            tables.append((directory / FILE, own))
        if tables:
            return directory, tables
    return here, []


def _subtable(file: Path, document: dict[str, object]) -> dict[str, object] | None:
    tool = document.get("tool")
    table = tool.get("engine") if isinstance(tool, dict) else None
    if table is None or isinstance(table, dict):
        return table
    raise BadSettings(file=file, key="tool.engine", cause="it is not a table", allowed=", ".join(_KINDS))


def read_toml(file: Path, needle: bytes = b"") -> dict[str, object] | None:
    """A TOML file; None when there is none, or when it does not mention `needle`."""
    try:
        if not file.is_file():
            return None
        data = file.read_bytes()
    except OSError as error:
        raise BadSettings(file=file, cause=error.strerror or error, hint="Make it readable.") from error
    if needle not in data:
        return None
    import tomllib  # 10 ms; only projects that are configured pay for it

    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise BadSettings(file=file, cause=f"it is not UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(file=file, cause=f"it is not TOML: {error}") from error


# -- values ------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """What values a setting takes, and how a text becomes one."""

    allowed: str
    check: Callable[[object, Path], object]  # raises ValueError
    parse: Callable[[str], object] = str


def _path(value: object, base: Path) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError
    return Path(os.path.normpath(base / Path(value).expanduser()))


def _paths(value: object, base: Path) -> tuple[Path, ...]:
    return tuple(_path(one, base) for one in _texts(value, base))


def _texts(value: object, base: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
        raise ValueError
    return tuple(value)


def _modules(value: object, base: Path) -> tuple[str, ...]:
    """Names of modules; files become absolute, since a file's entry is relative to it (S3)."""
    return tuple(str(_path(one, base)) if looks_like_file(one) else one for one in _texts(value, base))


def _folders(value: object, base: Path) -> tuple[str, ...]:
    """Folders as texts: what they are relative to is the root, which another setting may say."""
    texts = _texts(value, base)
    if not texts or any(os.path.isabs(one) or ".." in Path(one).parts or "\0" in one for one in texts):
        raise ValueError
    return texts


def looks_like_file(text: str) -> bool:
    """Whether the name of a rule module is meant as a path."""
    return text.endswith(".py") or "/" in text or os.sep in text


def _count(value: object, base: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def _natural(value: object, base: Path) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _count(value, base)


def _processes(value: object, base: Path) -> object:
    return value if value in ("auto", 0) and not isinstance(value, bool) else _count(value, base)


def _limits(value: object, base: Path) -> dict[str, int]:
    if not isinstance(value, Mapping) or "" in value:
        raise ValueError
    return {name: _count(size, base) for name, size in value.items()}


def _flag(value: object, base: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _sync(value: object, base: Path) -> str:
    text = value.upper() if isinstance(value, str) else ""
    if text not in ("NORMAL", "FULL"):
        raise ValueError
    return text


def _split(text: str) -> list[str]:
    return [part for part in text.split(os.pathsep) if part]


def _sizes(text: str) -> object:
    parts = [part.rpartition("=") for part in _split(text)]
    return {name: _number(size) for name, _, size in parts}


def parse_flag(text: str) -> object:
    """A truth value as people write it; anything else stays as it is, for the check to refuse."""
    words = {"1": True, "true": True, "yes": True, "on": True} | dict.fromkeys(
        ("0", "false", "no", "off"), False
    )
    return words.get(text.strip().lower(), text)


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text


_LIST = f"a list of texts, in the environment separated by {os.pathsep!r}"
_KINDS: Final[dict[str, _Kind]] = {
    "root": _Kind("a directory", _path),
    "store": _Kind("a directory", _path),
    "rules": _Kind(_LIST, _modules, _split),
    "path": _Kind(_LIST, _paths, _split),
    "source_roots": _Kind("a list of folders below the root, each relative to it", _folders, _split),
    "workers": _Kind("a whole number, at least 1", _count, _number),
    "processes": _Kind('a whole number, or "auto": as many as there are cores', _processes, _number),
    "limits": _Kind(f"whole numbers by name; in the environment gpu=1{os.pathsep}net=4", _limits, _sizes),
    "strict": _Kind("true or false", _flag, parse_flag),
    "depth_limit": _Kind("a whole number, at least 1", _count, _number),
    "history": _Kind("a whole number, 0 for none", _natural, _number),
    "max_memory": _Kind("a whole number of bytes, at least 1", _count, _number),
    "synchronous": _Kind('"NORMAL" or "FULL"', _sync),
}


def _known(key: str, origin: str) -> str:
    if key in _KINDS:
        return key
    from difflib import get_close_matches

    close = get_close_matches(key.replace("-", "_").lower(), _KINDS, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else None
    if key == "tool":
        hint = "Only in pyproject.toml settings stand below [tool.engine]."
    raise BadSettings(
        origin=origin,
        key=key,
        cause="there is no such setting",
        allowed=", ".join(_KINDS),
        hint=hint,
    )


def _parsed(name: str, text: str) -> object:
    return _KINDS[name].parse(text)


def _checked(name: str, value: object, origin: str, base: Path) -> object:
    kind = _KINDS[name]
    try:
        return kind.check(value, base)
    except (ValueError, RuntimeError):  # RuntimeError: `~user` names nobody
        raise BadSettings(origin=origin, key=name, value=repr(value), allowed=kind.allowed) from None
