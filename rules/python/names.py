"""Names: where something is defined, one name at a time.

Invariants
    N1  An answer about one name rests on that name alone: an edit elsewhere in a shard leaves it equal, and
        an edit of a file that keeps its names does not get as far as the shards.
"""

from __future__ import annotations

from attrs import frozen

from engine import each, query
from engine.rules.python.facts import Definition, facts
from engine.rules.python.shards import Entry, files_of, joined, shard_of
from engine.rules.python.tree import files_in, python_directories


@frozen
class Site:
    """A definition and the file it is in."""

    path: str
    definition: Definition


@query
def definitions_of(name: str) -> tuple[Site, ...]:
    """All definitions with a plain name, whatever it is a member of, sorted. () is an answer too."""
    files = files_of(_names_shard(shard_of(name)), name)
    found = each(definitions_in.key(path, name) for path in files)
    return tuple(Site(path, one) for path, several in zip(files, found, strict=True) for one in several)


@query
def definitions_in(path: str, name: str) -> tuple[Definition, ...]:
    """The definitions of one plain name in one file, sorted."""
    return tuple(definition for definition in facts(path).definitions if definition.name == name)


@query
def names_in(path: str) -> tuple[str, ...]:
    """The plain names that a file defines, sorted. Equal however their definitions change."""
    return tuple(sorted({definition.name for definition in facts(path).definitions}))


@query
def directory_names(directory: str) -> tuple[Entry, ...]:
    """(name, file) for every name that a file in one directory defines."""
    files = files_in(directory)
    defined = zip(files, each(names_in, files), strict=True)
    return tuple((name, path) for path, names in defined for name in names)


@query
def _names_group(directory: str, shard: int) -> tuple[Entry, ...]:
    return tuple(entry for entry in directory_names(directory) if shard_of(entry[0]) == shard)


@query
def _names_shard(shard: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return joined(each(_names_group.key(directory, shard) for directory in python_directories()))
