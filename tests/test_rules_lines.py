"""A content has a digest for each of its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine
from engine.rules.files import FileMissing
from engine.rules.lines import DIGEST_BYTES, LINES_LIMIT, line_digests, line_digests_of


def test_line_digests_have_known_values() -> None:
    """They are compared with those that another process, or another machine, has stored."""
    assert line_digests_of(b"a\n\nb").hex() == "07a1eadd9306d732f9efbe71"


LINES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "an end of a line": (b"\n", 1),
    "a line": (b"a\n", 1),
    "a line without an end": (b"a\nb", 2),
    "other line ends": (b"a\r\nb\rc\x0bd\x0ce\xe2\x80\xa8f\n", 2),
    "not UTF-8": (b"\xff\n\xfe\n", 2),
    "binary": (b"a\n\0b\n", 1),
    "too many": (b"\n" * (LINES_LIMIT + 1), 1),
    "as many as can be": (b"\n" * LINES_LIMIT, LINES_LIMIT),
}


@pytest.mark.parametrize("case", LINES)
def test_a_content_has_as_many_digests_as_lines(case: str) -> None:
    content, count = LINES[case]
    assert len(line_digests_of(content)) == count * DIGEST_BYTES


def test_the_end_of_the_last_line_counts() -> None:
    assert line_digests_of(b"a\nb")[:DIGEST_BYTES] == line_digests_of(b"a\nb\n")[:DIGEST_BYTES]
    assert line_digests_of(b"a\nb") != line_digests_of(b"a\nb\n")


def test_line_digests_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\xff")
    with Engine(None, root=tmp_path) as db:
        assert db.get(line_digests, "a") == line_digests_of(b"a\nb\xff")
        with pytest.raises(FileMissing):
            db.get(line_digests, "b")
