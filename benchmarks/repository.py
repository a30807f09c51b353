"""Repository: a Python repository of any size as it could have been written by people, the same at every run.

    tree = repository(300)                   # {path: text}
    plant(root, files(100_000))              # written, without ever being in memory as a whole

Imports have a power law: few modules are hubs. Packages re-export, some are namespace packages; there are
stubs, tests, and a few files that are broken, as in every large repository.

Invariants
    R1  A path has the same text in every run, on every machine, and in a repository of any size.
    R2  Modules import earlier ones (and later ones in functions only), so a smaller repository is a beginning
        of a larger one, and what cannot be resolved is so on purpose, but for a few late imports at the end.
    R3  Texts are `str`, bytes that are no UTF-8 are lone surrogates: `encoded` gives what lies on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from attrs import frozen

from benchmarks import sources
from benchmarks.naming import PER_PACKAGE, Naming

SIZES = (30, 300, 1_000, 10_000, 100_000)


@frozen
class Layout:
    """How a repository looks: `src` puts the packages below "src/"."""

    seed: int = 1
    src: bool = False


def repository(count: int, seed: int = 1, *, src: bool = False) -> dict[str, str]:
    """A repository of `count` files: path to text."""
    return dict(files(count, seed, src=src))


def files(count: int, seed: int = 1, *, src: bool = False) -> Iterator[tuple[str, str]]:
    """The same one after the other."""
    return islice(_all(Naming(seed, "src/app" if src else "app")), count)


def plant(root: Path, tree: Iterable[tuple[str, str]]) -> int:
    """Write files below a directory; returns how many."""
    made: set[str] = set()
    prefix = f"{root}/"
    count = 0
    for path, text in tree:
        folder = path.rpartition("/")[0]
        if folder not in made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        with open(prefix + path, "wb") as file:
            file.write(encoded(text))
        count += 1
    return count


def encoded(text: str) -> bytes:
    """What lies on the disk (R3)."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """The other way."""
    return data.decode("utf-8", "surrogateescape")


def _all(naming: Naming) -> Iterator[tuple[str, str]]:
    yield "pyproject.toml", sources.project(naming)
    yield f"{naming.top}/__init__.py", '"""An application."""\n\n__version__ = "1.0"\n'
    yield "tests/conftest.py", sources.conftest(naming)
    package = 0
    while True:
        yield from _package(naming, package)
        package += 1


def _package(naming: Naming, package: int) -> Iterator[tuple[str, str]]:
    directory = naming.directory(package)
    if naming.is_first_in_area(package):
        yield f"{directory.rpartition('/')[0]}/__init__.py", sources.area_init(naming, package)
    if not naming.is_namespace(package):
        yield f"{directory}/__init__.py", sources.package_init(naming, package)
    numbers = range(package * PER_PACKAGE, (package + 1) * PER_PACKAGE)
    for number in numbers:
        yield naming.path(number), sources.module(naming, number)
        if number % 25 == 7:
            yield f"{naming.path(number)}i", sources.stub(naming, number)
        if number % 5 == 2:
            yield naming.test_path(number), sources.tests(naming, number)
