"""Private: names that Python changes in the text of a class, so that subclasses do not meet them."""

from __future__ import annotations


def is_private(name: str) -> bool:
    """Whether an attribute of a class is its own: `__x`."""
    return name.startswith("__") and not name.endswith("__")


def asked_for(qualified: str) -> tuple[str, ...]:
    """The names by which others ask for something: for `C.__x` also the one outside of its class, `_C__x`."""
    owner, _, name = qualified.rpartition(".")
    own = _own(owner)
    return (name, f"_{own}{name}") if own and is_private(name) else (name,)


def as_written(qualified: str, name: str) -> str:
    """An attribute as the text of a class has it: `__x` where others say `_C__x`."""
    if name[:1] != "_" or name[1:2] == "_":
        return name
    own = _own(qualified)
    rest = name.removeprefix(f"_{own}")
    return rest if own and rest != name and is_private(rest) else name


def _own(qualified: str) -> str:
    return qualified.rpartition(".")[2].lstrip("_")
