"""Benchmarks: quality of solvers, side by side, on the demo checkpoints."""
