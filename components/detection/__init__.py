"""Object detection: boxes, the network that finds them, and how well it does."""
