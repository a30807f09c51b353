"""The examples do what they say of themselves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.shown import CHECKOUT, LIMIT_S, environment, run
from tests.watch_process import save


def test_hello_runs_what_its_comment_says(tmp_path: Path) -> None:
    assert run([sys.executable, CHECKOUT / "examples" / "01_hello.py"], tmp_path).splitlines() == [
        "  (greeting runs)",
        "  (polite runs)",
        "Hello, World!",
        "  (polite runs)",
        "  (greeting runs)",
        "Hello, Ada!",
        "  (polite runs)",
        "Hello, Ada!",
    ]


def test_the_spreadsheet_cuts_off_reports_a_circle_and_recovers(tmp_path: Path) -> None:
    said = run([sys.executable, CHECKOUT / "examples" / "02_spreadsheet.py"], tmp_path)
    assert "    cut off  is_large('B1')\nB1 is 143 - large: True" in said
    assert "A1') -> 02_spreadsheet:value('B1') -> 02_spreadsheet:value('A3') -> 02" in said
    assert said.endswith("B1 is 123\n")


def test_the_site_writes_the_pages_that_are_others_and_removes_those_that_are_gone(tmp_path: Path) -> None:
    folder, out = tmp_path / "texts", tmp_path / "out"
    folder.mkdir()
    for name, text in {
        "one.md": "# One\nsee [two](two.md) and {{part.txt}}\n",
        "two.md": "# Two\n{{part.txt}}\n",
        "three.md": "# Three\na < b\n",
        "part.txt": "a part",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    command: list[str | Path] = [sys.executable, CHECKOUT / "examples" / "03_site.py", folder, out]

    def build(name: str = "", text: str = "") -> str:
        if name:
            save(folder / name, text)
        return run(command, tmp_path)

    assert build().startswith("4 written, 0 removed, ")
    assert (out / "one.html").read_text() == '<pre># One\nsee <a href="two.html">two</a> and a part\n</pre>\n'
    assert "a &lt; b" in (out / "three.html").read_text()
    assert build().startswith("0 written, 0 removed, 0 queries ran")
    assert build("part.txt", "another part").startswith("2 written, 0 removed, ")
    assert build("three.md", "# Three\nb > a\n").startswith("1 written, 0 removed, ")  # not the contents
    assert build("two.md", "# 2\n{{gone.txt}}\n").startswith("2 written, 0 removed, ")
    assert "(gone.txt cannot be read)" in (out / "two.html").read_text()
    (folder / "two.md").unlink()
    said = build()
    assert said.startswith("1 written, 1 removed, ")
    assert "one.md: two.md is not there\n" in said
    assert build("template.html", "<b>BODY</b>").startswith("3 written, 0 removed, ")
    shutil.rmtree(out)
    assert build().startswith("3 written, 0 removed, 0 queries ran")
    assert sorted(path.name for path in out.iterdir()) == [
        ".position",
        "index.html",
        "one.html",
        "three.html",
    ]


def test_of_tests_as_queries_those_run_that_reach_what_was_edited(tmp_path: Path) -> None:
    for name, text in {
        "low.py": "def f():\n    return 1\n",
        "high.py": "import low\n\ndef g():\n    return low.f()\n",
        "test_high.py": "import high\n\ndef test_g():\n    assert high.g() == 1\n",
        "test_low.py": "import low\n\ndef test_f():\n    assert low.f()\n",
        "test_alone.py": "def test():\n    pass\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-B", CHECKOUT / "examples" / "06_tests.py", tmp_path]

    def after(text: str) -> str:
        save(tmp_path / "low.py", text)
        return run(command, tmp_path)

    assert run(command, tmp_path) == "3 of 3 test files ran, 3 pass\n"
    assert after("# why\ndef f():\n    return 1\n") == "0 of 3 test files ran, 3 pass\n"
    said = after("def f():\n    return 2\n")
    assert "assert high.g() == 1" in said
    assert said.endswith("2 of 3 test files ran, 2 pass\n")
    assert after("def f():\n    return 1\n") == "0 of 3 test files ran, 3 pass\n"  # known from before


def test_the_watch_tells_of_an_edit_until_it_is_interrupted(tmp_path: Path) -> None:
    # The example counts lines with TODO.
    (tmp_path / "one.py").write_text("# TODO sweep\n", encoding="utf-8")
    with running("05_watch.py", tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1 lines,")
        save(tmp_path / "one.py", "# TODO sweep\n# TODO mop\n")
        while not (said := process.stdout.readline()).startswith("2 lines,"):
            assert said, "it ended"
        assert "todos_in('one.py')" in said
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0


def test_an_editor_is_told_the_problems_of_open_files_whatever_was_edited_for_that(tmp_path: Path) -> None:
    (tmp_path / "low.py").write_text("LOW = 1\ndef f(): pass\n", encoding="utf-8")
    with running("07_editor.py", tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown: dict[str, list[str]] = {}

        def shows(path: str, text: str | None, *problems: str, of: str = "a.py") -> None:
            print(json.dumps({"path": path, "text": text}), file=process.stdin, flush=True)
            told(of, *problems)

        def told(path: str, *problems: str) -> None:
            assert process.stdout is not None
            while shown.get(path) != list(problems):
                said = json.loads(process.stdout.readline())  # of nothing, when it was killed
                shown[said["path"]] = said["problems"]

        shows("a.py", "from low import f, g", "1: no g in low.py")
        shows("a.py", "from low import *\nfrom low import LOW, g", "2: no g in low.py")
        shows("a.py", "from low import f, g", "1: no g in low.py")
        shows("low.py", "def g(): pass", "1: no f in low.py")  # not saved, and another file's problem
        shows("new.py", "def h(): pass", of="new.py")  # it is on no disk
        shows("a.py", "from new import h, i", "1: no i in new.py")
        shows("new.py", "def h(:", "1: invalid syntax", of="new.py")
        told("a.py")
        shows("a.py", "from low import f, g", "1: no f in low.py")
        shows("low.py", None, "1: no g in low.py")  # closed: what is saved counts again
        save(tmp_path / "low.py", "def f(): pass\ndef g(): pass\n")
        told("a.py")
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0


@contextmanager
def running(name: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """An example at work on a folder. It ends with the test, whatever that comes to."""
    command: list[str | Path] = [sys.executable, "-u", CHECKOUT / "examples" / name, place]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(place), stdin=pipe, stdout=pipe, text=True) as process:
        late = threading.Timer(LIMIT_S, process.kill)
        late.start()
        try:
            yield process
        finally:
            late.cancel()
            process.kill()
