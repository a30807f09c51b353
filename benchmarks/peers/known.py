"""Known: every peer, and which of them can take part wherever the tests run."""

from __future__ import annotations

from benchmarks.peers import (
    dict_mtimes,
    doit_tasks,
    joblib_memory,
    ninja_files,
    ours,
    plain,
    scons_rules,
    shake_rules,
)
from benchmarks.peers.peer import Peer

ALWAYS: tuple[Peer, ...] = (*ours.PEERS, *dict_mtimes.PEERS, *plain.PEERS)
PEERS: tuple[Peer, ...] = (
    *ALWAYS,
    *joblib_memory.PEERS,
    *doit_tasks.PEERS,
    *scons_rules.PEERS,
    *ninja_files.PEERS,
    *shake_rules.PEERS,
)  # fmt: skip
OURS = ours.PEERS[0].name
