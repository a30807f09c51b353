"""Commands where no watch answers: there is none, or it cannot, or it may not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine import Engine
from engine.cli import remote
from engine.cli.answers import answer
from engine.watch import client, wire
from engine.watch.client import NotServed, ask
from engine.watch.server import Server
from engine.watch.unix_socket import listen, withdraw
from tests.patience import until
from tests.watch_serving import (
    ROOT,
    SCRIPT,
    START,
    Fake,
    Serving,
    by_watch,
    exchange,
    project,
    request_of,
    run,
    serving,
)

__all__ = ["project", "serving"]  # fixtures


# -- no watch, or none that can answer ---------------------------------------------------------


def test_without_a_socket_nothing_of_serving_is_imported(project: Path) -> None:
    program = START.format(str(ROOT)).replace("main()", "answer(['run', 'rules.py:none'])")
    program = program.replace("import main;", "import answer;")
    program += "\nprint(*sorted(name for name in sys.modules if name.startswith('engine.watch')))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=600)
    assert found.stdout == "None\n\n", found.stderr
    assert remote.SOCKET == wire.SOCKET


def test_a_served_client_imports_no_engine_no_rules_and_no_database(serving: Serving) -> None:
    program = START.format(str(ROOT)).replace("main()", "invoke(['run', 'rules.py:none'])")
    program = program.replace("from engine.__main__ import main;", "from engine.cli import invoke;")
    program += (
        "\nprint(*sorted({'engine.database', 'engine.core', 'engine.modules.load', 'rules', 'sqlite3', "
    )
    program += "'msgspec', 'engine.cli.report', 'rich', 'asyncio'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=600)
    assert found.stdout == "None\n\n", found.stderr
    assert by_watch(found)


def test_a_socket_that_nobody_listens_on_is_as_none(project: Path) -> None:
    store = project / ".engine"
    assert run("run", "rules.py:none").returncode == 0
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.path.relpath(wire.socket_path(store)))  # an address has 107 bytes
    for command in (("run", "rules.py:none", "-q"), ("why", "rules.py:none"), ("status",)):
        found = run(*command)
        assert (found.returncode, found.stderr) == (0, ""), command
    (store / wire.SOCKET).unlink()
    (store / wire.SOCKET).write_text("not a socket")
    assert (run("run", "rules.py:none", "-q")).stderr == ""


def test_nobody_answering_costs_a_moment_and_looking_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from engine.__main__ import answer as command

    store = project / ".engine"
    assert run("run", "rules.py:report").returncode == 0
    monkeypatch.setattr(remote, "_TOLD", set())
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.2)
    with listen(wire.socket_path(store)):
        assert command(["deps", "rules:report()"]) == 0
        out, err = capfd.readouterr()
        assert out == "rules:lines('a.txt')\nrules:lines('b.txt')\n"
        assert err == "note: the watch of this store is not asked: it does not answer\n"
        with Engine(store):
            assert command(["run", "rules.py:report"]) == 75
        assert "The watch that holds it does not answer: stop it." in capfd.readouterr().err


def test_a_watch_of_another_version_is_not_asked_and_named_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wire, "difference", lambda request: "engine 0.0.9, not 0.1.0")
    note = "note: the watch of this store is not asked: it is of another version (engine 0.0.9, not 0.1.0)\n"
    found = run("run", "rules.py:none")
    assert found.returncode == 75
    assert found.stderr.startswith(note)
    assert "A watch of another version holds the store: stop it." in found.stderr
    found = run("status")
    assert (found.returncode, found.stderr) == (0, note)
    assert serving.fake.synced == []


@pytest.mark.parametrize("field", ["version", "engine", "python", "prefix"])
def test_both_sides_have_everything_in_common_that_an_answer_depends_on(serving: Serving, field: str) -> None:
    found = exchange(serving.store, wire.encoded({**wire.identity(), field: "other", **request_of("none")}))
    assert found == [{"refused": found[0]["refused"], "because": "version"}]
    assert found[0]["refused"].endswith(f"other, not {wire.identity()[field]}")


@pytest.mark.parametrize("reply", [b"garbage\n", b"[]\n", b"\xff\xfe\x00\n"])
def test_an_answer_that_cannot_be_read_is_of_another_version(project: Path, reply: bytes) -> None:
    def reply_once(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1 << 16)
            accepted.sendall(reply)

    with listen(wire.socket_path(project)) as listener:
        thread = threading.Thread(target=reply_once, args=(listener,))
        thread.start()
        with pytest.raises(NotServed, match="another version"):
            ask(project, {"do": "status"})
        thread.join()


def test_another_root_is_refused(serving: Serving, project: Path) -> None:
    other = project / "other"
    other.mkdir()
    found = run("run", "rules.py:none", "--root", "other", "--store", ".engine")
    assert (found.returncode, found.stdout) == (75, "")
    assert "it works elsewhere (root " in found.stderr
    assert serving.fake.synced == []


def test_a_watch_that_ends_amid_a_request_leaves_the_work_to_the_command(project: Path) -> None:
    store = project / ".engine"
    db = Engine(store, root=project)
    fake = Fake(db)
    listener = listen(wire.socket_path(store))
    serves = Server(listener, fake, answer)
    command = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:gated"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: fake.synced == [False] and "rules" in sys.modules)
    serves.close()
    withdraw(listener, wire.socket_path(store))
    db.close()
    (project / "go").touch()
    out, err = command.communicate(timeout=600)
    assert (command.returncode, out) == (0, "1\n"), err
    assert "by the watch" not in err


def test_a_stopping_engine_is_not_an_error_of_the_query(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.1)
    serving.fake.db.stop()
    with pytest.raises(NotServed, match="the watch is ending"):
        ask(serving.store, request_of("none"))
    serving.fake.db.close()
    with pytest.raises(NotServed, match="the watch is ending"):
        ask(serving.store, request_of("none"))


def test_a_lost_connection_is_not_tried_for_ever(project: Path) -> None:
    taken = 0

    def drop(listener: socket.socket) -> None:
        nonlocal taken
        while taken < client.LOSSES:
            listener.accept()[0].close()
            taken += 1

    with listen(wire.socket_path(project)) as listener:
        thread = threading.Thread(target=drop, args=(listener,))
        thread.start()
        with pytest.raises(NotServed, match="the connection was lost"):
            ask(project, {"do": "status"})
        thread.join()
    assert taken == client.LOSSES
