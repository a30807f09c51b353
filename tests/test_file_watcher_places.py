"""An event at a place means what inputs look at there, and every such place is covered."""

from __future__ import annotations

import shutil

import pytest

from engine.rules.directories import listing
from engine.watch import coverage
from engine.watch.coverage import SECOND_LOOK_SECONDS
from tests.watcher_rig import Rig, rig

__all__ = ["rig"]


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("a/one.txt", {"read_text a/one.txt", "listing a"}),
        ("a/nobody.txt", {"listing a"}),
        ("ignored/x.txt", set()),
        ("x", {"listing ", "read_text x/y/z.txt"}),
        ("x/y", {"read_text x/y/z.txt"}),
        ("a/deep", {"listing a", "listing a/deep", "read_text a/deep/two.txt"}),
        ("", {"listing "}),
    ],
)
def test_a_place_means_what_is_there_below_it_and_its_directory(
    rig: Rig, place: str, found: set[str]
) -> None:
    rig.started()
    assert {name for name in rig.looked_at(place) if ".gitignore" not in name} >= found
    if "one" in place or "nobody" in place:
        assert "read_text top.txt" not in rig.looked_at(place)


def test_paths_outside_of_the_root_mean_nothing(rig: Rig) -> None:
    rig.started()
    rig.hand.say(f"{rig.root}x/a/one.txt", "/", f"{rig.root.parent}")
    batch = rig.take()
    assert batch is not None
    assert batch.paths == ()


def test_a_new_directory_is_covered_and_looked_at_twice(rig: Rig) -> None:
    rig.started()
    (rig.root / "x" / "y").mkdir(parents=True)
    assert "read_text x/y/z.txt" in rig.looked_at("x")
    assert {f"{rig.root}/x", f"{rig.root}/x/y"} <= set(rig.hand.covered)
    batch = rig.after(SECOND_LOOK_SECONDS - 0.1)
    assert batch is not None
    assert not batch.nodes
    batch = rig.after(0.5)
    assert batch is not None
    assert "read_text x/y/z.txt" in rig.names(batch.nodes)
    assert not batch.crawl


def test_what_is_in_very_many_new_directories_is_looked_at_with_everything(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "HUGE_BATCH", 1)
    rig.started()
    (rig.root / "x" / "y").mkdir(parents=True)
    rig.looked_at("x")
    batch = rig.take()
    assert batch is not None
    assert batch.crawl == "2 directories came to be watched"


@pytest.mark.parametrize("place", ["", "a/one.txt", "a/nobody.txt", "ignored", "ignored/x.txt"])
def test_an_event_that_replaces_no_directory_covers_nothing_anew(rig: Rig, place: str) -> None:
    rig.started()
    before = len(rig.hand.calls)
    rig.looked_at(place)
    assert len(rig.hand.calls) == before


def test_a_directory_that_came_without_an_event_is_found_by_polling(rig: Rig) -> None:
    rig.started()
    (rig.root / "x" / "y").mkdir(parents=True)
    batch = rig.after(1.5)
    assert batch is not None
    assert "read_text x/y/z.txt" in rig.names(batch.nodes)
    assert f"{rig.root}/x/y" in rig.hand.covered


def test_a_replaced_directory_is_covered_anew(rig: Rig) -> None:
    rig.started()
    shutil.rmtree(rig.root / "a")
    rig.looked_at("a")
    assert f"{rig.root}/a" not in rig.hand.covered
    assert f"{rig.root}/a/deep" not in rig.hand.covered
    (rig.root / "a" / "deep").mkdir(parents=True)
    rig.looked_at("a")
    assert f"{rig.root}/a/deep" in rig.hand.covered


def test_what_a_query_came_to_read_is_covered_and_looked_at_once_more(rig: Rig) -> None:
    rig.started()
    (rig.root / "new").mkdir()
    (rig.root / "new" / "n.txt").write_text("n")
    rig.ask("new/n.txt")
    rig.ask("a/nobody.txt")
    rig.files.cover()
    assert f"{rig.root}/new" in rig.hand.covered
    batch = rig.take()
    assert batch is not None
    assert rig.names(batch.nodes) >= {"read_text new/n.txt", "read_text a/nobody.txt"}


def test_directories_above_what_a_query_came_to_read_are_covered(rig: Rig) -> None:
    rig.started()
    (rig.root / "new" / "mid" / "deep").mkdir(parents=True)
    rig.ask("new/mid/deep/n.txt")
    rig.files.cover()
    assert {f"{rig.root}/{path}" for path in ("new", "new/mid", "new/mid/deep")} <= set(rig.hand.covered)


def test_what_was_covered_when_the_watch_was_made_is_not_asked_for_once_more(rig: Rig) -> None:
    rig.started()
    (rig.root / "new").mkdir()
    rig.ask("new/n.txt")
    rig.files.cover()
    assert rig.hand.calls[-1] == (f"{rig.root}/new",)


@pytest.mark.parametrize("when", ["before", "later"])
def test_an_empty_directory_is_covered_for_its_listing(rig: Rig, when: str) -> None:
    (rig.root / "empty").mkdir()
    if when == "later":
        rig.started()
    rig.db.get(listing, "empty")
    if when == "later":
        rig.files.cover()
    else:
        rig.crawl()
    assert f"{rig.root}/empty" in rig.hand.covered


def test_what_was_read_just_now_is_found_by_a_hint(rig: Rig) -> None:
    rig.started()
    rig.ask("a/nobody.txt")
    assert "read_text a/nobody.txt" in rig.looked_at("a/nobody.txt")


def test_what_get_reads_outside_of_the_watch_is_covered_soon(rig: Rig) -> None:
    rig.started()
    (rig.root / "new").mkdir()
    rig.ask("new/n.txt")
    rig.files.step()
    assert f"{rig.root}/new" not in rig.hand.covered, "while much is read it would be covered in pieces"
    rig.files.step()
    assert f"{rig.root}/new" in rig.hand.covered


@pytest.mark.parametrize("place", ["a/one.txt", "b", "x/y"])
def test_a_place_that_became_a_link_has_all_places_listed_anew_and_nothing_else_has(
    rig: Rig, place: str
) -> None:
    """Also where what it leads to is equal: what happens there later has to be heard of."""
    (rig.root / "x" / "y").mkdir(parents=True)
    rig.started()
    (rig.root / "top.txt").unlink()
    (rig.root / "nobody").symlink_to("a")
    rig.say("", "top.txt", "nobody", "a/nobody.txt", "a")
    assert not rig.files.places.stale
    (rig.root / place).rename(rig.root / "away")
    (rig.root / place).symlink_to(rig.root / "away")
    rig.say(place)
    assert rig.files.places.stale


def test_where_an_input_differs_since_its_place_leads_elsewhere_all_places_are_listed_anew(rig: Rig) -> None:
    """No event had told of the link: it was lost, and a crawl found the difference."""
    rig.started()
    nodes, graph = rig.files.nodes_of(["a/one.txt"]), rig.db._core.graph
    rig.files.differ(nodes, graph)
    batch = rig.take()
    assert batch is not None
    assert batch.crawl == ""
    shutil.rmtree(rig.root / "a")
    (rig.root / "a").symlink_to("b")
    rig.files.differ(nodes, graph)
    assert "read_text a/one.txt" in rig.looked_at("b/one.txt")
    assert f"{rig.root}/a/deep" not in rig.hand.covered
    batch = rig.take()
    assert batch is not None
    assert batch.crawl == "the places of inputs were listed anew"


def test_directories_that_are_in_no_list_any_more_do_not_count_as_without_a_watch(rig: Rig) -> None:
    rig.hand.most = 0
    rig.crawl()
    assert rig.files.directories() == 0
    shutil.rmtree(rig.root / "a")
    (rig.root / "a").symlink_to("b")
    rig.say("a")
    rig.files.cover()
    assert rig.files.directories() == 0


def test_a_directory_that_became_a_link_is_looked_at_under_its_new_meaning(rig: Rig) -> None:
    rig.started()
    shutil.rmtree(rig.root / "a")
    (rig.root / "a").symlink_to("b")
    (rig.root / "b" / "one.txt").write_text("reached")
    rig.say("a")
    batch = rig.take()
    assert batch is not None
    rig.files.nodes_of(batch.paths)
    assert "read_text a/one.txt" in rig.looked_at("b/one.txt")
    (rig.root / "a").unlink()
    (rig.root / "a" / "deep").mkdir(parents=True)
    rig.say("a")
    batch = rig.take()
    assert batch is not None
    assert "read_text a/one.txt" in rig.looked_at(*batch.paths)
    assert f"{rig.root}/a/deep" in rig.hand.covered
