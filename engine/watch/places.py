"""Places: which observed inputs look at a path, and which directories a watch has to cover.

The index is made of the inputs that the engine knows, not of a walk: what no query reads is not watched, so
ignored trees are not, and an input in an ignored tree is.

Invariants
    P1  Paths are relative to the root and without links: where a place leads through links, its inputs are
        filed under each of these links and under what it reaches in the end.
    P2  Every directory above a filed path is in the index too: a moved or removed directory is one event
        above.
    P3  Only growth is followed. Anything else (a link changed, the lists of the core were built anew) makes
        the index `stale`, and it is built from nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice

from engine.core import Core
from engine.graph import Graph
from engine.observe import RACY
from engine.query import QueryInfo
from engine.rules.stat import file_stamp, inode_end, mode_in

MOST_LINKS = 40  # as many as Linux follows in one path


class Places:
    """Where the observed inputs of an engine look. Not thread safe: its owner locks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.dropped: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        core = self._core
        self.root = os.path.realpath(core.root)
        self.stale = False
        self.elsewhere: dict[int, None] = {}  # observed inputs that have no place
        self.links: set[str] = set()
        self._entries: dict[str, dict[str, int | tuple[int, ...]]] = {}  # directory -> name -> nodes
        self._below: dict[str, set[str]] = {}  # directory -> directories in it that are in the index
        self._graph = core.graph
        self._seen = 0
        self._came: list[str] = []
        self._directory("")

    def __len__(self) -> int:
        """How many paths are filed."""
        return sum(map(len, self._entries.values()))

    @property
    def directories(self) -> Iterable[str]:
        """Every directory to cover, existing or not."""
        return self._entries.keys()

    def grow(self) -> list[tuple[int, str]] | None:
        """File the inputs that came to be observed since the last call: nodes and the directories to cover.

        None: the index was built from nothing, and everything has to be covered and looked at again (P3).
        Then `dropped` are the directories that are in it no more: nobody hears of what becomes of them.
        """
        core = self._core
        if len(core.observed) == self._seen and core.graph is self._graph and not self.stale:
            return []
        with core.lock:
            rebuilt = self.stale or core.graph is not self._graph
            before = self._entries
            if rebuilt:
                self._clear()
            fresh = [
                (node, core.info_of(node), core.args_of(node), stamp)
                for node, stamp in islice(core.observed.items(), self._seen, None)
            ]
            self._seen += len(fresh)
        filed: list[tuple[int, str]] = []
        for node, info, args, stamp in fresh:
            place = None if info is None else info.place_of(args)
            if info is None or place is None:
                self.elsewhere[node] = None
                continue
            # A stamp tells what was there when the input was read: good enough only where that was just now.
            paths, mode, found_out = self._paths(place, info, b"" if rebuilt else stamp)
            if not found_out:
                self.elsewhere[node] = None  # what is outside of the root may lead back into it
            for path in paths:
                directory, _, name = path.rpartition("/")
                self._file(node, directory, name)
                filed.append((node, directory))
            if stat.S_ISDIR(mode):
                self._directory(paths[-1])
                filed.append((node, paths[-1]))
        if rebuilt:
            self.dropped = before.keys() - self._entries.keys()
            self._came = []  # all of them are covered now
            return None
        return filed

    def came(self) -> list[str]:
        """The directories that came to be in the index since the last call, those above others too (P2)."""
        came, self._came = self._came, []
        return came

    def any_misfiled(self, nodes: Iterable[int], graph: Graph) -> bool:
        """Whether the place of one of these inputs leads elsewhere now: a link came, went, or was turned.

        graph    the lists that the nodes are of. Where they were built anew meanwhile, so is the index (P3)
        """
        core = self._core
        with core.lock:
            if core.graph is not graph:
                return False
            known = [(node, core.info_of(node), core.args_of(node)) for node in nodes]
        # A `sync` waits for this, and there may be a thousand files: each directory is resolved once.
        above: dict[str, tuple[list[str], str | None]] = {}
        for node, info, args in known:
            place = None if info is None else info.place_of(args)
            if place is None:
                continue
            links, reached, mode = self._reached(place, above)
            if reached is not None and self.becomes_directory(reached, mode):
                return True
            if any(node not in self.at(path) for path in (*links, *([] if reached is None else [reached]))):
                return True
        return False

    def _reached(
        self, place: str, above: dict[str, tuple[list[str], str | None]]
    ) -> tuple[list[str], str | None, int]:
        """What `_resolve` says of a place, and the mode of what is there. `above`: of directories, so far."""
        directory, _, name = place.rpartition("/")
        if directory not in above:
            above[directory] = self._resolve(directory)
        links, reached = above[directory]
        if reached is not None and name not in ("", ".", ".."):
            path = f"{reached}/{name}" if reached else name
            mode = self._mode_at(path)
            if not stat.S_ISLNK(mode):
                return links, path, mode
        links, reached = self._resolve(place)
        return links, reached, 0 if reached is None else self._mode_at(reached)

    def becomes_directory(self, path: str, mode: int) -> bool:
        """Whether something looks at a path that is a directory by now, and was none when it was filed."""
        if path in self._entries or not stat.S_ISDIR(mode) or not any(True for _ in self.at(path)):
            return False
        self._directory(path)
        return True

    def at(self, path: str) -> Iterator[int]:
        """The inputs that look at a path itself."""
        directory, _, name = path.rpartition("/")
        found = self._entries.get(directory, {}).get(name)
        if isinstance(found, int):
            yield found
        elif found is not None:
            yield from found

    def affected(self, path: str) -> Iterator[int]:
        """The inputs to look at when something happened at a path: there, below it, and its directory's."""
        yield from self.at(path)
        if path:
            yield from self.at(path.rpartition("/")[0])
        if path in self._entries:
            yield from self.below(path)

    def by_other_names(self, states: Iterable[os.stat_result]) -> list[int]:
        """The inputs that look at these files by other names: nothing is told of these.

        A file has several names as a rule nowhere.
        """
        ends = {
            inode_end(state.st_ino) for state in states if state.st_nlink > 1 and stat.S_ISREG(state.st_mode)
        }
        if not ends:
            return []
        core = self._core
        with core.lock:
            # One that was read a moment ago has no stamp to tell by.
            return [
                node
                for node, stamp in core.observed.items()
                if stamp[-8:] in ends
                or (stamp == RACY and (info := core.info_of(node)) is not None and info.stamp is file_stamp)
            ]

    def below(self, directory: str) -> Iterator[int]:
        """The inputs that look at what is, or would be, in a directory or below it."""
        waiting = [directory]
        while waiting:
            here = waiting.pop()
            for found in self._entries.get(here, {}).values():
                if isinstance(found, int):
                    yield found
                else:
                    yield from found
            waiting += self._below.get(here, ())

    def inside(self, directory: str) -> Iterator[int]:
        """The inputs that look at the entries of a directory; not at the directory, nor deeper."""
        for found in self._entries.get(directory, {}).values():
            if isinstance(found, int):
                yield found
            else:
                yield from found

    def exists(self, directory: str) -> bool:
        """Whether a directory of the index is there now."""
        return os.path.isdir(self.full(directory))

    def is_file(self, path: str) -> bool:
        """Whether inputs look at a path, and it is no directory of the index."""
        return path not in self._entries and next(iter(self.at(path)), None) is not None

    def covers(self, path: str) -> bool:
        """Whether a path is a directory of the index."""
        return path in self._entries

    def tree(self, directory: str) -> list[str]:
        """A directory of the index and those of the index below it."""
        found = [directory]
        for here in found:
            found += self._below.get(here, ())
        return found

    def relative(self, path: str) -> str | None:
        """A path of the operating system as the index names it; None where it is not below the root."""
        if path == self.root:
            return ""
        base = self.root if self.root.endswith("/") else self.root + "/"
        return path[len(base) :] if path.startswith(base) else None

    def full(self, path: str) -> str:
        """The path of the operating system behind one of the index."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    # -- filing --------------------------------------------------------------------------------

    def _file(self, node: int, directory: str, name: str) -> None:
        names = self._directory(directory)
        found = names.get(name)
        if found is None:
            names[name] = node
        elif isinstance(found, int):
            if found != node:
                names[name] = (found, node)
        elif node not in found:
            names[name] = (*found, node)

    def _directory(self, directory: str) -> dict[str, int | tuple[int, ...]]:
        names = self._entries.get(directory)
        if names is None:
            names = self._entries[directory] = {}
            self._came.append(directory)
            if directory:
                above = directory.rpartition("/")[0]
                self._directory(above)
                self._below.setdefault(above, set()).add(directory)
        return names

    def _paths(self, place: str, info: QueryInfo, stamp: bytes) -> tuple[tuple[str, ...], int, bool]:
        """Where a place is filed (P1), what it reaches last; the mode of that; and whether that is known."""
        mode = self._mode(place, info, stamp)
        directory = place.rpartition("/")[0]
        if directory in self._entries and directory not in self.links and not stat.S_ISLNK(mode):
            return (place,), mode, True
        links, reached = self._resolve(place)
        self.links.update(links)
        if reached is None:
            return tuple(links), 0, False
        return (*links, reached), self._mode_at(reached) if links else mode, True

    def _resolve(self, place: str) -> tuple[list[str], str | None]:
        """The links on the way to a place, and what it reaches; None outside the root, or in a loop."""
        links: list[str] = []
        here = ""
        waiting = place.split("/")[::-1]
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not here:
                    return links, None
                here = here.rpartition("/")[0]
                continue
            path = f"{here}/{name}" if here else name
            try:
                target = os.readlink(self.full(path))
            except (OSError, ValueError):  # no link, or nothing there
                here = path
                continue
            links.append(path)
            if len(links) > MOST_LINKS:
                return links, None
            if target.startswith("/"):
                inside = self.relative(target)  # step by step: behind a link `..` is not what the text says
                if inside is None:
                    return links, None
                here, target = "", inside
            waiting += target.split("/")[::-1]
        return links, here

    def _mode(self, place: str, info: QueryInfo, stamp: bytes) -> int:
        return mode_in(stamp) if stamp and info.stamp is file_stamp else self._mode_at(place)

    def _mode_at(self, path: str) -> int:
        state = self.state_at(path)
        return 0 if state is None else state.st_mode

    def state_at(self, path: str) -> os.stat_result | None:
        """What is at a path of the index now; None where that is nothing."""
        try:
            return os.lstat(self.full(path))
        except (OSError, ValueError):
            return None
