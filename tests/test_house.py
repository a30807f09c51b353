"""Who may import whom, and what is deliberately absent. docs/architecture.md says why."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import CHECKOUT, FOLDERS, below, shown, tree

TOP_LEVEL = {"benchmarks", "docs", "engine", "examples", "rules", "store", "tests"}
OURS = ("engine", "store", "rules", "tests", "examples", "benchmarks")

NOUNS = {"alias", "durability", "errors", "event", "key", "message", "reason"}
SURFACE = {"__init__", "__main__", "settings", "usertrace"}  # and everything in engine/cli and engine/modules
FACE = {"database", "opening", "reader", "subscribe", "verification", "sinks", "unentered"}
ROOMS = ("code", "tables")  # packages of the core
STORE_FACE = {
    f"engine.store{name}" for name in ("", ".canonical", ".codec", ".gc")
}  # what the core knows of it
LATE = {"rich", "asyncio", "watchfiles", "sqlite_utils", "click", "sqlite3", "dask", "hypothesis"}
MARKER = re.compile(
    r"# (?:type: ignore(?:\[[\w, -]+\])?|noqa(?:: \w+(?:, \w+)*)?|pragma: no \w+)(?P<reason> +(?:#|--) *\S)?"
)
READING = {"open", "input", "print"}  # builtins that the core does not call
LONGEST = 350  # lines of a file


def test_the_top_level_folders_are_the_known_ones() -> None:
    ignored = {"build", "dist", "demo-work"}
    found = {path.name for path in CHECKOUT.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert {name for name in found - ignored if not name.endswith(".egg-info")} == TOP_LEVEL


def test_each_package_of_the_engine_belongs_to_a_layer() -> None:
    """Else what is below would not say of it whom it may import."""
    known = {"cli", "modules", "parallel", "rules", "store", "watch", *ROOMS}
    found = {path.parent.name for path in (CHECKOUT / "engine").glob("*/__init__.py")}
    assert found == known


@pytest.mark.parametrize("name", ["store", "rules"])
def test_the_package_reaches_its_folders_by_relative_links(name: str) -> None:
    assert (CHECKOUT / "engine" / name).readlink() == Path("..") / name


def test_nouns_import_nothing_of_ours_but_nouns() -> None:
    allowed = {f"engine.{noun}" for noun in NOUNS}
    assert offenders(nouns(), lambda name: ours(name) and name not in allowed) == []


def test_the_store_imports_of_ours_only_nouns_and_itself() -> None:
    allowed = {f"engine.{noun}" for noun in NOUNS}
    assert (
        offenders(below("store"), lambda name: ours(name) and not in_store(name) and name not in allowed)
        == []
    )


def test_the_core_imports_no_surface_no_rules_and_of_the_store_only_its_face() -> None:
    surface = {f"engine.{name}" for name in SURFACE | FACE}

    def refused(name: str) -> bool:
        return (
            name == "engine"
            or name in surface
            or name.startswith(("engine.cli", "engine.modules", "engine.rules"))
            or (in_store(name) and name not in STORE_FACE)
        )

    assert offenders(core(), refused) == []


def test_the_face_imports_no_rules_and_no_command_line() -> None:
    face = [CHECKOUT / "engine" / f"{name}.py" for name in FACE | {"__init__"}]
    assert offenders(face, lambda name: name.startswith(("engine.cli", "engine.rules"))) == []


def test_nothing_below_the_watch_imports_it_and_it_knows_no_command_line() -> None:
    below_it = [*nouns(), *core(), *below("store"), *below("rules")]
    assert offenders(below_it, lambda name: name.startswith("engine.watch")) == []
    watch = sorted((CHECKOUT / "engine" / "watch").glob("*.py"))
    assert offenders(watch, lambda name: name.startswith("engine.cli")) == []
    face = [CHECKOUT / "engine" / f"{name}.py" for name in FACE | {"__init__"}]
    entry = "engine/database.py imports engine.watch.session"  # inside `Engine.watch`
    assert offenders(face, lambda name: name.startswith("engine.watch")) == [entry]


def test_the_core_knows_nothing_of_processes_and_their_side_no_surface() -> None:
    below_it = [*nouns(), *core(), *below("store"), *below("rules")]
    assert offenders(below_it, lambda name: name.startswith(("engine.parallel", "subprocess"))) == [
        "rules/command.py imports subprocess",
        "rules/python/since.py imports subprocess",  # for commands, not for queries
    ]
    surface = {f"engine.{name}" for name in SURFACE | FACE}
    parallel = sorted((CHECKOUT / "engine" / "parallel").glob("*.py"))
    above = ("engine.cli", "engine.modules", "engine.watch", "engine.rules")
    assert offenders(parallel, lambda name: name in surface or name.startswith(above)) == []
    face = [CHECKOUT / "engine" / f"{name}.py" for name in FACE | {"__init__"}]
    entry = "engine/opening.py imports engine.parallel"  # where an engine is to have processes
    assert offenders(face, lambda name: name.startswith("engine.parallel")) == [entry]


def test_rules_import_of_ours_only_the_face_and_rules() -> None:
    assert (
        offenders(below("rules"), lambda name: ours(name) and name != "engine" and not in_rules(name)) == []
    )


def test_examples_import_of_ours_only_the_faces_and_rules() -> None:
    faces = ("engine", "engine.sinks", "engine.watch")
    refused = offenders(
        below("examples"), lambda name: ours(name) and name not in faces and not in_rules(name)
    )
    assert refused == []


def test_what_tests_share_has_a_home_of_its_own() -> None:
    assert offenders(below("tests"), lambda name: name.startswith("tests.test_")) == []


def test_nothing_imports_tests_examples_or_benchmarks() -> None:
    outside = ("tests", "examples", "benchmarks")
    sources = below("engine", "store", "rules")
    assert offenders(sources, lambda name: name.partition(".")[0] in outside) == []


def test_only_the_store_knows_sqlite() -> None:
    sources = below("engine", "rules")
    assert offenders(sources, lambda name: name.partition(".")[0] in ("sqlite3", "sqlite_utils")) == []
    statements = ("SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "CREATE TABLE", "PRAGMA ")
    found = [
        f"{shown(path)}:{node.lineno}"
        for path in sources
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(statements)
    ]
    assert found == []


def test_the_core_opens_no_file_and_reads_no_clock() -> None:
    """Clocks are parameters of `Core`: named there as defaults, and called through it alone.

    Left out are the modules of code fingerprints: they ask files whether they are still what was loaded.
    """
    found = []
    for path in core():
        if path.parent.name == "code":
            continue
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            reads = called.startswith(("os.scandir", "os.listdir", "os.stat", "os.open", "os.read", "time."))
            if called in READING or reads or called.endswith((".read_text", ".read_bytes", ".open")):
                found.append(f"{shown(path)}:{node.lineno} {called}")
    assert found == []


def test_one_function_starts_a_revision() -> None:
    """`core.revision` is assigned where the engine opens, and where a revision starts."""
    writes = {
        f"{path.stem}.{function.name}"
        for path in core()
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign | ast.AugAssign) and "core.revision" in map(ast.unparse, targets(node))
    }
    assert writes == {"advance.start_revision", "persist.open_graph"}


def test_only_the_codec_knows_pickle() -> None:
    sources = below("engine", "store", "rules")
    assert {path for path in sources if "pickle" in set(imports(path))} == {CHECKOUT / "store" / "codec.py"}


def test_importing_the_engine_loads_nothing_that_it_may_never_need() -> None:
    assert loaded_by("import engine") & LATE == set()


def test_importing_rules_loads_nothing_that_they_may_never_need() -> None:
    assert loaded_by("import engine.rules.python, engine.rules.directories") & LATE == set()


def test_an_engine_in_memory_needs_no_database() -> None:
    program = """
from engine import Engine, query
@query
def one() -> int:
    return 1
with Engine(None) as db:
    assert db.get(one) == 1
"""
    assert loaded_by(program) & LATE == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_silences_a_check_has_its_reason_beside_it(folder: str) -> None:
    """A marker has one behind it or in the line above; so has what catches everything and goes on."""
    silent = []
    for path in below(folder):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            marker = MARKER.search(line)
            if marker is not None and not marker["reason"] and not lines[number - 2].lstrip().startswith("#"):
                silent.append(f"{shown(path)}:{number}: {line.strip()}")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and swallows(node):
                inside = lines[node.lineno - 1 : node.end_lineno]
                if not any("#" in line for line in inside):
                    silent.append(f"{shown(path)}:{node.lineno}: {inside[0].strip()}")
    assert not silent, "\n".join(silent)


def test_a_file_is_one_phase_or_one_noun_and_so_it_is_short() -> None:
    longer = {shown(path) for path in below(*FOLDERS) if path.read_bytes().count(b"\n") > LONGEST}
    assert not longer


# -- what they use -------------------------------------------------------------------------------


def nouns() -> list[Path]:
    return [CHECKOUT / "engine" / f"{name}.py" for name in NOUNS]


def core() -> list[Path]:
    """What is in engine/ and is neither noun, face, nor surface; and the packages of the core."""
    others = NOUNS | SURFACE | FACE
    home = CHECKOUT / "engine"
    rooms = [path for room in ROOMS for path in sorted((home / room).glob("*.py"))]
    return [*(path for path in sorted(home.glob("*.py")) if path.stem not in others), *rooms]


def imports(path: Path) -> Iterator[str]:
    """What a module imports when it runs, also inside functions. `from engine import x` is `engine`, or
    `engine.x` where that is a module."""
    for node in running(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}:{node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                yield f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from running(other)
        else:
            yield from running(child)


def is_module(name: str) -> bool:
    """Whether a dotted name is one of our modules. `engine.query` is the function of that name."""
    if not ours(name) or name in ("engine.query", "engine.input", "engine.each", "engine.root"):
        return False
    path = CHECKOUT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def offenders(paths: list[Path], refused: object) -> list[str]:
    assert callable(refused)
    assert paths
    return sorted(
        {f"{shown(path)} imports {name}" for path in paths for name in imports(path) if refused(name)}
    )


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything, and does not end in raising it again."""
    caught = "everything" if handler.type is None else ast.unparse(handler.type)
    last = handler.body[-1]
    again = isinstance(last, ast.Raise) and last.exc is None
    return caught in ("everything", "Exception", "BaseException") and not again


def targets(node: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def in_store(name: str) -> bool:
    return name == "engine.store" or name.startswith("engine.store.")


def in_rules(name: str) -> bool:
    return name == "engine.rules" or name.startswith("engine.rules.")


def loaded_by(program: str) -> set[str]:
    """The top-level modules that a program has loaded when it ends."""
    probe = f"{program}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", probe], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=600
    )
    return set(answer.stdout.split())
