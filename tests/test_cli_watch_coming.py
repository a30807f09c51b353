"""Commands that find the store taken by a watch which does not answer yet, or which goes amid their work."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.__main__ import answer as command
from engine.cli import remote, search
from engine.cli.answers import answer
from engine.cli.remote import Alone, engine_unless_watched
from engine.cli.session import settings_of
from engine.watch import client
from engine.watch.server import Served
from engine.watch.wire import Message
from tests.commands import commands_in
from tests.watch_process import HELPER, PATIENT, Asked, Watching, place, save
from tests.watch_serving import Serving, project, serving

__all__ = ["place", "project", "serving"]  # fixtures

SLOWLY = """\
import time
from engine import query
from engine.cli import serving
listen = serving.listen
def slowly(path):
    time.sleep(0.4)
    return listen(path)
serving.listen = slowly
@query
def one() -> int:
    return 1
"""
COMMANDS = (
    ["run", "rules.py:total"],
    ["changes", "rules.py:total", "--cursor", "test"],
    ["search", "extra"],
)


@pytest.mark.parametrize("asked", COMMANDS, ids=lambda asked: str(asked[0]))
def test_who_finds_the_store_taken_by_a_watch_that_begins_is_answered_by_it(
    place: Path, asked: list[str]
) -> None:
    """Also where the socket of one that was killed lies there."""
    (place / "slow.py").write_text(SLOWLY)
    with Watching(place, "slow.py:one") as watch:
        watch.ready()
        watch.ends(signal.SIGKILL)
    lock = place / ".engine" / "lock"
    dead = lock.read_text()
    with Watching(place, "slow.py:one") as watch:
        watch.until(lambda: lock.read_text() not in ("", dead))
        found = Asked(place, *asked, start=PATIENT)
        assert (found.code, bool(found.out)) == (0, True), found.err
        assert "note" not in found.err
        watch.ready()
        assert watch.ends(signal.SIGINT) == 130


def test_a_search_tells_where_definitions_are_also_if_the_watch_goes_amid_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save(place / "helper.py", "\n\n" + HELPER)
    value = remote.value
    with commands_in(place, monkeypatch, capfd) as run, Watching(place, "total") as watch:
        watch.ready()

        def at_the_end(*asked: Any, quiet: bool) -> Any:
            watch.ends(signal.SIGINT)
            return value(*asked, quiet=quiet)

        monkeypatch.setattr(remote, "value", at_the_end)
        found = run("search", "name:extra")
    assert (found.code, found.out) == (0, "helper.py:3  function extra\n"), found.err


def test_a_search_does_its_work_by_itself_where_the_watch_waits_for_rules(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "rules.py", "def (:\n")
        watch.says("the watch waits until that changes")
        found = Asked(place, "search", "name:extra", "--json")
        assert found.code == 0, found.err
        assert [one["path"] for one in json.loads(found.out)["found"]] == ["helper.py"]
        assert watch.ends(signal.SIGINT) == 130


def test_who_was_answered_for_long_waits_for_the_store_when_the_watch_goes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only as long as for a watch that begins, counted from when the command did."""
    settings = settings_of({})
    left = [Alone(), Alone(), Alone(leaving=True)]
    clock = time.monotonic
    with Engine(settings.store) as holder, ExitStack() as stack:

        def ask() -> Alone | None:
            monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)
            if len(left) == 1:
                holder.close()
            return left.pop()

        monkeypatch.setattr(remote, "PATIENCE_SECONDS", 60)
        found = engine_unless_watched(settings, stack, Alone(), ask, patience=60)
        assert isinstance(found, Engine)
        assert left == []


def test_a_search_ends_where_a_watch_answers_all_but_what_it_asks(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    dropped = 0

    def dropping(request: Message, served: Served) -> Generator[Message, None, None]:
        nonlocal dropped
        if request["do"] == "changes" and dropped < 20 * client.LOSSES:
            dropped += 1
            return
        yield from answer(request, served)

    serving.server.answer = dropping
    monkeypatch.setattr(search, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(remote, "_TOLD", set())
    assert command(["search", "extra"]) == 75
    said = capfd.readouterr().err
    assert said.count("note: the watch of this store is not asked: the connection was lost") == 1
    assert "Wait for it to end." in said
