"""Random edits of a watched tree: all that people, editors and programs do to files."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

NAMES = ("one.txt", "two.txt", "three.txt", "skip.log", "new.txt", ".gitignore")
DIRECTORIES = ("", "a", "a/deep", "a/deep/er", "b", "moved", "ignored")


class Edits:
    """Random edits of a tree. Each is one thing that people, editors and programs do."""

    def __init__(self, root: Path, seed: int, outside: Path) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.outside = outside
        self.number = 0
        self.done: list[str] = []

    def edit(self, count: int = 1) -> None:
        kinds = [name for name in dir(self) if name.startswith("do_")]
        for _ in range(count):
            name = self.random.choice(kinds)
            self.done.append(name)
            try:
                getattr(self, name)()
            except (OSError, shutil.Error):
                self.done[-1] += " (not possible now)"

    # -- places --------------------------------------------------------------------------------

    def fresh(self) -> str:
        self.number += 1
        return f"text {self.number:06}"

    def directory(self) -> Path:
        return self.root / self.random.choice(DIRECTORIES)

    def subdirectory(self) -> Path:
        return self.root / self.random.choice(DIRECTORIES[1:])

    def place(self) -> Path:
        return self.directory() / self.random.choice(NAMES[:5])

    def file(self) -> Path:
        """A file that is there, if there is one at all."""
        found = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        return self.random.choice(found) if found else self.place()

    # -- edits ---------------------------------------------------------------------------------

    def do_write(self) -> None:
        self.place().write_text(self.fresh())

    def do_rewrite(self) -> None:
        self.file().write_text(self.fresh())

    def do_rewrite_the_same(self) -> None:
        path = self.file()
        path.write_bytes(path.read_bytes())

    def do_same_size(self) -> None:
        path = self.file()
        before = path.read_bytes()
        path.write_bytes(bytes(self.random.randrange(97, 122) for _ in before))

    def do_append(self) -> None:
        with self.file().open("a") as file:
            file.write(self.fresh())

    def do_truncate(self) -> None:
        os.truncate(self.file(), self.random.randrange(5))

    def do_delete(self) -> None:
        self.file().unlink()

    def do_rename(self) -> None:
        self.file().rename(self.place())

    def do_rename_directory(self) -> None:
        self.subdirectory().rename(self.subdirectory())

    def do_move_out_and_in(self) -> None:
        away = self.outside / self.fresh()
        self.subdirectory().rename(away)
        if self.random.random() < 0.5:
            (away / self.random.choice(NAMES[:5])).write_text(self.fresh())
        away.rename(self.subdirectory())

    def do_move_in(self) -> None:
        made = self.outside / self.fresh() / "deep"
        made.mkdir(parents=True)
        (made / "new.txt").write_text(self.fresh())
        (made.parent / "one.txt").write_text(self.fresh())
        made.parent.rename(self.subdirectory())

    def do_make_deep(self) -> None:
        directory = self.directory() / "deep" / "er"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "new.txt").write_text(self.fresh())

    def do_remove_tree(self) -> None:
        shutil.rmtree(self.subdirectory())

    def do_replace_by_directory(self) -> None:
        path = self.file()
        path.unlink()
        path.mkdir()
        (path / "one.txt").write_text(self.fresh())

    def do_link(self) -> None:
        self._link(self.root / "l.txt", self.file())

    def do_link_directory(self) -> None:
        self._link(self.root / "link", self.directory())

    def do_replace_by_link(self) -> None:
        directory = self.subdirectory()
        shutil.rmtree(directory)
        self._link(directory, self.directory())

    def do_dangling(self) -> None:
        self._link(self.root / "l.txt", self.root / "nowhere.txt")

    def do_link_loop(self) -> None:
        self._link(self.root / "link", self.root / "link")

    def do_link_outside(self) -> None:
        self._link(self.root / "link", self.outside)

    def _link(self, at: Path, target: Path) -> None:
        if at.is_symlink() or at.is_file():
            at.unlink()
        elif at.is_dir():
            shutil.rmtree(at)
        relative = self.random.random() < 0.5
        at.symlink_to(os.path.relpath(target, at.parent) if relative else target)

    def do_write_through_link(self) -> None:
        (self.root / "link" / "one.txt").write_text(self.fresh())

    def do_chmod(self) -> None:
        self.file().chmod(self.random.choice((0o600, 0o644, 0o755)))

    def do_touch_back(self) -> None:
        path = self.file()
        path.write_text(self.fresh())
        os.utime(path, (1_000_000_000, 1_000_000_000))

    def do_save_by_rename(self) -> None:
        path = self.file()
        swap = path.with_name(f".{path.name}.swp")
        swap.write_text(self.fresh())
        swap.replace(path)

    def do_save_with_backup(self) -> None:
        path = self.file()
        backup = path.with_name(path.name + "~")
        path.rename(backup)
        path.write_text(self.fresh())
        backup.unlink()

    def do_ignore(self) -> None:
        lines = self.random.sample(["*.log", "ignored/", "deep", "/b", "!one.txt", "two.*"], 3)
        self.directory().joinpath(".gitignore").write_text("\n".join(lines))
