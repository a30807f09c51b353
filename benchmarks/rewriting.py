"""Rewriting: small edits of one Python text, as people make them.

Invariants
    W1  For any text, not only generated ones. None where there is no place for the edit, or no tree.
    W2  The result parses. Comments and docstrings change no other token.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from random import Random

Function = ast.FunctionDef | ast.AsyncFunctionDef
_quote = re.compile(r"[rRuU]?(\"\"\"|'''|\"|')")
RENAMED = "_renamed"


def parsed(text: str) -> ast.Module | None:
    """The tree of a text, None if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text.encode()
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def comment(text: str, chance: Random) -> str | None:
    """A comment before some statement."""
    tree = parsed(text)
    starts = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)] if tree else []
    if not starts:
        return None
    return _inserted(text, chance.choice(starts), f"# note {chance.randrange(10**6)}")


def docstring(text: str, chance: Random) -> str | None:
    """More words in some docstring."""
    places = list(_docstrings(parsed(text)))
    if not places:
        return None
    node = chance.choice(places)
    lines = text.encode().split(b"\n")
    line = lines[node.lineno - 1]
    start = _quote.match(line[node.col_offset :].decode(errors="replace"))
    if start is None:
        return None
    at = node.col_offset + start.end()
    lines[node.lineno - 1] = line[:at] + f"Note {chance.randrange(10**6)}. ".encode() + line[at:]
    return _checked(b"\n".join(lines).decode())


def blank_lines(text: str, chance: Random) -> str | None:
    """1,000 blank lines on top."""
    cookie = any("coding" in line for line in text.split("\n")[:2])
    return None if cookie or "\f" in text or parsed(text) is None else "\n" * 1000 + text


def call_added(text: str, chance: Random, name: str | None = None) -> str | None:
    """A call at the beginning of some function: of a name of this file, an unknown one, an attribute."""
    tree = parsed(text)
    several = [one for one in _functions(tree) if _first(one) is not None]
    if tree is None or not several:
        return None
    names = [*_names(tree), "unknown_function"]
    function = chance.choice(several)
    first = _first(function)
    assert first is not None
    if name is None:
        name = chance.choice(names)
        if chance.random() < 0.5:  # an attribute: of something that is known, of nothing, of the instance
            receivers = [name, "unknown", *(one.arg for one in function.args.args[:1])]
            name = f"{chance.choice(receivers)}.{chance.choice(several).name}"
    return _inserted(text, first, f"{name}({chance.randrange(100)})")


def call_removed(text: str, chance: Random) -> str | None:
    """One statement less that calls something."""
    found: list[ast.stmt] = []
    for function in _functions(parsed(text)):
        if len(function.body) > 1:
            simple = [one for one in function.body if isinstance(one, ast.Expr | ast.AugAssign | ast.Assign)]
            found += [one for one in simple if isinstance(one.value, ast.Call)]
    if not found:
        return None
    node = chance.choice(found)
    lines = text.split("\n")
    del lines[node.lineno - 1 : node.end_lineno]
    return _checked("\n".join(lines))


def body(text: str, chance: Random) -> str | None:
    """A call added or removed."""
    first, second = chance.sample([call_added, call_removed], 2)
    return first(text, chance) or second(text, chance)


def signature(text: str, chance: Random) -> str | None:
    """One more parameter of some function, with an annotation."""
    fit = []
    for one in _functions(parsed(text)):
        given = one.args
        last: list[ast.arg | ast.expr] = [*given.posonlyargs, *given.args, *given.defaults]
        if last and not (given.vararg or given.kwonlyargs or given.kwarg) and given.args:
            fit.append(max(last, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0)))
    if not fit:
        return None
    node = chance.choice(fit)
    lines = text.encode().split(b"\n")
    row, at = (node.end_lineno or 1) - 1, node.end_col_offset or 0
    kind = chance.choice(("int", "str", "bytes", "list[int]"))
    more = f", extra{chance.randrange(10**6)}: {kind} | None = None".encode()
    lines[row] = lines[row][:at] + more + lines[row][at:]
    return _checked(b"\n".join(lines).decode())


def function_renamed(text: str, chance: Random, name: str | None = None) -> str | None:
    """Some function has another name, in this file; one that was renamed has its old one again."""
    tree = parsed(text)
    names = [one.name for one in (tree.body if tree else ()) if isinstance(one, Function)]
    if not names:
        return None
    old = name if name is not None else chance.choice(names)
    new = old.removesuffix(RENAMED) if old.endswith(RENAMED) else old + RENAMED
    return _checked(re.sub(rf"\b{old}\b", new, text))


def exports_changed(text: str, chance: Random) -> str | None:
    """`__all__` has one name less, or more; a text without one gets one."""
    tree = parsed(text)
    if tree is None:
        return None
    names = _names(tree)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            if not isinstance(node.value, ast.List | ast.Tuple):
                return None
            listed = [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
            more = [name for name in names if name not in listed and not name.startswith("_")]
            if more and chance.random() < 0.5:
                listed.append(chance.choice(more))
            elif listed:
                del listed[chance.randrange(len(listed))]
            lines = text.split("\n")
            lines[node.lineno - 1 : node.end_lineno] = [f"__all__ = {listed!r}"]
            return _checked("\n".join(lines))
    return _checked(f"{text}\n__all__ = {chance.sample(names, min(2, len(names)))!r}\n")


def method_added(text: str, owner: str, name: str) -> str | None:
    """A class of the module has one more method."""
    for node in getattr(parsed(text), "body", ()):
        if isinstance(node, ast.ClassDef) and node.name == owner and node.body[0].lineno > node.lineno:
            last = node.body[-1]
            indent = " " * node.body[0].col_offset
            lines = text.split("\n")
            lines[last.end_lineno : last.end_lineno] = [
                f"{indent}def {name}(self, *args):",
                f"{indent}    return 0",
            ]
            return _checked("\n".join(lines))
    return None


def _inserted(text: str, node: ast.stmt, line: str) -> str | None:
    """A line before a statement that begins its line."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    row = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    lines = text.split("\n")
    indent = lines[row][: len(lines[row]) - len(lines[row].lstrip())]
    if len(indent) != node.col_offset or (row and lines[row - 1].endswith("\\")):
        return None
    lines.insert(row, indent + line)
    return _checked("\n".join(lines))


def _checked(text: str) -> str | None:
    return None if parsed(text) is None else text


def _functions(tree: ast.Module | None) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)] if tree else []


def _first(function: Function) -> ast.stmt | None:
    """The first statement after the docstring, on a line of its own."""
    rest = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return rest[0] if rest and rest[0].lineno > function.lineno else None


def _docstrings(tree: ast.Module | None) -> Iterator[ast.expr]:
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, Function | ast.ClassDef | ast.Module) and ast.get_docstring(node, clean=False):
            assert isinstance(node.body[0], ast.Expr)
            yield node.body[0].value


def _names(tree: ast.Module) -> list[str]:
    """What a module defines and imports at its top."""
    found: dict[str, None] = {}
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            found[node.name] = None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(
                (one.asname or one.name.partition(".")[0], None) for one in node.names if one.name != "*"
            )
    found.pop("*", None)
    return list(found)
