"""Protocols, average precision, the global-local ensemble and its sweep: numpy and numba only."""
