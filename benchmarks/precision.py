"""How often the code graph says what others say: `python -m benchmarks.precision DIRECTORY [--sample 500]`.

Three comparisons, over a directory of Python sources:

    definitions   names of modules, classes and functions, with the symbol tables of the compiler (`symtable`)
    imports       which file of the project an import statement means, with `modulefinder`'s way of finding it
    references    what a name at a random place stands for, with jedi's `goto` (needs `pip install jedi`)

Prints the rates, and every difference of the sample with the line of source, so that they can be explained.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.machinery
import random
import symtable
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine import Engine
from engine.rules.python import definitions, import_roots, imports, python_files, references

SEED = 1  # of the sample: the same places in every run


class Place(NamedTuple):
    """A name that is read somewhere: the definition around it, the name as written, where its end is."""

    path: str
    symbol: str
    name: str
    line: int
    column: int


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.precision", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--show", type=int, default=40, help="how many differences are printed")
    options = parser.parse_args()
    root = options.directory.resolve()
    with Engine(None, root=root) as db:
        compare_definitions(db, root, options.show)
        compare_imports(db, root, options.show)
        compare_references(db, root, options.sample, options.show)


# -- definitions ---------------------------------------------------------------------------------


def compare_definitions(db: Engine, root: Path, show: int) -> None:
    """Functions and classes, by qualified name, in every file that compiles."""
    ours_in_all = theirs_in_all = common = 0
    odd: list[str] = []
    for path in db.get(python_files):
        try:
            text = (root / path).read_text(encoding="utf-8")
            table = symtable.symtable(text, path, "exec")
        except (SyntaxError, ValueError, UnicodeDecodeError):
            continue
        theirs = Counter(_scopes(table, ""))
        ours = Counter(
            row.symbol.rpartition(":")[2]
            for row in db.get(definitions.of, path)
            if row.kind not in ("variable", "type")
        )
        ours_in_all += ours.total()
        theirs_in_all += theirs.total()
        common += (ours & theirs).total()
        for name in sorted((ours - theirs) | (theirs - ours)):
            odd.append(f"{path}: {name}: {ours[name]} here, {theirs[name]} in symtable")
    print(f"definitions: {ours_in_all} here, {theirs_in_all} in symtable, {common} in both")
    _show(odd, show)


def _scopes(table: symtable.SymbolTable, prefix: str) -> Iterator[str]:
    for child in table.get_children():
        kind, name = str(child.get_type()), child.get_name()
        if kind not in ("function", "class"):
            yield from _scopes(child, prefix)  # of type parameters and annotations
        elif name in ("lambda", "genexpr", "listcomp", "setcomp", "dictcomp"):
            inside = f"{prefix}<lambda>.<locals>." if name == "lambda" else prefix
            yield from _scopes(child, inside)
        else:
            yield prefix + name
            inside = f"{prefix}{name}.<locals>." if kind == "function" else f"{prefix}{name}."
            yield from _scopes(child, inside)


# -- imports -------------------------------------------------------------------------------------


def compare_imports(db: Engine, root: Path, show: int) -> None:
    """`import a.b` and `from a.b import c`, for the module that is named, by the path finder of Python."""
    roots = [str(root / place) if place else str(root) for place in db.get(import_roots)]
    same = asked = 0
    odd: list[str] = []
    found: dict[str, str | None] = {}
    for path in db.get(python_files):
        for row in db.get(imports.of, path):
            if row.module.startswith("."):
                continue
            asked += 1
            if row.module not in found:
                found[row.module] = _find(row.module, roots, root)
            theirs = found[row.module]
            ours = row.target
            inside = bool(ours and theirs) and row.name is not None and _is_inside(str(ours), str(theirs))
            if ours == theirs or inside or (theirs is None and ours is None):
                same += 1
            else:
                odd.append(f"{path}: {row.module} {row.name or ''}: {ours} here, {theirs} by Python")
    print(f"imports: {asked} absolute ones, {same} the same")
    _show(odd, show)


def _find(module: str, roots: list[str], root: Path) -> str | None:
    where: Any = roots
    spec = None
    for part in module.split("."):  # one by one: a dotted name would need its package to be imported
        spec = importlib.machinery.PathFinder.find_spec(part, where)
        if spec is None:
            return None
        where = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    return Path(spec.origin).resolve().relative_to(root).as_posix()


def _is_inside(path: str, package: str) -> bool:
    """`from package import module` means that module's file."""
    return package.endswith("__init__.py") and path.startswith(package.removesuffix("__init__.py"))


# -- references ----------------------------------------------------------------------------------


def compare_references(db: Engine, root: Path, sample: int, show: int) -> None:
    """Names and attributes that are read or called, at random places."""
    try:
        jedi: Any = importlib.import_module("jedi")
    except ImportError:
        print("references: jedi is not installed")
        return
    chance = random.Random(SEED)
    files = chance.sample(list(db.get(python_files)), min(sample, len(db.get(python_files))))
    places = [place for path in files for place in _some(root, path, chance, 1 + sample // len(files))]
    project = jedi.Project(root)
    rates: Counter[str] = Counter()
    odd: list[str] = []
    for place in places[:sample]:
        theirs = _jedi(jedi, project, root, place)
        rows = [row for row in db.get(references.where, source=place.symbol) if row.name == place.name]
        targets = [row.target for row in rows if row.target and not row.target.endswith(".__init__")]
        ours = {f"{one.partition(':')[0]}:{one.rpartition(':')[2].rpartition('.')[2]}" for one in targets}
        verdict = _verdict(ours, theirs)
        rates[verdict] += 1
        if not verdict.startswith("both"):
            why = {row.outcome if not row.detail else f"{row.outcome}: {row.detail}" for row in rows}
            where = f"{place.path}:{place.line} {place.name}"
            odd.append(f"[{verdict}] {where}: {sorted(ours) or why} / {sorted(theirs)}")
    parts = ", ".join(f"{number} {what}" for what, number in rates.most_common())
    print(f"references: {rates.total()} places; {parts}")
    _show(odd, show)


def _verdict(ours: set[str], theirs: set[str]) -> str:
    if ours and theirs:
        return "both the same" if ours & theirs else "different"
    if not ours and not theirs:
        return "both outside of the project, or neither knows"
    return "here only" if ours else "jedi only"


def _some(root: Path, path: str, chance: random.Random, count: int) -> list[Place]:
    try:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, UnicodeDecodeError):
        return []
    found = list(_places(tree, path, "", ""))
    return chance.sample(found, min(count, len(found)))


def _places(node: ast.AST, path: str, prefix: str, around: str) -> Iterator[Place]:
    """Dotted names that are read inside of definitions, each with the innermost definition around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            symbol = prefix + child.name
            inside = f"{symbol}." if isinstance(child, ast.ClassDef) else f"{symbol}.<locals>."
            for statement in child.body:
                yield from _places(ast.Module([statement], []), path, inside, symbol)
        elif isinstance(child, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue  # names of their own
        else:
            if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
                name = _dotted(child)
                if name is not None and child.end_lineno and child.end_col_offset:
                    end = child.end_col_offset - 1
                    yield Place(path, f"{path}:{around}", name, child.end_lineno, end)
                    continue
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
                yield Place(path, f"{path}:{around}", child.id, child.lineno, child.col_offset)
            yield from _places(child, path, prefix, around)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def _jedi(jedi: Any, project: Any, root: Path, place: Place) -> set[str]:
    """What jedi takes the name for: "path:name" of definitions that have a name in their module or class."""
    script = jedi.Script(path=root / place.path, project=project)
    text = (root / place.path).read_text(encoding="utf-8").splitlines()[place.line - 1]
    column = len(text.encode()[: place.column].decode(errors="replace"))
    try:
        names = script.goto(place.line, column, follow_imports=True)
    except Exception as error:  # of jedi, on sources that it cannot cope with
        return {f"jedi failed: {type(error).__name__}"} if isinstance(error, MemoryError) else set()
    found = set()
    for name in names:
        if name.module_path is None or not Path(name.module_path).is_relative_to(root):
            continue
        inner = name.parent() if name.type in ("statement", "param") else None
        local = name.type == "param" or (inner is not None and inner.type == "function")
        path = Path(name.module_path).relative_to(root).as_posix()
        if name.type == "module":
            found.add(f"{path}:")
        elif not local:
            found.add(f"{path}:{name.name}")
    return found


def _show(odd: list[str], show: int) -> None:
    for line in odd[:show]:
        print("   ", line)
    if len(odd) > show:
        print(f"    (+{len(odd) - show} more)")


if __name__ == "__main__":
    main()
