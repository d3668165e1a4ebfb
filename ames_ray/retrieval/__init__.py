"""Search: the nearest images by global descriptor, the network's scores of them, their new order."""
