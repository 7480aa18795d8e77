"""Benchmarks, each beside its reference; `make bench ONLY=name`, `python tools/bench.py name`."""
