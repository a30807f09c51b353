"""Script: the name under which a file that runs as a program is known, the same as when it is imported."""

from __future__ import annotations

import sys
from pathlib import Path


def module_name(name: str) -> str:
    """`name`, or for `__main__` the name that importing the script would give it.

    Keys and code fingerprints use it, so that running and importing a file agree on them.
    """
    if name != "__main__":
        return name
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return as_text(Path(getattr(main, "__file__", None) or "__main__").stem)


def as_text(name: str) -> str:
    """A part of a path, which need not be text, as the store can hold it: in the name of a query."""
    return name.encode(errors="backslashreplace").decode()
