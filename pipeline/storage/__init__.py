"""Where a run's files and metadata are."""
