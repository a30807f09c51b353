"""Places: where inputs are filed, by their real places and by every link on the way."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, input
from engine.recover import reopen
from engine.rules.files import FileError, kind, read_text
from engine.rules.stat import file_stamp
from engine.watch.places import Places

TREE = ("a/one.txt", "a/deep/two.txt", "b/three.txt")


@input(observed=True)
def anything(name: str) -> str:
    """An observed input that has no place."""
    return name


class Filed:
    """A tree, an engine that knows inputs of it, and the index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in TREE:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
        self.db = Engine(None, root=root)
        self.places = Places(self.db._core)

    def ask(self, *paths: str) -> None:
        for path in paths:
            with contextlib.suppress(FileError):
                self.db.get(read_text, path)

    def file(self, *paths: str) -> None:
        self.ask(*paths)
        self.places.grow()

    def names(self, nodes: Iterator[int]) -> list[str]:
        return sorted(self.db._core.args_of(node)[0] for node in nodes)

    def at(self, path: str) -> list[str]:
        return self.names(self.places.at(path))

    def affected(self, path: str) -> set[str]:
        return set(self.names(self.places.affected(path)))


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[Filed]:
    filed = Filed(tmp_path)
    yield filed
    filed.db.close()


def test_an_input_is_filed_at_its_place(filed: Filed) -> None:
    filed.file(*TREE)
    assert filed.at("a/one.txt") == ["a/one.txt"]
    assert filed.at("a/two.txt") == []
    assert len(filed.places) == 3


def test_every_directory_above_is_in_the_index(filed: Filed) -> None:
    filed.file("x/y/z/nothing.txt")
    assert set(filed.places.directories) == {"", "x", "x/y", "x/y/z"}
    assert set(filed.places.tree("x")) == {"x", "x/y", "x/y/z"}
    assert filed.affected("x") == {"x/y/z/nothing.txt"}


def test_what_is_below_a_directory_is_affected_by_it_and_nothing_else(filed: Filed) -> None:
    filed.file(*TREE)
    assert filed.affected("a") == {"a/one.txt", "a/deep/two.txt"}
    assert filed.names(filed.places.inside("a")) == ["a/one.txt"]
    assert filed.affected("b/three.txt") == {"b/three.txt"}
    assert filed.affected("c") == set()


def test_growing_tells_the_directories_to_cover_and_costs_nothing_without_news(filed: Filed) -> None:
    filed.ask(*TREE)
    grown = filed.places.grow()
    assert grown is not None
    assert {directory for _, directory in grown} == {"a", "a/deep", "b"}
    assert filed.places.grow() == []


def test_an_input_without_a_place_is_listed_elsewhere(filed: Filed) -> None:
    filed.db.get(anything, "x")
    filed.ask("../outside.txt", "a\0b")
    filed.places.grow()
    assert len(filed.places.elsewhere) == 3
    assert len(filed.places) == 0


@pytest.mark.parametrize(("given", "where"), [(Path, ["a/one.txt"]), (len, []), (int, [])])
def test_a_place_may_be_a_path_and_what_is_none_is_elsewhere(
    given: Callable[[str], Any], where: list[str], filed: Filed
) -> None:
    @input(stamp=file_stamp, place=given, name="placed")
    def placed(path: str) -> str:
        return path

    filed.db.get(placed, "a/one.txt")
    filed.file("b/three.txt")
    assert filed.at("a/one.txt") == where
    assert filed.at("b/three.txt") == ["b/three.txt"], "others are filed all the same"
    assert len(filed.places.elsewhere) == (not where)


def test_through_links_an_input_is_filed_at_each_link_and_at_what_they_reach(filed: Filed) -> None:
    (filed.root / "link").symlink_to("a")
    (filed.root / "b" / "up").symlink_to("../link/deep")
    filed.file("b/up/two.txt")
    assert filed.places.links == {"link", "b/up"}
    for path in ("b/up", "link", "a/deep/two.txt"):
        assert filed.at(path) == ["b/up/two.txt"], path
    assert filed.at("b/up/two.txt") == []
    assert "b/up" not in filed.places.directories


def test_absolute_links_into_the_root_are_followed(filed: Filed) -> None:
    (filed.root / "link").symlink_to(filed.root / "a")
    filed.file("link/one.txt")
    assert filed.at("a/one.txt") == ["link/one.txt"]


@pytest.mark.parametrize("target", ["..", "/", "/nowhere", "link", "../../../../.."])
def test_links_out_of_the_root_or_in_a_circle_are_polled(filed: Filed, target: str) -> None:
    (filed.root / "link").symlink_to(target)
    filed.file("link/one.txt")
    assert filed.at("link") == ["link/one.txt"]
    assert len(filed.places.elsewhere) == 1


def test_a_stale_index_is_built_anew_and_says_what_it_dropped(filed: Filed) -> None:
    filed.file(*TREE)
    shutil.rmtree(filed.root / "a")
    (filed.root / "a").symlink_to("b")
    filed.places.stale = True
    assert filed.places.grow() is None
    assert filed.places.dropped == {"a", "a/deep"}
    assert filed.at("a") == ["a/deep/two.txt", "a/one.txt"]
    assert filed.at("b/one.txt") == ["a/one.txt"]
    assert filed.places.grow() == []


def test_a_stale_index_asks_the_disk_and_no_stamp_where_there_is_a_link_by_now(filed: Filed) -> None:
    filed.file("b/other.txt", "b/three.txt")
    (filed.root / "b" / "three.txt").unlink()
    (filed.root / "b" / "three.txt").symlink_to("../a/one.txt")
    filed.places.stale = True
    assert filed.places.grow() is None
    assert filed.at("a/one.txt") == ["b/three.txt"]


def test_a_link_is_not_followed_at_the_end_of_another_place_by_accident(filed: Filed) -> None:
    filed.file("a/one.txt")
    (filed.root / "a" / "l.txt").symlink_to("one.txt")
    filed.file("a/l.txt")
    assert filed.at("a/one.txt") == ["a/l.txt", "a/one.txt"]
    assert filed.at("a/l.txt") == ["a/l.txt"]


def test_an_input_is_misfiled_once_its_place_leads_elsewhere(filed: Filed) -> None:
    filed.file("b/three.txt", "x")
    graph = filed.db._core.graph
    nodes = {filed.db._core.args_of(node)[0]: node for node in filed.db._core.observed}
    assert not filed.places.any_misfiled(nodes.values(), graph)
    (filed.root / "b" / "three.txt").unlink()
    assert not filed.places.any_misfiled([nodes["b/three.txt"]], graph)
    (filed.root / "b" / "three.txt").symlink_to("../a/one.txt")
    assert filed.places.any_misfiled([nodes["b/three.txt"]], graph)
    (filed.root / "x").mkdir()
    assert filed.places.any_misfiled([nodes["x"]], graph)
    assert filed.places.covers("x")


@pytest.mark.parametrize(
    "place", [".", "b", "b/.", "b/..", "b/", "a/./one.txt", "link", "link/..", "link/deep", "b/l"]
)
def test_however_a_place_is_written_it_is_not_misfiled_as_long_as_it_leads_there(
    filed: Filed, place: str
) -> None:
    (filed.root / "link").symlink_to("a")
    (filed.root / "b" / "l").symlink_to("three.txt")
    filed.db.get(anything, "of no place")
    with contextlib.suppress(FileError):
        filed.db.get(kind, place)
    filed.places.grow()
    assert not filed.places.any_misfiled(filed.db._core.observed, filed.db._core.graph)


def test_a_link_is_misfiled_once_there_is_a_directory_where_it_leads(filed: Filed) -> None:
    (filed.root / "link").symlink_to("later")
    filed.db.get(kind, "link")
    filed.places.grow()
    nodes, graph = list(filed.db._core.observed), filed.db._core.graph
    assert not filed.places.any_misfiled(nodes, graph)
    (filed.root / "later").mkdir()
    assert filed.places.any_misfiled(nodes, graph)
    assert filed.places.covers("later")


def test_to_find_what_is_misfiled_each_file_is_looked_at_once_and_each_directory_resolved_once(
    filed: Filed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `sync` waits for it; while queries compute, each call of the system costs half a millisecond."""
    filed.file(*(f"b/f{number}.txt" for number in range(50)))
    nodes = list(filed.db._core.observed)
    calls: list[str] = []
    for name in ("lstat", "readlink"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, partial(counted, call, calls))
    assert not filed.places.any_misfiled(nodes, filed.db._core.graph)
    assert len(calls) <= len(nodes) + 2


def counted(call: Callable[[str], Any], calls: list[str], path: str) -> Any:
    calls.append(path)
    return call(path)


def test_nothing_is_misfiled_of_lists_that_are_no_more(filed: Filed) -> None:
    filed.file("b/three.txt", "a/one.txt")
    core, before = filed.db._core, filed.db._core.graph
    last = max(core.observed)
    with core.lock:
        reopen(core)
    assert last >= len(core.graph)
    assert not filed.places.any_misfiled([last], before)


def test_a_rebuilt_graph_rebuilds_the_index(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(read_text, "one.txt")
        places = Places(db._core)
        assert places.grow()
        db.gc()
        assert places.grow() is None or db._core.graph is places._graph
        db.get(read_text, "one.txt")
        places.grow()
        assert len(list(places.at("one.txt"))) == 1


def test_lists_that_were_built_anew_have_the_index_built_anew_though_they_are_as_long(filed: Filed) -> None:
    filed.file("b/three.txt")
    with filed.db._core.lock:
        reopen(filed.db._core)
    filed.ask("a/one.txt")
    assert filed.places.grow() is None
    assert filed.at("a/one.txt") == ["a/one.txt"]
    assert filed.at("b/three.txt") == []


def test_names_of_the_system_become_names_of_the_index(filed: Filed) -> None:
    places = filed.places
    assert places.relative(f"{filed.root}/a/b") == "a/b"
    assert places.relative(f"{filed.root}") == ""
    assert places.relative(f"{filed.root}x/a") is None
    assert places.full("a/b") == f"{filed.root}/a/b"
    assert places.full("") == f"{filed.root}"


@pytest.mark.parametrize("seed", range(20))
def test_in_random_trees_of_links_an_input_is_filed_where_the_system_finds_it(
    filed: Filed, seed: int
) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "a/deep", "l1", "l2", "a/l3", "b/l4", "a/deep/l5"]
    for link in names[3:]:
        target = chance.choice([*names, "a/one.txt", "nowhere"])
        where = os.path.relpath(filed.root / target, (filed.root / link).parent)
        (filed.root / link).symlink_to(chance.choice([where, str(filed.root / target)]))
    asked = {f"{name}/{rest}" for name in names for rest in ("one.txt", "deep/two.txt", "l3/l5/three.txt")}
    filed.file(*sorted(asked))
    for path in asked:
        real = os.path.realpath(filed.root / path)
        try:
            os.stat(filed.root / path)
        except FileNotFoundError:
            pass
        except OSError:
            continue  # a circle: no place
        assert path in filed.at(os.path.relpath(real, filed.root)), path
        here = ""
        for part in path.split("/"):
            here = f"{here}/{part}" if here else part
            if os.path.islink(filed.root / here):
                assert path in filed.affected(here) or here not in filed.places.links, (path, here)
                break
