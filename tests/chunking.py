"""The chunks of a source, with short names, by plain calls."""

from __future__ import annotations

from engine.rules.python.chunks import Chunk, chunks_of, texts_of
from engine.rules.python.parse import parse_text


def found(source: str) -> tuple[Chunk, ...]:
    return chunks_of(parse_text(source), source)


def digests(source: str) -> dict[str, bytes]:
    """Digests by "kind qualified", with the ordinal where it is not 0."""
    return {_shown(chunk.kind, chunk.qualified, chunk.ordinal): chunk.digest for chunk in found(source)}


def texts(source: str) -> dict[str, str]:
    pairs = texts_of(parse_text(source), source)
    return {_shown(kind, name, ordinal): own.decode() for (name, kind, ordinal), own in pairs}


def _shown(kind: str, qualified: str, ordinal: int) -> str:
    return f"{kind} {qualified}".rstrip() + (f" {ordinal}" if ordinal else "")


def changed(before: str, after: str) -> str:
    """The chunks that differ, or that only one of the texts has."""
    old, new = digests(before), digests(after)
    return ", ".join(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))
