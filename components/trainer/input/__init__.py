"""What the Trainer reads: the examples of a split, by their number, in batches."""
