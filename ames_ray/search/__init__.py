"""One query image end to end: its features, the nearest images of a store, their new order, and why."""
