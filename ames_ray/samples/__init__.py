"""Real photos to try things on: unpacked from packages at build time, never vendored."""
