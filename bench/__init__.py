"""Offline inference benchmarks for large language models: sweep a grid, store a row per job, draw the curves."""

__version__ = "0.1.0"
