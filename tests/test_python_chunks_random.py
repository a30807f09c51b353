"""In random programs and in the standard library, an edit changes the chunk that it is in and no other."""

from __future__ import annotations

import os
import random
import re
import textwrap
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.python.chunks import MODULE
from engine.rules.python.facts import facts_of
from engine.rules.python.parse import parse_text
from engine.rules.python.source import decode
from tests.chunking import changed, found, texts

# -- random programs -------------------------------------------------------------------------------


class Item:
    """A statement of a random program. `number` stands for all that can be edited in it."""

    def __init__(self, kind: str, number: int, items: list[Item]) -> None:
        self.kind = kind
        self.number = number
        self.items = items
        self.name = ""

    def named(self, name: str) -> Item:
        self.name = name
        for index, item in enumerate(self.items):
            item.named(f"{name}{item.kind[0]}{index}")
        return self

    def lines(self) -> list[str]:
        inner = [line and f"    {line}" for item in self.items for line in item.lines()]
        match self.kind:
            case "class":
                return ["", f"class {self.name}:", f"    '''{self.number}", "", "    end'''", *inner, ""]
            case "function":
                return [
                    f"@d({self.number})",
                    f"def {self.name}():",
                    "    '''",
                    "<left'''",
                    *inner,
                    "    return",
                ]
            case "variable":
                return [f"{self.name} = [  # [", f"  {self.number}]"]
            case "if":
                return [f"if {self.number}:", *inner, "    pass"]
            case _:
                return [f"call({self.number})"]

    def text(self) -> str:
        """The source; lines with a "<" begin at the left margin, whatever is around them."""
        return re.sub("(?m)^[ ]+<", "<", "\n".join(self.lines()))

    def all(self, around: str, prefix: str, inside: str) -> list[tuple[Item, str]]:
        """Each item with the chunk that its number is in."""
        own, prefix_of_inner, inner = around, prefix, inside
        if self.kind == "class":
            own, prefix_of_inner, inner = f"class {prefix}{self.name}", f"{prefix}{self.name}.", "class"
        elif self.kind == "function":
            kind = "method" if inside == "class" else "function"
            own = f"{kind} {prefix}{self.name}"
            prefix_of_inner, inner = f"{prefix}{self.name}.<locals>.", "function"
        elif self.kind == "variable" and inside != "function":
            own = f"variable {prefix}{self.name}"
        found: list[tuple[Item, str]] = [(self, own)]
        for item in self.items:
            found += item.all(own, prefix_of_inner, inner)
        return found


numbers = st.integers(0, 9)
simple = st.builds(Item, st.sampled_from(("variable", "call")), numbers, st.just([]))
item = st.recursive(
    simple,
    lambda inner: st.builds(
        Item, st.sampled_from(("class", "function", "if")), numbers, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)
programs = st.lists(item, min_size=1, max_size=5).map(lambda items: Item("if", 0, items).named("v"))


@settings(max_examples=150, deadline=None)
@given(programs, st.data())
def test_an_edit_changes_the_chunk_that_it_is_in_and_no_other(program: Item, data: st.DataObject) -> None:
    edited, own = data.draw(st.sampled_from(program.all(MODULE, "", MODULE)))
    before = program.text()
    edited.number += 10
    after = program.text()
    assert parse_text(before).error is None
    assert changed(before, after) == own


@settings(max_examples=100, deadline=None)
@given(programs, st.randoms(use_true_random=False))
def test_an_order_of_definitions_changes_no_chunk(program: Item, chance: random.Random) -> None:
    before = program.text()
    for one, _ in program.all(MODULE, "", MODULE):
        # What is text of the block itself keeps its order. In functions all but definitions is.
        moved = [each for each in one.items if each.kind in ("class", "function")]
        others = iter([each for each in one.items if each not in moved])
        chance.shuffle(moved)
        places = sorted(chance.sample(range(len(one.items)), len(moved)))
        movable = iter(moved)
        one.items = [next(movable) if index in places else next(others) for index in range(len(one.items))]
    assert changed(before, program.text()) == ""


@settings(max_examples=100, deadline=None)
@given(programs, st.sampled_from(("    ", "\t", " ", "        ")))
def test_indenting_a_module_changes_its_own_chunk_alone(program: Item, indent: str) -> None:
    before = program.text()
    assert changed(before, "if True:\n" + textwrap.indent(before, indent)) == MODULE


# -- real programs ---------------------------------------------------------------------------------


def library() -> list[str]:
    """Sources of the standard library: every 23rd module that is not very long."""
    paths = sorted(Path(os.__file__).parent.glob("*.py")) + sorted(Path(os.__file__).parent.glob("*/*.py"))
    sources = [
        decode(path.read_bytes()).replace("\r\n", "\n") for path in paths[::23] if "site-" not in str(path)
    ]
    return [source for source in sources if len(source) < 60_000]


def test_each_line_of_the_standard_library_is_in_a_chunk_and_changes_one() -> None:
    chance = random.Random(1)
    sources = library()
    assert len(sources) > 10
    for source in sources:
        assert found(source) == found(source)
        lines = source.split("\n")
        own = "\n".join(texts(source).values()).replace("\0", "")
        parted = Counter(map(str.strip, lines)) - Counter(map(str.strip, own.split("\n")))
        parts = [part.rstrip(";") for line in parted for part in re.split(r"(?<=[;:]) *", line)]
        assert [part for part in parts if part not in own] == []
        for index in chance.sample(range(len(lines)), min(4, len(lines))):
            if lines[index].strip():
                edited = "\n".join([*lines[:index], lines[index] + " #", *lines[index + 1 :]])
                assert changed(source, edited), (index, lines[index])


def test_chunks_and_facts_of_the_standard_library_have_the_same_definitions() -> None:
    for source in library():
        parsed = parse_text(source)
        definitions = [(one.qualified, one.kind, one.ordinal) for one in facts_of(parsed).definitions]
        assert [
            (one.qualified, one.kind, one.ordinal) for one in found(source) if one.kind != MODULE
        ] == definitions


def test_indenting_a_module_of_the_standard_library_changes_its_own_chunk_alone() -> None:
    for source in library():
        assert changed(source, "if True:\n" + textwrap.indent(source, "    ")) == MODULE
