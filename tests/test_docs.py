"""README, docs and examples do what they say: every block is run, and its output compared.

    ```python        run as a program; a ```text block right after it is what it prints.
                     With a first line `# name.py`, or as ```python file=name.py, it is written to that
                     file instead.
    ```console       each line after `$ ` is run by a shell, and what follows is what it prints
    ```sh, ```toml   shown, not run

A page starts in the folder in which the README ends, or in an empty one if `STARTS` says so. In expected
output `...` stands for anything, a line of its own with `...` for any lines, and measured times (`12 ms`)
need not be the same.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from attrs import frozen

import engine
from benchmarks.run import CASES
from engine.options import OF_A_QUERY, OF_AN_INPUT
from tests.shown import CHECKOUT, run, tools_for

PAGES = sorted((CHECKOUT / "docs").glob("*.md"))
ALL_PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "CHANGELOG.md", *PAGES]
SHOWN_ONLY = {"sh", "toml", "sql", "json", "ini", "diff", "text", ""}
STARTS = {"cli": {"a.txt": "one\ntwo\n"}}  # pages that need another folder, and what is in it

FENCE = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:py|toml))\n")
TIME = re.compile(r"\d[\d,.]* ?(?:ns|us|µs|ms|s|seconds)\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@frozen
class Block:
    """A fenced block. `file`: where to write it. `after`: nothing is between it and the one before."""

    language: str
    file: str
    text: str
    line: int
    after: bool


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README ends."""
    place = tmp_path_factory.mktemp("readme")
    follow(CHECKOUT / "README.md", place)
    return place


def test_the_readme_does_what_it_says(readme: Path) -> None:
    assert (readme / "todo.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, readme: Path, tmp_path: Path) -> None:
    if page.stem in STARTS:
        for name, text in STARTS[page.stem].items():
            (tmp_path / name).write_text(text, encoding="utf-8")
    else:
        shutil.copytree(readme, tmp_path, dirs_exist_ok=True)
    follow(page, tmp_path)


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(FENCE.sub("", text)):
        if "://" in link:
            continue
        target, _, heading = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {link}"
        if heading:
            assert heading in anchors(file), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_is_reached_from_the_index(page: Path) -> None:
    index = (CHECKOUT / "docs" / "index.md").read_text(encoding="utf-8")
    assert page.name == "index.md" or f"]({page.name})" in index


def test_every_test_that_a_page_names_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in ALL_PAGES)
    named = re.findall(r"`(test_\w+)(?:\.py)?(?:::(test_\w+))?`", text)
    there = {path.stem: path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests").glob("test_*.py")}
    assert named
    for module, test in named:
        if module in there:
            assert not test or f"def {test}(" in there[module], f"{module}::{test}"
        else:
            assert any(f"def {module}(" in source for source in there.values()), module


def test_every_public_name_is_in_the_reference() -> None:
    text = (CHECKOUT / "docs" / "reference.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", text))
    methods = {name for name in dir(engine.Engine) if name[0] != "_"}
    assert {*engine.__all__, *methods} - shown == set()


def test_every_option_of_queries_inputs_and_engines_is_in_the_reference() -> None:
    text = (CHECKOUT / "docs" / "reference.md").read_text(encoding="utf-8")
    options = {*OF_A_QUERY, *OF_AN_INPUT, *signature(engine.Engine).parameters} - {"path"}
    assert {name for name in options if not re.search(rf"`{name}(=True)?`", text)} == set()


def test_help_says_of_every_public_name_what_it_is_and_not_what_its_base_is() -> None:
    said = {name: getattr(engine, name).__doc__ for name in engine.__all__ if name != "__version__"}
    assert [name for name, text in said.items() if not text] == []
    assert len(set(said.values())) == len(said)
    assert engine.StoreInUse.__doc__ == (
        "The store is in use.\n\nWait for it to end, or read with read_only=True."
    )
    for name in (name for name in dir(engine.Engine) if name[0] != "_"):
        assert getattr(engine.Engine, name).__doc__, name


def test_every_query_to_read_the_world_through_is_in_the_reference_and_no_other() -> None:
    text = (CHECKOUT / "docs" / "reference.md").read_text(encoding="utf-8")
    rules = text.partition("## Ready-made rules")[2].partition("## Errors")[0]
    shown = set(re.findall(r"`(\w+)\(\w+\)`", rules))
    parts = {"ignore_lines", "ignore_rules", "matches_below"}  # of the answers of others
    modules = [import_module(name) for name in re.findall(r"^\| `([\w.]+)` \| `", rules, re.MULTILINE)]
    own = {
        name
        for module in modules
        for name, value in vars(module).items()
        if name[0] != "_" and hasattr(value, "__query__") and value.__module__ == module.__name__
    }
    assert shown == own - parts


def test_the_tables_of_the_code_graph_are_where_it_is_said_and_found_by_what_is_said() -> None:
    text = (CHECKOUT / "docs" / "codegraph.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]+) \|$", text.partition("| table |")[2], re.MULTILINE)
    for place, columns in rows:
        module, _, name = f"engine.rules.python.{place}".rpartition(".")
        found = getattr(import_module(module), name)
        assert isinstance(found, engine.Table), place
        said = re.sub(r"\(.*\)", "", columns).replace(" ", "").split(",")
        assert sorted(said) == sorted(found.__collection__.index), place
    assert len(rows) == 9


def test_every_module_is_in_the_architecture() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in ("engine", "store", "rules"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            if folder == "engine" and path.relative_to(CHECKOUT).parts[1] in ("store", "rules"):
                continue
            inside = path.relative_to(CHECKOUT / folder)
            if path.name != "__init__.py":
                assert f"`{inside.as_posix()}`" in text, f"{folder}/{inside}"


def test_every_family_of_benchmarks_is_named_with_the_command() -> None:
    text = (CHECKOUT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert f"one family: {', '.join(CASES)}\n" in text


# -- what they use -------------------------------------------------------------------------------


def follow(page: Path, place: Path) -> None:
    """Do what a page says, block after block, in a folder."""
    blocks = blocks_of(page)
    for number, block in enumerate(blocks):
        where = f"{page.name}:{block.line}"
        if block.file:
            (place / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            program = tools_for(place) / f"{page.stem}_{number}.py"  # not in the folder: pages list that
            program.write_text(block.text, encoding="utf-8")
            said = run([sys.executable, program], place, where)
            following = blocks[number + 1] if number + 1 < len(blocks) else None
            if following is not None and following.language == "text" and following.after:
                compare(said, following.text, where)
        elif block.language == "console":
            converse(block.text, place, where)
        else:
            assert block.language in SHOWN_ONLY, f"{where}: what is {block.language!r}?"


def converse(text: str, place: Path, where: str) -> None:
    """Run the commands of a console block. Exit codes do not count, except that of `$ ` with no output."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        said = run(["bash", "-c", command], place, where, check=not expected)
        compare(said, expected, f"{where}: {command}")


def compare(said: str, expected: str, where: str) -> None:
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(TIME.sub("TIME", line.rstrip())).replace(r"\.\.\.", ".*") + r"\n"
    plain = "".join(TIME.sub("TIME", line.rstrip()) + "\n" for line in said.splitlines())
    assert re.fullmatch(pattern, plain), f"{where}\n-- expected\n{expected}\n-- said\n{said}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks, end = [], 0
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        named = FILE_NAME.match(found[3])
        file = found[2].removeprefix("file=") or (named[1] if named else "")
        blocks.append(Block(found[1], file, found[3], line, not text[end : found.start()].strip()))
        end = found.end()
    return blocks


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}
