"""Private: names that Python changes in the text of a class, so that subclasses do not meet them."""

from __future__ import annotations


def is_private(name: str) -> bool:
    """Whether an attribute of a class is its own: `__x`."""
    return name.startswith("__") and not name.endswith("__")


def outside(qualified: str, name: str) -> str:
    """What a private name of a class is for all others: `_C__x`."""
    own = _own(qualified)
    return f"_{own}{name}" if own else name


def as_written(qualified: str, name: str) -> str:
    """An attribute as the text of a class has it: `__x` where others say `_C__x`."""
    if name[:1] != "_" or name[1:2] == "_":
        return name
    own = _own(qualified)
    rest = name.removeprefix(f"_{own}")
    return rest if own and rest != name and is_private(rest) else name


def _own(qualified: str) -> str:
    return qualified.rpartition(".")[2].lstrip("_")
