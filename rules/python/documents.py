"""Documents: what a Python file says of its definitions in words, for those who search them.

Apart from `facts`, which leave texts out: a reworded docstring changes rows here and nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from attrs import frozen

from engine import table
from engine.rules.python.parse import parse
from engine.rules.python.project import project_files
from engine.rules.python.survey import survey_of

MODULE = "module"


@frozen
class Document:
    """A definition and its docstring; "" without one. The file itself is one of kind "module".

    path, qualified, kind, ordinal   which definition it is, as in `facts.Definition`; "" names the module
    """

    path: str
    qualified: str
    kind: str
    ordinal: int
    name: str
    text: str


@table(each=project_files.column("path"), index=("path", "name"), identity=("qualified", "kind", "ordinal"))
def documents(path: str) -> Iterable[Document]:
    """The definitions of a Python file with their docstrings; nothing of what a function has inside."""
    tree = parse(path).tree
    yield Document(path, "", MODULE, 0, _module_name(path), _docstring(tree))
    for found in survey_of(tree).definitions:
        if "<locals>" not in found.qualified:
            text = _docstring(found.node)
            yield Document(path, found.qualified, found.kind, found.ordinal, found.name, text)


def _docstring(node: ast.AST) -> str:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ""
    return ast.get_docstring(node) or ""


def _module_name(path: str) -> str:
    steps = path.rpartition(".")[0].split("/")
    return steps[-2] if steps[-1] == "__init__" and len(steps) > 1 else steps[-1]
