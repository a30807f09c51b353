"""What a restart costs, and what it must notice."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from engine import Engine
from engine.rules.files import read_text
from tests.line_counts import lines, opened, report, root, setting
from tests.watching import Watch

__all__ = ["root"]  # a fixture


def test_a_restart_with_nothing_changed_executes_nothing(root: Path) -> None:
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "12 lines, setting 0"
        assert watch.ran == []
        assert db.counts().visited == 0
        assert db.revision == 1


def test_a_restart_after_an_edit_executes_only_what_changed(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    (root / "2.txt").write_text("1\n2\n3\n4\n")
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "14 lines, setting 0"
        assert watch.ran == ["lines('2.txt')", "total()", "report()"]


def test_a_restart_after_an_edit_that_changes_no_value_is_cut_off(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    (root / "2.txt").write_text("other\nwords\n")
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        assert watch.ran == watch.cut == ["lines('2.txt')"]
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        assert watch.ran == []


def test_a_change_that_nobody_asked_about_survives_a_restart(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
        db.set(setting.key("x"), 7)
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "12 lines, setting 7"
        assert watch.ran == ["report()"]


def test_content_equal_but_touched_starts_no_revision(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    os.utime(root / "3.txt", ns=(1, 1))
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"
        assert db.revision == 1
        assert db.counts().executed == 0


PROGRAM = """
from engine import Engine, input, query
import sys

@input
def number() -> int:
    return 3

def helper(value):
    return value {operator} 2

@query
def low() -> int:
    return helper(number())

@query
def high() -> str:
    return f"<{{low()}}>"

with Engine(sys.argv[1]) as db:
    ran = []
    db.listen(lambda event: event.key is not None and ran.append(f"{{event.what.value}} {{event.key}}"))
    print(db.get(high), sorted(line for line in ran if not line.startswith("read")))
"""


def run_program(folder: Path, operator: str) -> str:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(PROGRAM.format(operator=operator)))
    command = [sys.executable, str(script), str(folder / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_changed_helper_runs_its_query_again_and_readers_only_if_values_change(tmp_path: Path) -> None:
    assert run_program(tmp_path, "+") == "<5> ['executed program:high()', 'executed program:low()']"
    assert run_program(tmp_path, "+") == "<5> []"
    assert run_program(tmp_path, "- -") == "<5> ['cut off program:low()']"
    assert run_program(tmp_path, "*") == "<6> ['executed program:high()', 'executed program:low()']"


def test_why_says_that_a_file_changed_also_after_it_was_read_for_its_value_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(lines, "a.txt")
        (tmp_path / "a.txt").write_text("one\ntwo\n")
        db.sync()
        assert db.get(lines, "a.txt") == 2
        assert "changed in R2 (the world changed)" in str(db.why(lines, "a.txt"))
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(read_text, "a.txt") == "one\ntwo\n"  # not stored: read once more
        assert "changed in R2 (the world changed)" in str(db.why(lines, "a.txt"))
