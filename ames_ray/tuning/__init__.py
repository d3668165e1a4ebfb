"""Searching for the best settings: spaces, studies that survive kills, and the exact answer beside them."""
