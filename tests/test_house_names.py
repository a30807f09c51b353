"""What comments and docstrings name is there: invariants by module and label, tests by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.sources import CHECKOUT, FOLDERS, below, shown, tree

COMMENT = re.compile(r"(?:^|\s)# (.*)")
INVARIANT = re.compile(r"^ {4}([A-Z]\d{1,2})  ", re.MULTILINE)  # as the docstring of a module states it
NAMED = re.compile(r"(?:\b([a-z_]+) )?\b([A-Z]\d{1,2})\b")
OTHERS = {"C3"}  # the order in which Python looks for attributes

# Of the standard library, which has no public name for these.
PRIVATE = {
    "_abc._get_dump",
    "os._exit",
    "subprocess._CAN_USE_PIDFD_OPEN",
    "subprocess._args_from_interpreter_flags",
    "sys._current_frames",
}


def test_an_invariant_that_is_named_is_stated_in_its_module() -> None:
    """One of another module has its name before it: `persist P1`."""
    own = {path: invariants(path) for path in below(*FOLDERS)}
    stated: dict[str, set[str]] = {}
    for path, labels in own.items():
        stated.setdefault(path.stem, set()).update(labels)
    missing = [
        f"{shown(path)}:{line}: {module} {label}"
        for path, labels in own.items()
        for line, text in prose(path)
        for module, label in NAMED.findall(INVARIANT.sub("", text))
        if label not in stated.get(module, set()) | labels | OTHERS
    ]
    assert not missing, "\n".join(missing)


def test_a_test_that_is_named_is_there() -> None:
    """By its name, or by the beginning of it; files of tests too."""
    nodes = [(path, node) for path in below("tests") for node in ast.walk(tree(path))]
    known = {path.stem for path, _ in nodes} | {
        node.name for _, node in nodes if isinstance(node, ast.FunctionDef)
    }
    missing = [
        f"{shown(path)}:{line}: {name}"
        for path in below("engine", "store", "rules")
        for line, text in prose(path)
        for name in re.findall(r"\btest_\w+", text)
        if not any(one.startswith(name) for one in known)
    ]
    assert not missing, "\n".join(missing)


def test_no_module_uses_a_private_name_of_another_one() -> None:
    others = {
        f"{shown(path)}:{line}: {name}"
        for path in below(*FOLDERS)
        for line, name in private_names(tree(path))
        if name not in PRIVATE
    }
    assert others == set()


def invariants(path: Path) -> set[str]:
    return set(INVARIANT.findall(ast.get_docstring(tree(path), clean=False) or ""))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a module, with their lines."""
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if found := COMMENT.search(text):
            yield line, found[1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            said = ast.get_docstring(node, clean=False)
            if said is not None:
                yield node.body[0].lineno, said


def private_names(module: ast.Module) -> Iterator[tuple[int, str]]:
    """The names with a leading underscore that a module takes out of others, with their lines."""
    imported: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {
                alias.asname or alias.name for alias in node.names if is_module(f"{node.module}.{alias.name}")
            }
            for alias in node.names:
                if is_private(alias.name):
                    yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in imported:
            yield node.lineno, ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of this checkout."""
    path = CHECKOUT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()
