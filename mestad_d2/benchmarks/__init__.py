"""Benchmarks behind ``tools/benchmark.py``: each compares two things side by side in one run."""
