"""Mutations: what happens to a repository, as data.

    edit = mutate(tree, "comment", Random(1), path="app/core/base.py")
    tree = applied(tree, edit)
    write(root, edit)

Invariants
    M1  An edit is a function of the tree, the kind, the path and `chance`; None where the kind
        fits nothing there.
    M2  `write` leaves on the disk what `applied` says, and no directory without a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks import rewriting
from benchmarks.repository import encoded

Tree = Mapping[str, str]

STORM = 1_000  # files; a tenth of them really change
TRIES = 40  # files in which a place for an edit is looked for
BROKEN = "\ndef broken(:\n"
NOT_UTF8 = "# caf\udce9\n"


@frozen
class Edit:
    """One thing that happens. `changes`: path to the new text, None where the file goes.

    path    the file that it is about; `detail`: what else there is to know, the other path or a name
    """

    kind: str
    path: str
    changes: tuple[tuple[str, str | None], ...]
    detail: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for path, _ in self.changes)


def mutate(
    tree: Tree, kind: str, chance: Random, path: str | None = None, original: Tree | None = None
) -> Edit | None:
    """One edit; of some file that it fits where no path is given. `original`: what "restore" goes back to."""
    if path is not None:
        return MUTATIONS[kind](tree, path, chance)
    if kind in ("restore", "checkout"):
        return _restored(tree, tree if original is None else original, 1 if kind == "restore" else 30, chance)
    paths = [one for one in sorted(tree) if one.endswith((".py", ".pyi"))]
    for one in chance.sample(paths, min(TRIES, len(paths))):
        edit = MUTATIONS[kind](tree, one, chance)
        if edit is not None:
            return edit
    return None


def random_edit(tree: Tree, chance: Random, original: Tree) -> Edit:
    """Some edit of some file. What is broken or gone is restored often enough that a repository remains."""
    while True:
        kind = chance.choice(RANDOM)
        edit = mutate(tree, kind, chance, original=original)
        if edit is not None:
            return edit


def applied(tree: Tree, edit: Edit) -> dict[str, str]:
    """The tree after an edit."""
    after = dict(tree)
    for path, text in edit.changes:
        if text is None:
            after.pop(path, None)
        else:
            after[path] = text
    return after


def write(root: Path, edit: Edit) -> None:
    """Do it on the disk; what goes first."""
    for path, text in edit.changes:
        if text is None:
            (root / path).unlink(missing_ok=True)
            for folder in (root / path).parents:
                if folder == root or not folder.exists() or any(folder.iterdir()):
                    break
                folder.rmdir()
    for path, text in edit.changes:
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(encoded(text))


# -- kinds ---------------------------------------------------------------------------------------

Maker = Callable[[Tree, str, Random], Edit | None]


def _rewritten(kind: str, change: Callable[[str, Random], str | None]) -> Maker:
    def make(tree: Tree, path: str, chance: Random) -> Edit | None:
        text = change(tree[path], chance)
        return None if text is None or text == tree[path] else Edit(kind, path, ((path, text),))

    return make


def _moved(kind: str, where: Callable[[Tree, str, Random], str | None]) -> Maker:
    def make(tree: Tree, path: str, chance: Random) -> Edit | None:
        other = where(tree, path, chance)
        if other is None or _taken(tree, other, path):
            return None
        return Edit(kind, path, ((path, None), (other, tree[path])), other)

    return make


def _added(kind: str, where: Callable[[Tree, str, Random], str | None]) -> Maker:
    def make(tree: Tree, path: str, chance: Random) -> Edit | None:
        other = where(tree, path, chance)
        if other is None or _taken(tree, other):
            return None
        text = "\n".join(f"def {name}(value): ..." for name in sorted(defined(tree[path]))[:2])
        return Edit(kind, path, ((other, f"{text}\n"),), other)

    return make


def _delete(tree: Tree, path: str, chance: Random) -> Edit | None:
    return Edit("delete", path, ((path, None),))


def _new(tree: Tree, path: str, chance: Random) -> Edit | None:
    """A file that imports `path` and calls something of it."""
    dotted = module_name(path)
    names = sorted(defined(tree[path]))
    other = f"{path.rpartition('.')[0]}_new{chance.randrange(100)}.py"
    if dotted is None or not names or _taken(tree, other):
        return None
    name = chance.choice(names)
    text = f"from {dotted} import {name}\n\n\ndef use():\n    return {name}(1)\n"
    return Edit("new", path, ((other, text),), other)


def _export(tree: Tree, path: str, chance: Random) -> Edit | None:
    """`path` gets a name that somebody imports of it in vain."""
    dotted = module_name(path)
    if dotted is None or rewriting.parsed(tree[path]) is None:
        return None
    wanted = re.compile(rf"^from {re.escape(dotted)} import ([\w, ]+)$", re.M)
    own = defined(tree[path])
    missing = {name for text in tree.values() for found in wanted.findall(text) for name in found.split(", ")}
    several = sorted(missing - own)
    if not several or "import *" in tree[path]:
        return None
    name = chance.choice(several)
    return Edit("export", path, ((path, f"{tree[path]}\n\ndef {name}(*args):\n    return 1\n"),), name)


def _override(tree: Tree, path: str, chance: Random) -> Edit | None:
    """A class of `path` that inherits gets a method that other classes have."""
    owners = re.findall(r"^class (\w+)\([\w.]+\):$", tree[path], re.M)
    if not owners:
        return None
    owner, other = chance.choice(owners), tree[chance.choice(sorted(tree))]
    known = re.findall(r"^    def (\w+)\(self", other, re.M) or ["run"]
    name = chance.choice(known)
    text = rewriting.method_added(tree[path], owner, name)
    return None if text is None else Edit("override", path, ((path, text),), f"{owner}.{name}")


def _package_to_module(tree: Tree, path: str, chance: Random) -> Edit | None:
    """A package becomes a module of its name; what was in it goes."""
    folder, _, name = path.rpartition("/")
    inside = [one for one in tree if one.startswith(f"{folder}/")]
    if name != "__init__.py" or "/" not in folder or len(inside) > 20 or f"{folder}.py" in tree:
        return None
    gone = tuple((one, None) for one in inside)
    return Edit("package to module", path, (*gone, (f"{folder}.py", tree[path])), f"{folder}.py")


def _star(tree: Tree, path: str, chance: Random) -> Edit | None:
    names = [name for one in sorted(tree) if (name := module_name(one)) is not None and one != path]
    if rewriting.parsed(tree[path]) is None or not names:
        return None
    name = chance.choice(names)
    return Edit("star import", path, ((path, f"from {name} import *\n{tree[path]}"),), name)


def _touch(tree: Tree, path: str, chance: Random) -> Edit | None:
    return Edit("touch", path, ((path, tree[path]),))


def _storm(tree: Tree, path: str, chance: Random) -> Edit | None:
    """1,000 files are written, and a tenth of them have another text."""
    paths = [one for one in sorted(tree) if one.endswith(".py")]
    several = chance.sample(paths, min(STORM, len(paths)))
    changes = {one: tree[one] for one in several}
    wanted = max(1, len(several) // 10)
    for one in several:
        text = rewriting.body(tree[one], chance) if wanted else None
        if text is not None:
            changes[one] = text
            wanted -= 1
    return Edit("storm", path, tuple(changes.items()))


def _restored(tree: Tree, original: Tree, most: int, chance: Random) -> Edit | None:
    """Files are again as they were: repaired, there again, or gone."""
    differing = [path for path in sorted({*tree, *original}) if tree.get(path) != original.get(path)]
    if not differing:
        return None
    paths = chance.sample(differing, min(most, len(differing)))
    below = tuple(f"{path}/" for path in tree)
    fit = tuple((path, original.get(path)) for path in paths)
    texts = [path for path, text in fit if text is not None]
    if any(path.startswith(below) for path in texts):
        return None
    return Edit("restore" if most == 1 else "checkout", paths[0], fit)


# -- of paths and texts --------------------------------------------------------------------------


def module_name(path: str) -> str | None:
    """The dotted name of a file that can be imported."""
    stem = path.removeprefix("src/").removesuffix(".py")
    name = stem.removesuffix("/__init__").replace("/", ".")
    return name if path.endswith(".py") and name.replace(".", "").isidentifier() else None


def defined(text: str) -> set[str]:
    """The functions and classes of a module, roughly."""
    return set(re.findall(r"^(?:def|class) (\w+)", text, re.M))


def most_imported(tree: Tree) -> list[str]:
    """The modules, those that most files import first. Roughly: names are compared, not resolved."""
    by_name = {name: path for path in tree if (name := module_name(path)) is not None}
    count = dict.fromkeys(by_name.values(), 0)
    for text in tree.values():
        for first, second in set(re.findall(r"^(?:from|import) ([\w.]+)(?: import (\w+))?", text, re.M)):
            found = by_name.get(f"{first}.{second}") or by_name.get(first)
            if found is not None:
                count[found] += 1
    return sorted(count, key=lambda path: (-count[path], path))


def _taken(tree: Tree, path: str, but: str = "") -> bool:
    """Whether a path cannot be written: it is there, or is a folder, or lies below a file."""
    parts = path.split("/")
    above = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return any((one in above or one.startswith(f"{path}/")) and one != but for one in tree)


def _renamed_to(tree: Tree, path: str, chance: Random) -> str | None:
    stem, _, suffix = path.rpartition(".")
    return None if stem.endswith("__init__") else f"{stem}_{chance.randrange(100)}.{suffix}"


def _moved_to(tree: Tree, path: str, chance: Random) -> str | None:
    folders = sorted({one.rpartition("/")[0] for one in tree if "/" in one} - {path.rpartition("/")[0]})
    return f"{chance.choice(folders)}/{path.rpartition('/')[2]}"


def _other_case(tree: Tree, path: str, chance: Random) -> str | None:
    folder, _, name = path.rpartition("/")
    stem, _, suffix = name.rpartition(".")
    return f"{folder}/{stem.swapcase()}.{suffix}" if folder else f"{stem.swapcase()}.{suffix}"


def _as_package(tree: Tree, path: str, chance: Random) -> str | None:
    fits = path.endswith(".py") and not path.endswith("__init__.py")
    return f"{path.removesuffix('.py')}/__init__.py" if fits else None


def _as_stub(tree: Tree, path: str, chance: Random) -> str | None:
    return f"{path}i" if path.endswith(".py") else None


MUTATIONS: dict[str, Maker] = {
    "comment": _rewritten("comment", rewriting.comment),
    "docstring": _rewritten("docstring", rewriting.docstring),
    "blank lines": _rewritten("blank lines", rewriting.blank_lines),
    "body": _rewritten("body", rewriting.body),
    "signature": _rewritten("signature", rewriting.signature),
    "rename function": _rewritten("rename function", rewriting.function_renamed),
    "exports": _rewritten("exports", rewriting.exports_changed),
    "syntax error": _rewritten("syntax error", lambda text, _: text + BROKEN),
    "repair": _rewritten("repair", lambda text, _: text.replace(BROKEN, "").replace(NOT_UTF8, "")),
    "not utf-8": _rewritten("not utf-8", lambda text, _: text + NOT_UTF8),
    "emptied": _rewritten("emptied", lambda text, _: ""),
    "rename": _moved("rename", _renamed_to),
    "move": _moved("move", _moved_to),
    "case": _moved("case", _other_case),
    "module to package": _moved("module to package", _as_package),
    "shadow": _added("shadow", _as_package),
    "stub": _added("stub", _as_stub),
    "package to module": _package_to_module,
    "delete": _delete,
    "new": _new,
    "export": _export,
    "override": _override,
    "star import": _star,
    "touch": _touch,
    "storm": _storm,
}
QUIET = ("comment", "docstring", "blank lines")  # nothing but positions and words change
RANDOM = (
    *(kind for kind in MUTATIONS if kind != "storm"),
    *("body", "body", "export", "override", "comment"),
    *("restore",) * 10,
    *("checkout",) * 2,
)
