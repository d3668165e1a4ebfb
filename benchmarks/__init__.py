"""Measurements; their results are in `results/`."""
