"""The same job by this engine and by what else one would take for it. `python -m benchmarks.peers --help`."""
