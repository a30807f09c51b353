"""The code graph of Python projects: definitions, imports, references, kept current.

    from engine import Engine
    from engine.rules.python import code_graph, definitions_of, importers

    with Engine(".engine", root="project") as db:
        print(db.get(code_graph))
        print(db.get(definitions_of, "greet"))

Per file there are `facts` without positions, `spans` with them, and `chunks` for the texts. Everything above
is made of facts, so a comment, a docstring or a moved line ends there. Paths are relative to the engine's
root, with "/".

Above them are tables, one row for each thing that a file says: `project_files`, `definitions`, `bindings`,
`imports`, `bases`, `references`, `verdicts`. Names are followed from file to file by `lookup`, one name at a
time, so that a name that changes resolves again only what asked for it. Questions (`callers`, `overrides`,
`affected`, ...) look into the tables. A symbol is (path, qualified name, kind, ordinal), as a text
"path:qualified".
"""

from __future__ import annotations

from engine.rules.python.affected import (
    Affected,
    AffectedBy,
    AffectedFiles,
    affected,
    affected_by,
    affected_files,
)
from engine.rules.python.bindings import Binding, bindings
from engine.rules.python.calls import (
    callees,
    callers,
    path_between,
    possible_references,
    references_from,
    references_to,
)
from engine.rules.python.chunks import Chunk, chunks
from engine.rules.python.cycles import import_cycles
from engine.rules.python.dead import Verdict, dead_definitions, verdicts
from engine.rules.python.definitions import (
    Defined,
    Site,
    Symbol,
    definitions,
    definitions_at,
    definitions_of,
    definitions_starting,
    names_in,
)
from engine.rules.python.facts import Attribute, Body, Broken, Definition, Facts, Import, facts
from engine.rules.python.graph import Summary, broken_files, code_graph, directory_summary, file_summary
from engine.rules.python.hierarchy import (
    Base,
    Order,
    bases,
    member,
    resolution_order,
    subclasses,
)
from engine.rules.python.importers import Edge, dependencies, dependents, import_graph, importers
from engine.rules.python.imports import Imported, Target, import_targets, imported_files, imports
from engine.rules.python.located import lines_of
from engine.rules.python.lookup import lookup
from engine.rules.python.meanings import Meaning
from engine.rules.python.modules import Location, find_module, module_of
from engine.rules.python.overrides import Override, overridden, overrides
from engine.rules.python.parse import Parsed, ParseError, parse, parse_error
from engine.rules.python.project import File, project_files
from engine.rules.python.reach import Reached, Step
from engine.rules.python.references import Reference, references
from engine.rules.python.roles import entry_points
from engine.rules.python.roots import import_roots, source_roots
from engine.rules.python.since import changed_since
from engine.rules.python.spans import Span, spans
from engine.rules.python.tree import files_in, python_directories, python_files
from engine.rules.python.uses import Use

__all__ = [
    "Affected",
    "AffectedBy",
    "AffectedFiles",
    "Attribute",
    "Base",
    "Binding",
    "Body",
    "Broken",
    "Chunk",
    "Defined",
    "Definition",
    "Edge",
    "Facts",
    "File",
    "Import",
    "Imported",
    "Location",
    "Meaning",
    "Order",
    "Override",
    "ParseError",
    "Parsed",
    "Reached",
    "Reference",
    "Site",
    "Span",
    "Step",
    "Summary",
    "Symbol",
    "Target",
    "Use",
    "Verdict",
    "affected",
    "affected_by",
    "affected_files",
    "bases",
    "bindings",
    "broken_files",
    "callees",
    "callers",
    "changed_since",
    "chunks",
    "code_graph",
    "dead_definitions",
    "definitions",
    "definitions_at",
    "definitions_of",
    "definitions_starting",
    "dependencies",
    "dependents",
    "directory_summary",
    "entry_points",
    "facts",
    "file_summary",
    "files_in",
    "find_module",
    "import_cycles",
    "import_graph",
    "import_roots",
    "import_targets",
    "imported_files",
    "importers",
    "imports",
    "lines_of",
    "lookup",
    "member",
    "module_of",
    "names_in",
    "overridden",
    "overrides",
    "parse",
    "parse_error",
    "path_between",
    "possible_references",
    "project_files",
    "python_directories",
    "python_files",
    "references",
    "references_from",
    "references_to",
    "resolution_order",
    "source_roots",
    "spans",
    "subclasses",
    "verdicts",
]
