"""Trees that are made, moved, replaced or oddly named under a watch: the answers are those from scratch."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine import query
from engine.errors import RootGone
from engine.rules.directories import listing
from engine.rules.files import FileError
from engine.watch import file_watcher
from engine.watch.events import Trouble, Watching
from engine.watch.kernel import KernelBackend
from tests.patience import until
from tests.watch_modes import MODES, check
from tests.watch_world import planted, text, tree, until_equal, watching


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "root")


@query
def names_in(directory: str) -> tuple[str, ...]:
    try:
        return tuple(entry.name for entry in listing(directory))
    except FileError as error:
        return (f"<{error.kind.removeprefix('dangling link') or 'missing'}>",)


# -- new trees -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_file_of_trees_that_are_made_quickly_is_known(root: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, _, _):
        for number in range(100):
            deep = root / f"n{number}" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "f.txt").write_text("deep")
            (deep.parent.parent / "g.txt").write_text("shallow")
        check(db, root)
        assert len([path for path, _ in db.get(tree) if path.startswith("n")]) == 200


@pytest.mark.parametrize("mode", MODES)
def test_new_trees_are_found_without_a_sync(root: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, _, told):
        for number in range(20):
            deep = root / f"n{number}" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "f.txt").write_text("deep")
        until_equal(db, root)
        (root / "n3" / "b" / "c" / "f.txt").write_text("and again")
        until_equal(db, root)
        until(lambda: "text('n3/b/c/f.txt')" in told.names())


@pytest.mark.parametrize("mode", MODES)
def test_trees_that_are_moved_are_known_at_their_new_place(root: Path, tmp_path: Path, mode: str) -> None:
    outside = tmp_path / "outside" / "deep"
    outside.mkdir(parents=True)
    for number in range(300):
        (outside / f"{number}.txt").write_text(f"{number}")
    with watching(root, **MODES[mode]) as (db, _, _):
        outside.parent.rename(root / "moved")
        check(db, root)
        (root / "moved" / "deep").rename(root / "a" / "renamed")
        check(db, root)
        (root / "a" / "renamed" / "7.txt").write_text("edited after the move")
        check(db, root)
        (root / "a").rename(tmp_path / "out")
        (tmp_path / "out" / "one.txt").write_text("edited outside")
        check(db, root)
        (tmp_path / "out").rename(root / "a")
        check(db, root)


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_is_followed_in_which_nobody_looks_but_far_below(root: Path, mode: str) -> None:
    path = root / "n" / "mid" / "deep" / "f.txt"
    path.parent.mkdir(parents=True)
    path.write_text("at first")
    with watching(root, text.key("n/mid/deep/f.txt"), **MODES[mode]) as (db, _, _):
        for number in range(3):
            (root / "n" / "mid").rename(root / f"away {number}")
            path.parent.mkdir(parents=True)
            path.write_text(f"made again {number}")
            db.sync()
            assert db.get(text, "n/mid/deep/f.txt") == f"made again {number}"


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_was_missing_is_watched_once_it_is_there(root: Path, mode: str) -> None:
    with watching(root, names_in.key("new"), names_in.key("link"), **MODES[mode]) as (db, _, _):
        (root / "link").symlink_to("far")
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ("<missing>",)
        for directory in ("new", "far"):
            (root / directory).mkdir()
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ()
        (root / "new" / "x").write_text("")
        (root / "far" / "x").write_text("")
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ("x",)
        (root / "new" / "y").write_text("")
        (root / "far" / "y").write_text("")
        until(lambda: db.get(names_in, "new") == db.get(names_in, "link") == ("x", "y"))


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_no_file_name_ends_the_watch(root: Path, mode: str) -> None:
    names = [
        b"caf\xe9.txt",
        b"new\nline.txt",
        b"esc\x1b[31m.txt",
        b"x" * 251 + b".txt",
        b"-rf",
        b" ",
        b"\xff",
    ]
    with watching(root, **MODES[mode]) as (db, watch, _):
        for name in names:
            try:
                with open(os.fsencode(root / "a") + b"/" + name, "wb") as file:
                    file.write(b"strange")
            except OSError as error:
                if error.errno != errno.EILSEQ:  # a file system that refuses such names
                    raise
            (root / "top.txt").write_text(f"{name!r}")
            check(db, root)
        assert sum(value == "strange" for _, value in db.get(tree)) == len(names)
        (root / "top.txt").write_text("an edit as usual")
        until_equal(db, root)
        assert not watch.ended


def test_a_name_that_kills_watchfiles_costs_at_most_one_restart_a_second(root: Path) -> None:
    made: list[float] = []

    def backend(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
        made.append(time.monotonic())
        return KernelBackend(cookies, suggest, fail)

    strange = os.fsencode(root / "a") + b"/caf\xe9.txt"
    began = time.monotonic()
    with watching(root, backend=backend) as (db, _, told):
        for number in range(60):
            with open(strange, "wb") as file:
                file.write(b"%d" % number)
            time.sleep(0.02)
        until_equal(db, root)
        until(lambda: told.of(Watching)[-1].state == "live", "live again")
    assert 2 <= len(made) <= 1 + (made[-1] - began) / file_watcher.RESTART_SECONDS, made


@pytest.mark.parametrize("mode", MODES)
def test_directories_with_such_names_are_watched_by_looking(root: Path, mode: str) -> None:
    strange = os.fsencode(root) + b"/caf\xe9"
    with (
        watching(root, **MODES[mode], poll_seconds=0.1)
        if mode != "scanning"
        else watching(root, **MODES[mode]) as (db, _, _)
    ):
        os.mkdir(strange)
        with open(strange + b"/one.txt", "w") as file:
            file.write("first")
        check(db, root)
        with open(strange + b"/one.txt", "w") as file:
            file.write("second")
        until_equal(db, root)
        with open(strange + b"/one.txt", "w") as file:
            file.write("third")
        check(db, root)


@pytest.mark.parametrize("mode", MODES)
def test_a_root_with_such_a_name_is_watched_by_looking(tmp_path: Path, mode: str) -> None:
    strange = tmp_path / "caf\udce9"
    strange.mkdir()
    root = planted(strange / "root")
    with watching(root, store=root / ".engine", **MODES[mode]) as (db, _, told):
        (root / "top.txt").write_text("first")
        check(db, root)
        (root / "top.txt").write_text("second")
        until_equal(db, root)
        (root / "b" / "new.txt").write_text("third")
        check(db, root)
        assert not told.of(Trouble)


# -- the root --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_root_that_is_gone_is_told_and_refused_and_comes_back(root: Path, mode: str, how: str) -> None:
    away = root.with_name("away")
    with watching(root, **MODES[mode]) as (db, watch, told):
        shutil.copytree(root, away, symlinks=True)
        shutil.rmtree(root)
        if how == "renamed":
            away.rename(root)
            check(db, root)
            root.rename(away)
        until(lambda: [one for one in told.of(Trouble) if "root is gone" in one.cause], "the trouble")
        with pytest.raises(RootGone):
            db.sync()
        assert watch.progress().state == "doubtful"
        away.rename(root)
        (root / "top.txt").write_text("while it was away")
        until(lambda: "the root was replaced" in " ".join(told.reasons()), "the root is noticed")
        check(db, root)
        (root / "a" / "one.txt").write_text("after it came back")
        until_equal(db, root)


@pytest.mark.parametrize("mode", MODES)
def test_a_root_that_is_replaced_at_once_is_noticed(root: Path, tmp_path: Path, mode: str) -> None:
    other = planted(tmp_path / "other")
    (other / "top.txt").write_text("another tree")
    with watching(root, **MODES[mode]) as (db, _, _):
        root.rename(tmp_path / "old")
        other.rename(root)
        until_equal(db, root)
        (root / "a" / "deep" / "two.txt").write_text("edited")
        until_equal(db, root)


def test_a_root_that_is_made_again_under_its_old_number_is_noticed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watcher, "_identity", lambda root: (1, 1) if os.path.isdir(root) else None)
    with watching(root) as (db, _, _):
        shutil.rmtree(root)
        root.mkdir()
        (root / "new.txt").write_text("new")
        until_equal(db, root)
        (root / "new.txt").write_text("newer")
        until_equal(db, root)


def test_a_root_behind_a_link_that_is_turned_is_noticed(root: Path, tmp_path: Path) -> None:
    other = planted(tmp_path / "other")
    (other / "top.txt").write_text("the other tree")
    link = tmp_path / "current"
    link.symlink_to(root)
    with watching(link) as (db, _, _):
        (root / "top.txt").write_text("edited under its real name")
        check(db, link)
        turned = tmp_path / "turned"
        turned.symlink_to(other)
        turned.replace(link)
        until_equal(db, link)
        (other / "b" / "two.txt").write_text("edited in the other tree")
        until_equal(db, link)
