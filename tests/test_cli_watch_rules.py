"""`engine watch` takes changed rules over: in the same process, with what it has and who it serves."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine import Engine
from tests.watch_process import (
    HELPER,
    ROOT,
    RULES,
    SCRIPT,
    TRIPLED,
    Asked,
    Watching,
    environment,
    place,
    save,
    take_log,
)

__all__ = ["place"]  # a fixture

REPLACEMENTS = 4  # after which descriptors are counted


def test_changed_rules_run_in_the_same_process_and_only_queries_with_changed_code_run_again(
    place: Path,
) -> None:
    with Watching(place, "total", "other", "--print") as watch:
        watch.prints("103", "1")
        assert take_log(place) == ["lines a.txt", "lines b.txt", "other", "total"]
        save(place / "rules.py", TRIPLED)
        watch.prints("103", "1", "109")
        assert take_log(place) == ["total"]
        save(place / "helper.py", HELPER.replace("100", "200"))
        watch.prints("103", "1", "109", "209")
        assert take_log(place) == ["total"]
        status = json.loads(Asked(place, "status", "--json").out)["watch"]
        assert status["pid"] == watch.process.pid
        assert watch.ends(signal.SIGINT) == 130


def test_a_module_that_a_running_query_found_missing_is_taken_over_when_it_appears(place: Path) -> None:
    save(place / "rules.py", RULES + "@query\ndef late():\n    import nothere\n    return nothere.X\n")
    with Watching(place, "late", "--print") as watch:
        watch.says("No module named 'nothere'")
        time.sleep(1.2)  # two looks at the rules
        assert "fresh interpreter" not in watch.told()
        (place / "nothere.py").write_text("X = 5\n")
        watch.prints("5")
        save(place / "nothere.py", "X = 6\n")
        watch.prints("5", "6")
        assert watch.ends(signal.SIGINT) == 130


def test_a_touch_and_a_save_with_equal_content_change_nothing(place: Path) -> None:
    with Watching(place, "total", "--print") as watch:
        watch.ready()
        watch.prints("103")  # what is printed late is printed as it is then
        os.utime(place / "rules.py")
        save(place / "helper.py", HELPER)
        save(place / "pyproject.toml", "[project]\nname = 'engine-user'\n")
        save(place / "a.txt", "1\n2\n")
        watch.prints("103", "104")
        assert Asked(place, "run", "total").by_watch
        time.sleep(1.2)  # two looks at the rules
        assert watch.ends(signal.SIGINT) == 130
        assert "fresh interpreter" not in watch.told()


def test_rules_whose_time_is_to_come_are_loaded_once(place: Path) -> None:
    tomorrow = time.time() + 86_400
    for name in ("rules.py", "helper.py", "engine.toml"):
        os.utime(place / name, (tomorrow, tomorrow))
    with Watching(place, "total", "--print") as watch:
        watch.prints("103")
        assert Asked(place, "run", "total").by_watch
        assert watch.ends(signal.SIGINT) == 130
        assert "fresh interpreter" not in watch.told()


def test_who_asks_at_once_after_an_edit_gets_the_answer_of_the_new_code(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        for factor in range(2, 5):
            save(place / "rules.py", RULES.replace("return sum(", f"return {factor} * sum("))
            with ThreadPoolExecutor(3) as pool:
                asked = list(pool.map(lambda _: Asked(place, "run", "total"), range(3)))
            assert [(one.out, one.by_watch) for one in asked] == [(f"{factor * 3 + 100}\n", True)] * 3
        assert watch.ends(signal.SIGTERM) == 143


def test_the_last_of_many_quick_edits_of_equal_size_wins(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        for number in range(101, 109):
            save(place / "helper.py", HELPER.replace("100", str(number)))
            time.sleep(0.15)
        assert Asked(place, "run", "total").out == "111\n"
        watch.until(lambda: Asked(place, "status").out.count("executed"))
        assert Asked(place, "run", "total").by_watch


def test_an_edit_during_a_long_first_build_is_taken_over_before_it_ends(place: Path) -> None:
    with Watching(place, "steps", "deaf") as watch:
        watch.says("crawling")
        time.sleep(0.5)
        save(place / "rules.py", RULES.replace("100_000", "0").replace("sleep(600)", "sleep(0)"))
        watch.ready()
        assert Asked(place, "run", "steps").out == "1\n"
        assert watch.ends(signal.SIGINT) == 130


@pytest.mark.parametrize("query", ["steps", "deaf", "spins"])
def test_a_running_query_holds_up_neither_new_rules_nor_the_signal_after_them(
    place: Path, query: str
) -> None:
    with Watching(place, query) as watch:
        watch.says("crawling")
        time.sleep(0.5)
        save(place / "rules.py", RULES + "# edited\n")
        watch.says("fresh interpreter")
        assert watch.ends(signal.SIGINT) in (130, -signal.SIGINT)  # also amid the replacement


def test_a_signal_at_any_moment_of_a_replacement_ends_the_process(place: Path) -> None:
    for number, wait in (
        (signal.SIGINT, 0.0),
        (signal.SIGTERM, 0.07),
        (signal.SIGINT, 0.14),
        (signal.SIGINT, 0.3),
    ):
        with Watching(place, "total") as watch:
            watch.ready()
            save(place / "rules.py", RULES + f"# {wait}\n")
            watch.says("fresh interpreter")
            time.sleep(wait)
            assert watch.ends(number) in (128 + number, -number)
            assert "Traceback" not in watch.told()


BROKEN = {
    "a syntax error": (("rules.py", RULES + "def x(:\n"), f"rules.py:{RULES.count(chr(10)) + 1}"),
    "a helper without a name": (("helper.py", "def more(): ...\n"), ""),
    "a query that is gone": (("rules.py", RULES.replace("def total", "def totals")), "Did you mean totals"),
    "broken settings": (("engine.toml", "rules = ["), "engine.toml"),
    "a setting that does not exist": (("engine.toml", "ruels = []"), "Did you mean 'rules'"),
    "rules that exit": (("rules.py", "raise SystemExit(3)\n" + RULES), "SystemExit(3)"),
}


def test_rules_that_cannot_be_loaded_are_told_and_waited_for(place: Path) -> None:
    save(place / "rules.py", RULES.replace("import helper\n", "import helper\nfrom helper import extra\n"))
    with Watching(place, "total", "--print") as watch:
        watch.ready()
        for number, (what, ((name, text), told)) in enumerate(BROKEN.items(), 1):
            good = (place / name).read_text()
            save(place / name, text)
            watch.says("the watch waits", number)
            assert told in watch.told(), what
            save(place / name, good)
            watch.ready(number + 1)
        assert Asked(place, "run", "total").by_watch
        assert watch.out == ["103"]  # it was printed once, and is what it was
        assert watch.ends(signal.SIGINT) == 130


def test_a_missing_module_is_waited_for_and_others_who_ask_go_to_work_alone(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "rules.py", "import pkg.deep.er\n" + RULES)
        watch.says("the watch waits")
        assert "it imports pkg" in watch.told()
        asked = Asked(place, "run", "engine.rules.files:read_text", "a.txt")
        assert (asked.code, asked.out, asked.by_watch) == (0, "1\n\n", False)
        package = place / "pkg" / "deep"
        package.mkdir(parents=True)
        watch.says("the watch waits", 2)
        (package / "er.py").write_text("")
        watch.ready(2)
        assert Asked(place, "run", "total").by_watch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch_that_waits_for_its_rules(place: Path, number: int) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "rules.py", "def x(:\n")
        watch.says("the watch waits")
        assert "waiting" in Asked(place, "status").out
        assert watch.ends(number) == 128 + number
    assert not (place / ".engine" / "watch.sock").exists()


def test_rules_that_cannot_be_loaded_at_the_start_end_the_command(place: Path) -> None:
    save(place / "rules.py", "def x(:\n")
    with Watching(place, "total") as watch:
        assert watch.ends() == 2
        assert "rules.py:1" in watch.told()


def test_a_watch_that_goes_on_waits_for_a_store_that_somebody_took_meanwhile(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "rules.py", "def x(:\n")
        watch.says("the watch waits")
        with Engine(place / ".engine"):
            save(place / "rules.py", TRIPLED)
            watch.says("the watch waits for it")
        watch.ready(2)
        assert Asked(place, "run", "total").out == "109\n"


def test_descriptors_and_our_variables_do_not_gather_over_replacements(place: Path) -> None:
    rules = RULES + "\n@query\ndef seen() -> str:\n    return os.popen('env | grep _ENGINE').read()\n"
    save(place / "rules.py", rules)
    with Watching(place, "total", "--metrics", "0", "--events", "unix:events.sock") as watch:
        watch.ready()
        assert Asked(place, "run", "total").by_watch
        before = descriptors(watch)
        for number in range(REPLACEMENTS):
            save(place / "rules.py", rules + f"# {number}\n")
            watch.ready(number + 2)
            watch.until(lambda: Asked(place, "run", "seen").out == "")
        watch.until(lambda: descriptors(watch) <= before, f"{before} descriptors, not more")


def descriptors(watch: Watching) -> int:
    return len(os.listdir(f"/proc/{watch.process.pid}/fd"))


@pytest.mark.parametrize(
    "start",
    [
        [*SCRIPT[:1], "-X", "utf8", "-W", "error::DeprecationWarning", *SCRIPT[1:]],
        [sys.executable, "-B", "-m", "engine"],
        ["./bin/engine"],
    ],
    ids=["options", "module", "script"],
)
def test_the_fresh_interpreter_is_started_as_the_first_one_was(place: Path, start: list[str]) -> None:
    (place / "bin").mkdir()
    script = place / "bin" / "engine"
    # As pip writes scripts where the path of Python is too long for a first line, or has a space in it.
    script.write_text(f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@"
' '''
from engine.__main__ import main
main()
""")
    script.chmod(0o755)
    rules = RULES + (
        "import json, sys\n@query\ndef how() -> str:\n"
        "    flags = [*sys.flags, *sys.warnoptions]\n"
        "    return json.dumps([NUMBER, sys.orig_argv, flags, dict(os.environ), os.getcwd()])\n"
    )
    spoils = "os.environ['LEFT'] = '1'; os.chdir('/')\n"
    save(place / "rules.py", rules.replace("NUMBER", "1") + spoils)
    with Watching(place, "how", "--print", start=start, env=environment(PYTHONPATH=str(ROOT))) as watch:
        watch.until(lambda: len(watch.out) == 1)
        save(place / "rules.py", rules.replace("NUMBER", "2"))
        watch.until(lambda: len(watch.out) == 2)
        first, second = map(json.loads, watch.out)
        assert (first[0], first[3].pop("LEFT"), first.pop()) == (1, "1", "/")
        assert (second[0], second.pop()) == (2, str(place))
        assert first[1:] == second[1:]


def test_settings_are_taken_over(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "engine.toml", 'rules = ["rules.py"]\nstore = "elsewhere"\n')
        watch.ready(2)
        assert Asked(place, "run", "total").by_watch
        assert (place / "elsewhere" / "watch.sock").exists()
        assert not (place / ".engine" / "watch.sock").exists()
        assert watch.ends(signal.SIGINT) == 130
