"""Benchmarks: each prints ratios against a peer that runs in the same call."""
