"""What differs between tasks: a room for each, found by name."""
