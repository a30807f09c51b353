"""The tree of a fold that can only merge: its rows depend on its members alone, and a change touches few."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StoreDamaged
from engine.tables import blocks as module
from engine.tables.blocks import TOP, Address, Blocks, level_of

MEMBERS = 100_000
EDITS = 2_000
ROWS = 40  # read and written for one change among 100,000

Changes = dict[bytes, bytes | None]

# Few keys, so that they meet again; with the fan-out of 2 of these tests they reach some 6 levels.
KEYS = st.one_of(st.just(b""), st.integers(0, 60).map(lambda number: b"%d" % number))
EDIT = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=2)), max_size=20)


class Rows:
    """Stands for the store: rows, and how many of them were read and written."""

    def __init__(self, combine: Callable[[Sequence[bytes]], bytes] = b"".join) -> None:
        self.kept: dict[Address, bytes] = {}
        self.touched = 0
        self.reads = 0
        self.combine = combine

    def open(self) -> Blocks:
        return Blocks(self.read, self.combine)

    def read(self, addresses: Sequence[Address]) -> dict[Address, bytes]:
        assert len(set(addresses)) == len(addresses)
        self.touched += len(addresses)
        self.reads += 1
        return {address: self.kept[address] for address in addresses if address in self.kept}

    def commit(self, blocks: Blocks) -> None:
        self.touched += len(blocks.written)
        for address, row in blocks.written.items():
            if row:
                self.kept[address] = row
            else:
                self.kept.pop(address, None)
        blocks.written.clear()

    def apply(self, changes: Mapping[bytes, bytes | None]) -> Blocks:
        blocks = self.open()
        blocks.update(changes)
        self.commit(blocks)
        return blocks


def built(members: Mapping[bytes, bytes], combine: Callable[[Sequence[bytes]], bytes] = b"".join) -> Rows:
    rows = Rows(combine)
    rows.apply(members)
    return rows


def joined(members: Mapping[bytes, bytes]) -> bytes | None:
    return b"".join(members[key] for key in sorted(members)) if members else None


def edited(members: dict[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> None:
    for key, data in changes.items():
        if data is None:
            members.pop(key, None)
        else:
            members[key] = data


def added(summaries: Sequence[bytes]) -> bytes:
    return (sum(int.from_bytes(data, "big") for data in summaries) % (1 << 64)).to_bytes(8, "big")


def numbered(count: int) -> dict[bytes, bytes]:
    return {b"src/package%d/module%d.py" % (i % 300, i): i.to_bytes(8, "big") for i in range(count)}


@pytest.fixture
def tall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other key reaches the next level, so that few members make a tall tree."""
    monkeypatch.setattr(module, "FAN_OUT_BITS", 1)


@pytest.mark.usefixtures("tall")
class TestTall:
    @given(st.lists(EDIT, max_size=12), st.booleans())
    def test_after_any_updates_it_is_the_naive_fold_in_key_order_and_has_the_rows_of_a_new_tree(
        self, edits: list[Changes], restart: bool
    ) -> None:
        rows = Rows()
        blocks = rows.open()
        members: dict[bytes, bytes] = {}
        for changes in edits:
            blocks.update(changes)
            edited(members, changes)
            assert blocks.root() == joined(members)
            if restart:  # nothing but the rows goes on
                rows.commit(blocks)
                blocks = rows.open()
        rows.commit(blocks)
        assert blocks.check_invariants() == rows.kept.keys()
        assert rows.kept == built(members).kept

    @given(st.dictionaries(KEYS, st.binary(max_size=2)), st.randoms(use_true_random=False))
    def test_the_order_in_which_members_come_and_others_go_leaves_no_trace(
        self, members: dict[bytes, bytes], draw: random.Random
    ) -> None:
        rows = Rows()
        guests = [b"guest %d" % number for number in range(30)]
        steps = [*members.items(), *((guest, b"x") for guest in guests)]
        draw.shuffle(steps)
        for key, data in steps:
            rows.apply({key: data})
        draw.shuffle(guests)
        for guest in guests:
            rows.apply({guest: None})
        assert rows.kept == built(members).kept

    @given(st.lists(EDIT, max_size=6))
    def test_removing_everything_leaves_no_rows(self, edits: list[Changes]) -> None:
        rows = Rows()
        members: dict[bytes, bytes] = {}
        for changes in edits:
            rows.apply(changes)
            edited(members, changes)
        assert rows.apply(dict.fromkeys(members)).root() is None
        assert rows.kept == {}

    @given(st.lists(EDIT, min_size=1, max_size=6))
    def test_updates_that_were_not_committed_are_seen_and_can_be_taken_back(
        self, edits: list[Changes]
    ) -> None:
        rows = built({b"%d" % number: b"%d," % number for number in range(40)})
        before = dict(rows.kept)
        blocks = rows.open()
        root = blocks.root()
        for changes in edits:
            blocks.update(changes)
            blocks.check_invariants()
        blocks.written.clear()
        assert blocks.root() == root
        assert rows.kept == before


def test_one_change_among_100_000_touches_at_most_40_rows() -> None:
    members = numbered(MEMBERS)
    rows = Rows(added)
    rows.apply(members)
    draw = random.Random(7)
    keys = list(members)
    most = 0
    for number in range(EDITS):
        kind = number % 3
        index = draw.randrange(len(keys))
        if kind == 0:
            changes: Changes = {keys[index]: draw.randbytes(8)}
        elif kind == 1:
            keys.append(b"src/new%d.py" % draw.getrandbits(40))
            changes = {keys[-1]: draw.randbytes(8)}
        else:
            keys[index], keys[-1] = keys[-1], keys[index]
            changes = {keys.pop(): None}
        edited(members, changes)
        rows.touched = 0
        rows.apply(changes)
        most = max(most, rows.touched)
    assert most <= ROWS
    blocks = rows.open()
    assert blocks.root() == added(list(members.values()))
    assert blocks.check_invariants() == rows.kept.keys()
    assert rows.kept == built(members, added).kept
    rows.apply(dict.fromkeys(members))
    assert rows.kept == {}


def test_many_changes_at_once_write_each_block_once_and_read_once_for_each_level() -> None:
    rows = built(numbered(20_000), added)
    height = max(level for level, _ in rows.kept if level != TOP[0])
    rows.reads = rows.touched = 0
    rows.apply(dict.fromkeys(numbered(20_000), bytes(8)))
    assert rows.reads == height + 2  # the levels, and the top
    assert rows.touched <= 2 * len(rows.kept)


def test_a_change_of_all_keys_of_one_neighbourhood_touches_few_blocks() -> None:
    rows = built({b"%06d" % number: bytes(8) for number in range(20_000)}, added)
    rows.touched = 0
    rows.apply({b"%06d" % number: bytes(7) + b"\1" for number in range(5_000, 5_100)})
    assert rows.touched < 100


def test_blocks_are_short_though_their_lengths_are_geometric() -> None:
    rows = built(numbered(MEMBERS), added)
    starts = len(rows.kept) - 1
    assert MEMBERS / starts > 0.8 * (module.FAN_OUT - 1)
    assert max(map(len, rows.kept.values())) < 100 * (len(b"src/package100/module10000.py") + 8 + 4)


def test_where_a_member_ends_up_unchanged_nothing_is_written() -> None:
    rows = built(numbered(1_000), added)
    key = b"src/package7/module7.py"
    blocks = rows.open()
    blocks.update({key: (7).to_bytes(8, "big"), b"never there": None})
    assert blocks.written == {}


def test_the_way_up_ends_where_a_summary_stays_the_same() -> None:
    def largest(summaries: Sequence[bytes]) -> bytes:
        return max(summaries)

    rows = built({b"%d" % number: b"b" for number in range(1_000)} | {b"first": b"z"}, largest)
    blocks = rows.open()
    blocks.update({b"500": b"a"})
    assert [level for level, _ in blocks.written] == [0]


def test_an_update_whose_merge_fails_changes_nothing() -> None:
    def failing(summaries: Sequence[bytes]) -> bytes:
        if b"bad" in summaries:
            raise ZeroDivisionError
        return b"".join(summaries)

    members = {b"%d" % number: b"x" for number in range(500)}
    rows = built(members, failing)
    blocks = rows.open()
    with pytest.raises(ZeroDivisionError):
        blocks.update({b"3": b"bad"})
    assert blocks.written == {}
    blocks.update({b"3": b"good"})
    assert blocks.root() == joined(members | {b"3": b"good"})


def test_a_second_block_above_a_first_one_that_did_not_change_keeps_the_first() -> None:
    low, high = (
        next(key for key in (b"%s%d" % (prefix, number) for number in range(1_000)) if level_of(key) == level)
        for prefix, level in ((b"a", 0), (b"b", 1))
    )
    rows = built({low: b"1"})
    assert rows.apply({high: b"2"}).root() == b"12"
    assert rows.kept == built({low: b"1", high: b"2"}).kept


def test_floats_merged_in_any_history_have_one_sum() -> None:
    def summed(summaries: Sequence[bytes]) -> bytes:
        total = float.fromhex(summaries[0].decode())
        for data in summaries[1:]:
            total += float.fromhex(data.decode())
        return total.hex().encode()

    draw = random.Random(3)
    members = {b"%d" % number: draw.uniform(-1, 1).hex().encode() for number in range(3_000)}
    rows = Rows(summed)
    keys = list(members)
    draw.shuffle(keys)
    for start in range(0, len(keys), 50):
        rows.apply({key: members[key] for key in keys[start : start + 50]})
    assert rows.kept == built(members, summed).kept


def test_levels_are_those_of_every_process_and_thin_out_by_the_fan_out() -> None:
    assert [level_of(b"%d" % number) for number in range(12)] == LEVELS
    assert level_of(b"") == 0
    drawn = [level_of(b"%d" % number) for number in range(40_000)]
    for level in (1, 2, 3):
        reached = sum(one >= level for one in drawn) / len(drawn)
        assert 0.7 < reached * module.FAN_OUT**level < 1.3


LEVELS = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("spoil", ["lost", "cut", "other", "empty"])
def test_rows_that_do_not_fit_together_are_told_as_a_damaged_store(spoil: str) -> None:
    rows = built(numbered(1_000), added)
    for address in rows.kept:
        if spoil == "cut":
            damaged = {**rows.kept, address: rows.kept[address][:-1]}
        elif spoil == "lost":
            damaged = {other: row for other, row in rows.kept.items() if other != address}
        elif spoil == "empty":
            damaged = {**rows.kept, address: b"\x80"}
        else:
            damaged = {**rows.kept, address: rows.kept[address][:-1] + b"\xff"}
        spoiled = Rows(added)
        spoiled.kept = damaged
        if spoil == "lost" and address == TOP:
            assert spoiled.open().root() is None
            continue
        with pytest.raises(StoreDamaged):
            spoiled.open().check_invariants()
