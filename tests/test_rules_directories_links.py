"""Links in a tree: to files they are found, to directories they are followed where they are named."""

from __future__ import annotations

import os
from pathlib import Path

from engine import Engine
from engine.rules.directories import files_below, glob
from tests.folders import grow, place

__all__ = ["place"]  # a fixture


def test_links_to_files_are_found_and_links_to_directories_are_followed_by_no_wildcard(place: Path) -> None:
    grow("d/a.py", "outside-of-pattern")
    os.symlink("..", "d/up.py")
    os.symlink("d", "to-d")
    os.symlink("d/a.py", "link.py")
    os.symlink("nowhere", "dangling.py")
    os.symlink("/etc/passwd", "outside.py")
    os.symlink("loop.py", "loop.py")
    os.mkfifo("fifo.py")
    with Engine(None, root=place) as db:
        assert db.get(glob, "**/*.py") == ("d/a.py", "link.py")
        assert db.get(files_below, "to-d") == ("to-d/a.py",), "asked for by name, it is entered"
        grow("nowhere")
        db.sync()
        assert db.get(glob, "**/*.py") == ("d/a.py", "dangling.py", "link.py")


def test_a_link_to_a_directory_is_followed_where_a_pattern_names_it_before_its_first_wildcard(
    place: Path,
) -> None:
    grow("real/a.py", "real/deep/b.py", "other/c.py", "top/x", "[x]/d.py")
    os.symlink("../real", "top/link")
    os.symlink("..", "real/up")
    os.symlink("/etc", "outside")
    os.symlink("real", "top/link.py")
    with Engine(None, root=place) as db:
        for pattern, expected in {
            "top/link/*.py": ["top/link/a.py"],
            "top/link/a.py": ["top/link/a.py"],
            "top/link/**": ["top/link/a.py", "top/link/deep/b.py"],
            "real/up/real/up/other/*": ["real/up/real/up/other/c.py"],
            "real/up/*.py": [],
            "outside/*": [],
            "top/*": ["top/x"],
            "top/*/*.py": [],
            "**/link/*.py": [],
            "top/link": [],
            "[[]x]/*": ["[x]/d.py"],
        }.items():
            assert list(db.get(glob, pattern)) == expected, pattern
        Path("top/link").unlink()
        os.symlink("../other", "top/link")
        Path("real/e.py").write_text("")
        db.sync()
        assert db.get(glob, "top/link/*.py") == ("top/link/c.py",)
        Path(".gitignore").write_text("/top/link\n")
        db.sync()
        assert db.get(glob, "top/link/*.py") == ()
        assert db.get(glob, "top/link/*.py", ignore=False) == ("top/link/c.py",)
