"""Image list in, published shards out: one plain loop that knows nothing of Ray."""
