"""From bytes to pixels, or to the reason why not: read, decode, crop, resize."""
