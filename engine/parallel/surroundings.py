"""Surroundings: what code sees of a process without the engine: working directory, variables, modules."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

from engine.parallel.units import Surroundings


def surroundings() -> Surroundings:
    """Those of this process now."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        directory = "/"  # it was deleted: nothing relative can be read there either
    places = [os.path.join(directory, place) for place in sys.path if isinstance(place, str)]
    return Surroundings(
        tuple([os.fsencode(os.path.normpath(place)) for place in places]),
        os.fsencode(directory),
        {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()},
        sys.getrecursionlimit(),
        sys.get_int_max_str_digits(),
    )


def take_over(others: Surroundings) -> None:
    """Make those of this process what they are elsewhere."""
    sys.path[:] = [os.fsdecode(place) for place in others.path]
    os.chdir(others.directory)
    wanted = {os.fsdecode(name): os.fsdecode(value) for name, value in others.environment.items()}
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
    sys.setrecursionlimit(others.recursion_limit)
    sys.set_int_max_str_digits(others.digits_limit)
    importlib.invalidate_caches()


def import_module(name: str, file: str) -> None:
    """Import a module by name, or where that brings another file, from its file under that name.

    Raises ImportError where the name is taken by a module of another file already.
    """
    loaded = sys.modules.get(name)
    if loaded is not None:
        place = getattr(loaded, "__file__", None)
        if place is None or not _is_same(place, file):
            raise ImportError(f"{name} is {place} there, not {file}")
        return
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        found = None
    place = None if found is None else found.origin
    if place and _is_same(place, file):
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _is_same(place: str, file: str) -> bool:
    """Whether these are one file, which need be none of the system: a zip archive has modules too."""
    if os.path.abspath(place) == file:
        return True
    return os.path.exists(place) and os.path.exists(file) and os.path.samefile(place, file)
