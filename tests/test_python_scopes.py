"""Scopes agree with the compiler's own symbol table, over the standard library."""

from __future__ import annotations

import ast
import os
import symtable
import sys
import warnings
from pathlib import Path

import pytest

from engine.rules.python.annotations import quoted
from engine.rules.python.source import decode
from engine.rules.python.survey import Survey

LIBRARY = Path(os.__file__).parent
# Every sort of binding is in these; the whole library was compared by hand (13,342 files, 3.11).
FILES = [
    "argparse.py", "ast.py", "asyncio/base_events.py", "collections/__init__.py", "contextlib.py", "copy.py",
    "dataclasses.py", "dis.py", "doctest.py", "enum.py", "functools.py", "inspect.py", "json/decoder.py",
    "logging/__init__.py", "multiprocessing/pool.py", "pdb.py", "pickle.py", "platform.py", "shutil.py",
    "socket.py", "ssl.py", "statistics.py", "subprocess.py", "tarfile.py", "tempfile.py", "threading.py",
    "traceback.py", "turtle.py", "typing.py", "unittest/mock.py", "uuid.py", "zipfile.py",
    "test/test_generators.py", "test/test_listcomps.py", "test/test_named_expressions.py",
    "test/test_patma.py", "test/test_scope.py", "test/test_syntax.py", "test/test_type_params.py",
    "test/test_type_aliases.py", "test/test_unpack_ex.py",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FILES if (LIBRARY / name).exists()])
def test_global_names_are_those_of_the_compiler(name: str) -> None:
    text = decode((LIBRARY / name).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        table = symtable.symtable(text, name, "exec")
    ours = {
        name.partition(".")[0].removesuffix("()")
        for groups in Survey(tree).uses.values()
        for (usage, origin, _), names in groups.items()
        for name in names
        if origin == "global" and usage not in ("import", "fixture")
    }
    theirs = _global_names(table)
    # `x += 1` reads x; the symbol table does not say so.
    changed = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }
    # `name = name` and `def name(self) -> name` in a class read what is around it; for the symbol table it is
    # the class's own name.
    changed |= {
        name.id
        for one in ast.walk(tree)
        if isinstance(one, ast.ClassDef)
        for statement in one.body
        for name in ast.walk(statement)
        if isinstance(name, ast.Name) and name.id in _bound_by(statement)
    }
    quotes = _quoted_names(tree)  # which are texts for the compiler
    ours, theirs = (
        {_plain(n) for n in ours - ((changed | quotes) - theirs)},
        {_plain(n) for n in theirs - COMPILERS},
    )
    if sys.version_info >= (
        3,
        12,
    ):  # comprehensions are inlined (PEP 709), and their names shown there or not
        inside = _names_in_comprehensions(tree)
        ours, theirs = ours - inside, theirs - inside
    assert ours == theirs


def _bound_by(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return names | {str(getattr(statement, "name", ""))}


# Names that the compiler reads by itself: for `super()`, and for the deferred annotations of a module (3.14).
COMPILERS = {"__class__", "__conditional_annotations__"}


def _global_names(table: symtable.SymbolTable) -> set[str]:
    whole = table.get_type() == "module"
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (whole or symbol.is_global()) and symbol.get_name()[0] != "."
    }
    if table.get_name() == "top" and not whole:
        names = set()  # symtable takes a function of that name for the module
    return names.union(*map(_global_names, table.get_children()))


def _names_in_comprehensions(tree: ast.AST) -> set[str]:
    kinds = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {name.id for node in found for name in ast.walk(node) if isinstance(name, ast.Name)}


def _quoted_names(tree: ast.AST) -> set[str]:
    """The names that annotations have in quotes."""
    fields = ("annotation", "returns")
    several = [getattr(node, field, None) for node in ast.walk(tree) for field in fields]
    return {
        node.id
        for annotation in several
        for one in quoted(annotation)
        for node in ast.walk(one)
        if isinstance(node, ast.Name)
    }


def _plain(name: str) -> str:
    """A private name of a class as it is written: `_C__x` is `__x`."""
    before, mark, after = name.partition("__")
    return f"__{after}" if mark and before[:1] == "_" and not after.endswith("__") else name
