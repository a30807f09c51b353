"""A site of a folder of texts: pages that include others, a template, a list of all pages, dead links.

    python examples/03_site.py FOLDER OUT

Run it, edit a page, an included part or `template.html`, remove a page, run it again: it writes the files of
OUT that are others, and removes those of pages that are gone. Killed while it writes, it goes on next time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath

from attrs import frozen

from engine import Delta, Engine, each, query, table
from engine.rules.directories import glob
from engine.rules.files import FileError, canonical_path, exists, read_text
from engine.sinks import drain

INCLUDE = re.compile(r"\{\{(\S+?)\}\}")  # {{part.txt}}
LINK = re.compile(r"\[(.+?)\]\((\S+?)\.md\)")  # [a page](folder/page.md)
CONTENTS = "index.md"  # a page that has no file


@query
def pages() -> tuple[str, ...]:
    return glob("**/*.md")


@query
def text(path: str) -> str:
    """A text, with the parts that it includes, and the parts that these include."""
    return INCLUDE.sub(lambda found: part(join(dirname(path), found[1])), read_text(path))


def part(path: str) -> str:
    try:
        return text(canonical_path(path))
    except FileError:  # not there, say: the page is made, and made again when it is
        return f"({path} cannot be read)"


@query
def title(path: str) -> str:
    return text(path).lstrip("# ").partition("\n")[0]


@query
def contents() -> str:
    """A list of all pages: made again when a title changes, not when anything else does."""
    titles = zip(pages(), each(title, pages()), strict=True)
    return "\n".join(f"[{name}]({path})" for path, name in titles)


@query
def dead_links(path: str) -> tuple[str, ...]:
    targets = [normpath(join(dirname(path), f"{found[2]}.md")) for found in LINK.finditer(text(path))]
    dead = [target for target in targets if target.startswith("../") or not exists(target)]
    return tuple(f"{path}: {target} is not there" for target in dead)


@query
def all_dead_links() -> tuple[str, ...]:
    return tuple(link for several in each(dead_links, pages()) for link in several)


@query
def sources() -> tuple[str, ...]:
    return (*pages(), CONTENTS)


@frozen
class Page:
    path: str
    html: str


@table(each=sources, identity=("path",))
def site(source: str) -> Iterable[Page]:
    body = contents() if source == CONTENTS else text(source)
    html = LINK.sub(r'<a href="\2.html">\1</a>', escape(body, quote=False))
    template = read_text("template.html") if exists("template.html") else "<pre>BODY</pre>\n"
    yield Page(source.removesuffix(".md") + ".html", template.replace("BODY", html))


class Folder:
    """The files of a site, which follow the table, and how far they are."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.written = self.removed = 0

    def position(self) -> str | None:
        at = self.place / ".position"
        return at.read_text() if at.exists() else None

    def apply(self, delta: Delta[Page]) -> None:
        for page in delta.removed:
            (self.place / page.path).unlink(missing_ok=True)
        for page in (*delta.added, *(after for _, after in delta.changed)):
            file = self.place / page.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page.html, encoding="utf-8")
            self.written += 1
        self.removed += len(delta.removed)
        (self.place / ".position").write_text(delta.position)  # last: who is killed before is told again


def main(folder: str, out: str) -> None:
    with Engine(f"{folder}/.engine", root=folder) as db:
        files = Folder(Path(out))
        drain(db, site, files, out)
        print(f"{files.written} written, {files.removed} removed, {db.counts().executed} queries ran")
        print(*db.get(all_dead_links), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
