"""Random edits that are odder: names that few people have, and changes that hide behind stamps."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.watch_edits import DIRECTORIES, NAMES, Edits

ODD_NAMES = (
    *NAMES[:5],
    "One.txt",
    "\u00e9.txt",
    "e\u0301.txt",
    "caf\udce9.txt",
    "new\nline.txt",
    "-\u202e\x1b[31m",
    "x" * 251 + ".txt",
)
ODD_DIRECTORIES = (*DIRECTORIES, "A", "\u00e9", "e\u0301", "b\udcff/deep", "n\nl", "y" * 255)
HOURS = (0, 1e9, 4e9)  # seconds since 1970 that a file may claim to be of
LINKS = (2, 30, 45)  # in one path; 40 are the most to Linux


class OddEdits(Edits):
    """Those of `Edits` at odder places, and more."""

    def directory(self) -> Path:
        return self.root / self.random.choice(ODD_DIRECTORIES)

    def subdirectory(self) -> Path:
        return self.root / self.random.choice(ODD_DIRECTORIES[1:])

    def place(self) -> Path:
        return self.directory() / self.random.choice(ODD_NAMES)

    def remove(self, path: Path) -> None:
        """Whatever is there."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def other(self, size: int) -> bytes:
        """A content of that size."""
        return bytes(self.random.randrange(97, 122) for _ in range(size))

    # -- edits ---------------------------------------------------------------------------------

    def do_write_where_nothing_was(self) -> None:
        path = self.place()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.fresh())

    def do_same_size_and_time(self) -> None:
        path = self.file()
        before = path.stat()
        path.write_bytes(self.other(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def do_replace_with_the_same_size_and_time(self) -> None:
        path = self.file()
        before, swap = path.stat(), self.outside / "swap"
        swap.write_bytes(self.other(before.st_size))
        os.utime(swap, ns=(before.st_atime_ns, before.st_mtime_ns))
        swap.replace(path)

    def do_save_several_times(self) -> None:
        path = self.file()
        size = path.stat().st_size
        for _ in range(3):
            path.write_bytes(self.other(size))

    def do_claim_another_time(self) -> None:
        path, at = self.file(), self.random.choice(HOURS)
        path.write_text(self.fresh())
        os.utime(path, (at, at))

    def do_swap_two(self) -> None:
        one, other, away = self.file(), self.file(), self.outside / "swap"
        one.rename(away)
        if other.exists():
            other.rename(one)
        away.rename(other)

    def do_swap_two_directories(self) -> None:
        one, other, away = self.subdirectory(), self.subdirectory(), self.outside / self.fresh()
        one.rename(away)
        if other.exists():
            other.rename(one)
        away.rename(other)

    def do_change_the_case(self) -> None:
        path = self.file()
        path.rename(path.with_name(path.name.swapcase()))

    def do_normalise_otherwise(self) -> None:
        one, other = self.root / "\u00e9", self.root / "e\u0301"
        one.rename(other) if one.exists() else other.rename(one)

    def do_directory_to_file_and_back(self) -> None:
        path = self.subdirectory()
        shutil.rmtree(path)
        path.write_text(self.fresh())
        if self.random.random() < 0.7:
            path.unlink()
            path.mkdir()
            (path / "one.txt").write_text(self.fresh())

    def do_file_to_directory_and_back(self) -> None:
        path = self.file()
        path.unlink()
        path.mkdir()
        (path / "one.txt").write_text(self.fresh())
        shutil.rmtree(path)
        path.write_text(self.fresh())

    def do_link_in_a_circle_of_two(self) -> None:
        for name, target in (("link", "l.txt"), ("l.txt", "link")):
            self.remove(self.root / name)
            (self.root / name).symlink_to(target)

    def do_link_through_many(self) -> None:
        reached = self.file()
        for number in range(self.random.choice(LINKS)):
            link = self.outside / f"link {number}"
            self.remove(link)
            link.symlink_to(reached)
            reached = link
        self.remove(self.root / "l.txt")
        (self.root / "l.txt").symlink_to(reached)

    def do_socket(self) -> None:
        path = self.place()
        self.remove(path)
        os.mknod(path, 0o140600)

    def do_write_what_is_no_text(self) -> None:
        self.file().write_bytes(b"\xff\xfe\x00")
