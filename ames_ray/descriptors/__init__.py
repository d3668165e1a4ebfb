"""From one decoded picture to its local and global descriptors."""
