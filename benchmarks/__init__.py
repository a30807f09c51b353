"""Benchmarks of the engine: `python -m benchmarks`. What the figures mean is told in docs/benchmarks.md."""
