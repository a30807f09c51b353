"""Links under a watch: what is read through them is followed under its real name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE, until
from tests.watch_modes import MODES, check
from tests.watch_world import planted, text, tree, until_equal, watching


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "root")


# -- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_read_through_links_is_followed_under_its_real_name(root: Path, mode: str) -> None:
    (root / "link").symlink_to("a")
    (root / "b" / "up").symlink_to("../link/deep")
    (root / "l.txt").symlink_to("b/up/two.txt")
    paths = ("link/one.txt", "b/up/two.txt", "l.txt", "link/deep/two.txt", "a/one.txt", "a/deep/two.txt")
    with watching(root, *(text.key(path) for path in paths), **MODES[mode]) as (db, _, told):
        (root / "a" / "one.txt").write_text("one again")
        db.sync()
        assert db.get(text, "link/one.txt") == db.get(text, "a/one.txt") == "one again"
        (root / "a" / "deep" / "two.txt").write_text("two again")
        db.sync()
        assert {db.get(text, path) for path in paths if "one" not in path} == {"two again"}
        until(lambda: "text('l.txt')" in told.names())
        (root / "link").unlink()
        (root / "link").symlink_to("b")
        (root / "b" / "one.txt").write_text("the other one")
        db.sync()
        assert db.get(text, "link/one.txt") == "the other one"
        assert db.get(text, "l.txt") == "<dangling link>"
        (root / "b" / "one.txt").write_text("and edited")
        until(lambda: db.get(text, "link/one.txt") == "and edited")
        (root / "b" / "deep").mkdir()
        (root / "b" / "deep" / "two.txt").write_text("reached again")
        until(lambda: db.get(text, "l.txt") == "reached again")


@pytest.mark.parametrize("target", ["{root}/link/../two.txt", "../link/../two.txt"])
def test_a_way_up_from_a_link_is_followed_to_where_the_link_leads(root: Path, target: str) -> None:
    (root / "a" / "two.txt").write_text("beside what the link reaches")
    (root / "two.txt").write_text("what the text of the path says")
    (root / "link").symlink_to("a/deep")
    (root / "b" / "l.txt").symlink_to(target.format(root=root))
    with watching(root, text.key("b/l.txt"), poll_seconds=PATIENCE) as (db, _, _):
        assert db.get(text, "b/l.txt") == "beside what the link reaches"
        (root / "a" / "two.txt").write_text("edited")
        db.sync()
        assert db.get(text, "b/l.txt") == "edited"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", ["a file", "nothing", "a directory"])
def test_what_becomes_a_link_is_followed_from_then_on(root: Path, mode: str, before: str) -> None:
    place = root / "b" / "two.txt"
    (root / "new").mkdir()
    (root / "new" / "one.txt").write_text("first")
    with watching(root, text.key("b/two.txt"), **MODES[mode]) as (db, _, _):
        db.sync()
        place.unlink()
        if before == "nothing":
            db.sync()
        if before == "a directory":
            place.mkdir()
            db.sync()
            place.rmdir()
        place.symlink_to("../new/one.txt")
        db.sync()
        assert db.get(text, "b/two.txt") == "first"
        for content in ("second", "third"):
            (root / "new" / "one.txt").write_text(content)
            db.sync()
            assert db.get(text, "b/two.txt") == content
        (root / "new" / "one.txt").write_text("without a sync")
        until(lambda: db.get(text, "b/two.txt") == "without a sync")


@pytest.mark.parametrize("mode", MODES)
def test_links_out_of_the_root_and_in_circles_are_answers(root: Path, tmp_path: Path, mode: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.txt").write_text("outside")
    (root / "link").symlink_to(outside)
    (root / "l.txt").symlink_to("l.txt")
    (root / "b" / "loop").symlink_to("..")
    with watching(root, **MODES[mode]) as (db, _, _):
        check(db, root)
        assert db.get(text, "link/one.txt") == "<outside root>"
        assert db.get(text, "l.txt") == "<link loop>"
        assert len(db.get(tree)) == 5
        (root / "link").unlink()
        (root / "link").mkdir()
        (root / "link" / "one.txt").write_text("inside now")
        check(db, root)
        (root / "link" / "one.txt").write_text("inside, edited")
        until_equal(db, root)
        assert db.get(text, "link/one.txt") == "inside, edited"


def test_a_link_that_leads_out_and_in_again_is_looked_at_every_second(root: Path, tmp_path: Path) -> None:
    (tmp_path / "back").symlink_to(root / "a")
    (root / "link").symlink_to(tmp_path / "back")
    with watching(root, poll_seconds=0.1) as (db, _, _):
        assert db.get(text, "link/one.txt") == "a/one.txt at first"
        (root / "a" / "one.txt").write_text("edited under its real name")
        until(lambda: db.get(text, "link/one.txt") == "edited under its real name")
        (root / "a" / "one.txt").write_text("and again")
        check(db, root)


@pytest.mark.parametrize("mode", MODES)
def test_a_write_by_one_name_of_a_file_is_seen_by_those_who_know_it_by_another(root: Path, mode: str) -> None:
    (root / "b" / "hard.txt").hardlink_to(root / "a" / "one.txt")
    (root / "l.txt").symlink_to("b/hard.txt")
    with watching(root, text.key("a/one.txt"), text.key("l.txt"), **MODES[mode]) as (db, watch, told):
        for number in range(4):
            if number == 2:  # till now they were read a moment ago each time, and had no stamp to go by
                time.sleep(2.1)
                watch.sync(crawl=True)
            (root / "b" / "hard.txt").write_text(f"text {number}")
            db.sync()
            assert db.get(text, "a/one.txt") == db.get(text, "l.txt") == f"text {number}"
        until(lambda: "text('a/one.txt')" in told.names())
