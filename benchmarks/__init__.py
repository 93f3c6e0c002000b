"""Benchmarks: each prints a table and writes `outputs/bench/<name>.json`; `make bench` runs all."""
