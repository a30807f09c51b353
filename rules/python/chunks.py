"""Chunks: the text of each definition of a Python file, as a digest.

For whoever keeps something for each definition (an index, an embedding): where a chunk did not change, that
need not be made again. Unlike `facts`, chunks see comments, docstrings and literals.

Invariants
    K1  Every line that is not blank is in a chunk: if in no definition, then in that of the module.
    K2  A chunk changes with the text of its own definition, decorators and comments included, definitions
        in it left out. Where the definition stands, and how far it is indented, makes no difference.
    K3  Blank lines next to a nested definition, and a semicolon behind one, belong to nobody. What a blank
        line is made of never counts.
    K4  No change of a definition's own text is missed, but for K3 and a shift of all its lines. The price: a
        definition with a line that is indented less than itself (in a string) changes if it is shifted and
        that line is not.
    K5  Broken files have chunks too: of the statements that parse. Other text belongs to what is around it.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any

from attrs import frozen
from blake3 import blake3

from engine import query
from engine.rules.files import FileError
from engine.rules.python.nodes import position
from engine.rules.python.parse import Parsed, parse
from engine.rules.python.source import source
from engine.rules.python.survey import Found, survey_of

DIGEST_BYTES = 16  # as the engine's fingerprints: no two texts have the same 128 bits

MODULE = "module"  # the kind of the chunk that is no definition

ChunkKey = tuple[str, str, int]  # qualified, kind, ordinal

_rest = re.compile(rb"[ \t\f]*(?:;[ \t\f]*)?(#[^\n]*)?")  # what follows a statement on its line
_blanks = re.compile(rb"\n[ \t\f]+(?=\n)")


@frozen
class Chunk:
    """The text of the `facts.Definition` with the same qualified name, kind and ordinal.

    The text of a variable is the statements of its class or module that assign to it, of compound ones the
    head; where only a `:=` or a function does, the first of those. All text outside of definitions is the one
    chunk of kind "module", with the qualified name "".
    """

    qualified: str
    kind: str
    ordinal: int
    digest: bytes


@query
def chunks(path: str) -> tuple[Chunk, ...]:
    """The chunks of a Python file, sorted. Never fails: empty where there is no text that can be read.

    Costs a parse, unless `facts` did that just before, and nearly half of that again.
    """
    parsed = parse(path)
    if parsed.error is None:
        return chunks_of(parsed, parsed.text)
    try:
        text = source(path)
    except (FileError, SyntaxError):
        return ()
    return chunks_of(parsed, text)


def chunks_of(parsed: Parsed, text: str) -> tuple[Chunk, ...]:
    """The chunks of `text`; `parsed` is what `parse_text` makes of it."""
    return tuple(
        Chunk(*key, blake3(own).digest(length=DIGEST_BYTES)) for key, own in sorted(texts_of(parsed, text))
    )


def texts_of(parsed: Parsed, text: str) -> Iterator[tuple[ChunkKey, bytes]]:
    """What the digests are made of: texts as far as they count (K2, K3), without their indentation."""
    lines = _Lines(text, parsed.text)
    module = _Part(lines.data, 0, len(lines.data), b"")
    parts: list[tuple[ChunkKey, _Part]] = [(("", MODULE, 0), module)]
    cuts: dict[int, tuple[int, _Part | None]] = {}
    scopes: list[tuple[str, Any]] = [("", parsed.tree)]
    variables: dict[str, list[Found]] = {}
    for found in survey_of(parsed.tree).definitions:
        if found.kind == "variable":
            variables.setdefault(found.qualified, []).append(found)
        elif found.kind == "type":
            start, end, own = lines.statement(found.node)
            cuts[start] = end, None
            yield _key(found), own
        else:
            start, part = lines.block(found.node)
            cuts[start] = part.end, part
            parts.append((_key(found), part))
            if found.kind == "class":
                scopes.append((f"{found.qualified}.", found.node))
    for found, nodes in _assigned(scopes, variables):
        owns = []
        for node in nodes:
            start, end, own = lines.statement(node)
            owns.append(own)
            if node.__class__ in _ASSIGNMENTS:
                cuts[start] = end, None
        if not owns:
            owns.append(lines.statement(_around(parsed.tree.body, position(found.node)))[2])
        yield _key(found), b"\n".join(owns)
    _cut_out(module, cuts)
    for key, part in parts:
        yield key, part.text()


def _key(found: Found) -> ChunkKey:
    return found.qualified, found.kind, found.ordinal


# -- texts -----------------------------------------------------------------------------------------


class _Lines:
    """A file as bytes, which is what columns of a syntax tree count, and where nodes lie in it."""

    __slots__ = ("data", "parsed", "starts", "texts")

    def __init__(self, text: str, parsed: str) -> None:
        self.data = _encoded(text)
        self.texts = self.data.split(b"\n")
        self.parsed = self.texts if parsed == text else _encoded(parsed).split(b"\n")
        self.starts = list(accumulate((len(line) + 1 for line in self.texts), initial=0))

    def block(self, node: Any) -> tuple[int, _Part]:
        """Where the lines of a class or function begin, and what they hold. Nothing else stands on them."""
        first = _start(node)[0] - 1
        if node.decorator_list:
            while not self.texts[first].lstrip().startswith(b"@") and first > 0:
                first -= 1  # of "@(" only what is inside has a position
        after = node.end_lineno
        indent = _indentation(self.texts[first])
        deeper = (indent + b" ", indent + b"\t")
        last = after - 1
        for index in range(after, len(self.parsed)):
            line = self.texts[index]
            bare = line.lstrip()
            if not bare:
                continue
            # A comment below the last statement belongs to what it is indented for. Lines that the tree lacks
            # were left out after the last statement, together with it (K5).
            if not (bare.startswith(b"#") and line.startswith(deeper)) and self.parsed[index].strip():
                break
            last = index
        start = self.starts[first]
        begins = start + len(self.texts[first]) - len(self.texts[first].lstrip())
        return start, _Part(self.data, begins, self.starts[last] + len(self.texts[last]), indent)

    def statement(self, node: Any) -> tuple[int, int, bytes]:
        """Where a statement begins and ends, and its text; of a compound one the head alone.

        A semicolon and a comment that follow on the line lie within; the text has the comment.
        """
        line, column = _start(node)
        start = self.starts[line - 1] + column
        indent = _indentation(self.texts[line - 1])
        inner = _inner(node)
        if inner is not None:
            line, column = _start(inner)
            end = self.starts[line - 1] + column
            return start, end, _shifted(self.data[start:end].rstrip(), indent)
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        rest = _rest.match(self.data, end)
        behind = rest.end() if rest else end
        return start, behind, _shifted(self.data[start : behind if rest and rest[1] else end], indent)


class _Part:
    """The text of a module, class or function while what is defined in it is cut out."""

    __slots__ = ("_at", "_data", "_indent", "_pieces", "end")

    def __init__(self, data: bytes, start: int, end: int, indent: bytes) -> None:
        self.end = end
        self._at = start
        self._data = data
        self._indent = indent
        self._pieces: list[bytes] = []

    def cut(self, start: int, end: int) -> None:
        """Leave out what is between; later cuts are behind this one."""
        piece = _without_blank_lines(self._data[self._at : start])
        if piece:
            if self._pieces and not self._data.startswith(b"\n", self._at):  # behind a semicolon
                line = self._data.rfind(b"\n", 0, self._at) + 1
                piece = _indentation(self._data[line : self._at]) + piece
            self._pieces.append(piece)
        self._at = end

    def text(self) -> bytes:
        self.cut(self.end, self.end)
        return _shifted(b"\n".join(self._pieces), self._indent)


def _cut_out(module: _Part, cuts: dict[int, tuple[int, _Part | None]]) -> None:
    """Cut each stretch out of the innermost part around it."""
    around = [module]
    for start, (end, part) in sorted(cuts.items(), key=itemgetter(0)):
        while around[-1].end <= start:
            around.pop()
        around[-1].cut(start, end)
        if part is not None:
            part.end = min(end, around[-1].end)
            around.append(part)


def _without_blank_lines(piece: bytes) -> bytes:
    """`piece` without those at its start and end."""
    piece = piece.rstrip()
    return piece[piece.rfind(b"\n", 0, len(piece) - len(piece.lstrip())) + 1 :]


def _shifted(text: bytes, indent: bytes) -> bytes:
    """`text`, the first line of which has no indentation, with that much less in all others.

    A line that has less gets a NUL for each place that is missing. So this tells apart what it could mix up.
    """
    if b"\n" not in text:
        return text
    text = _blanks.sub(b"\n", text)
    if not indent:
        return text

    def lacking(match: re.Match[bytes]) -> bytes:
        shared = len(indent) - 1
        while not match[1].startswith(indent[:shared]):
            shared -= 1
        return b"\n" + b"\0" * (len(indent) - shared) + match[1][shared:]

    return _lacking(indent).sub(lacking, text).replace(b"\n" + indent, b"\n")


@lru_cache(maxsize=64)  # indentations: a file has some five
def _lacking(indent: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\n(?!\n|" + re.escape(indent) + rb")([ \t]*)")


def _indentation(line: bytes) -> bytes:
    """The white space before the text of a line, from where Python counts: a form feed begins anew."""
    return line[: len(line) - len(line.lstrip())].rpartition(b"\f")[2]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # an editor's buffer may hold half of a pair


# -- the tree --------------------------------------------------------------------------------------

_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")  # fields that hold statements, in their order
_STATEMENTS: tuple[Any, ...] = (*ast.stmt.__subclasses__(), ast.ExceptHandler, ast.match_case)
_COMPOUND = {
    kind: tuple(block for block in _BLOCKS if block in kind._fields)
    for kind in _STATEMENTS
    if "body" in kind._fields or "cases" in kind._fields
}


def _assigned(
    scopes: list[tuple[str, Any]], variables: dict[str, list[Found]]
) -> Iterator[tuple[Found, list[Any]]]:
    """Each variable with the statements of its own scope that assign to it, in the order of the file."""
    nodes: dict[Found, list[Any]] = {found: [] for several in variables.values() for found in several}
    for prefix, scope in scopes:
        for node, targets in _assignments(scope.body):
            for name in _names(targets):
                found = _belonging(scope, variables.get(prefix + name, []))
                if found is not None:
                    nodes[found].append(node)
    for found, several in nodes.items():
        several.sort(key=position)
        yield found, several


def _assignments(body: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The statements of one scope that assign, with their targets."""
    pending = [body]
    while pending:
        for node in pending.pop():
            kind = node.__class__
            if kind is ast.Assign:
                yield node, node.targets
            elif kind in (ast.AnnAssign, ast.AugAssign, ast.For, ast.AsyncFor):
                yield node, [node.target]
            elif kind is ast.With or kind is ast.AsyncWith:
                yield node, [item.optional_vars for item in node.items if item.optional_vars]
            if kind in _COMPOUND and kind not in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
                pending += (getattr(node, block) for block in _COMPOUND[kind])


def _names(targets: list[Any]) -> set[str]:
    nodes = (node for target in targets for node in ast.walk(target))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _belonging(scope: Any, several: list[Found]) -> Found | None:
    """Which of the variables with one qualified name is that of this class, or the module."""
    if scope.__class__ is ast.Module:
        return several[0] if several else None
    index = bisect_left(several, position(scope), key=lambda found: position(found.node))
    return next((found for found in several[index : index + 1] if position(found.node) < _stop(scope)), None)


def _around(body: list[Any], place: tuple[int, int]) -> Any:
    """The innermost statement, `except` or `case` around a place."""
    while True:
        node = body[bisect_right(body, place, key=_stop)]
        for block in _COMPOUND.get(node.__class__, ()):
            inner = getattr(node, block)
            if inner and _start(inner[0]) <= place < _stop(inner[-1]):
                body = inner
                break
        else:
            return node


def _inner(node: Any) -> Any:
    """The first statement or `case` in a compound statement; None in others."""
    blocks = _COMPOUND.get(node.__class__)
    return getattr(node, blocks[0])[0] if blocks else None


def _start(node: Any) -> tuple[int, int]:
    """Line and column where a statement, `except` or `case` begins; for decorated ones the line alone."""
    if node.__class__ is ast.match_case:
        return position(node.pattern)
    decorators = getattr(node, "decorator_list", None)
    return (decorators[0].lineno, 0) if decorators else position(node)


def _stop(node: Any) -> tuple[int, int]:
    if node.__class__ is ast.match_case:
        node = node.body[-1]
    return node.end_lineno, node.end_col_offset
