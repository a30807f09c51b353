"""The code graph of Python projects: definitions, imports, references, kept current.

    from engine import Engine
    from engine.rules.python import code_graph, definitions_of, importers

    with Engine(".engine", root="project") as db:
        print(db.get(code_graph))
        print(db.get(definitions_of, "greet"))

Per file there are `facts` without positions, `spans` with them, and `chunks` for the texts. Everything above
is made of facts, so a comment, a docstring or a moved line ends there. Paths are relative to the engine's
root, with "/".
"""

from __future__ import annotations

from engine.rules.python.chunks import Chunk, chunks
from engine.rules.python.cycles import import_cycles
from engine.rules.python.facts import Broken, Definition, Facts, Import, facts
from engine.rules.python.graph import Summary, broken_files, code_graph, directory_summary, file_summary
from engine.rules.python.importers import Edge, import_graph, importers
from engine.rules.python.imports import Target, import_targets, imported_files
from engine.rules.python.modules import Location, find_module, module_of, source_roots
from engine.rules.python.names import Site, definitions_in, definitions_of, names_in
from engine.rules.python.parse import Parsed, ParseError, parse, parse_error
from engine.rules.python.spans import Span, spans
from engine.rules.python.tree import files_in, python_directories, python_files

__all__ = [
    "Broken",
    "Chunk",
    "Definition",
    "Edge",
    "Facts",
    "Import",
    "Location",
    "ParseError",
    "Parsed",
    "Site",
    "Span",
    "Summary",
    "Target",
    "broken_files",
    "chunks",
    "code_graph",
    "definitions_in",
    "definitions_of",
    "directory_summary",
    "facts",
    "file_summary",
    "files_in",
    "find_module",
    "import_cycles",
    "import_graph",
    "import_targets",
    "imported_files",
    "importers",
    "module_of",
    "names_in",
    "parse",
    "parse_error",
    "python_directories",
    "python_files",
    "source_roots",
    "spans",
]
