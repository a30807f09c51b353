"""Known: every peer, and which of them can take part wherever the tests run."""

from __future__ import annotations

from benchmarks.peers import (
    cocoindex_app,
    dict_mtimes,
    dmypy_daemon,
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
    *cocoindex_app.PEERS,
    *doit_tasks.PEERS,
    *scons_rules.PEERS,
    *ninja_files.PEERS,
    *shake_rules.PEERS,
    *dmypy_daemon.PEERS,
)  # fmt: skip
OURS = ours.PEERS[0].name
