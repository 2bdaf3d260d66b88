"""ImportExampleGen."""
