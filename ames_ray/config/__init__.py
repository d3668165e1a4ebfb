"""Hydra groups and overrides in, one checked frozen object a job out."""
