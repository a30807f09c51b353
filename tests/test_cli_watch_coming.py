"""Commands that find the store taken by a watch which does not answer yet, or which goes amid their work."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.cli import remote
from tests.commands import commands_in
from tests.watch_process import HELPER, Asked, Watching, place, save

__all__ = ["place"]  # a fixture

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


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_who_finds_the_store_taken_by_a_watch_that_begins_is_answered_by_it(
    place: Path, command: list[str]
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
        found = Asked(place, *command)
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

        def at_the_end(*asked: Any) -> Any:
            watch.ends(signal.SIGINT)
            return value(*asked)

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
