"""Protocols, ensemble and sweeps against golden numbers and brute force."""
